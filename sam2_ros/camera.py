"""One camera: its subscription, its publishers, its services, around a LiveTracker."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import HistoryPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from sam2_core import PromptError, Track, Tracker
from sam2_core.live import LiveResult, LiveStatistics, LiveTracker, Worker
from sam2_core.masks import composite, overlay
from sam2_ros import conversions
from sam2_ros.answers import answer
from sam2_ros.diagnostics import Meter, Report
from sam2_ros.image_subscription import ImageSubscription
from sam2_ros.interfaces import Discover, Prompt, Remove
from sam2_ros.parameters import ParameterError, TrackerSettings

OUTPUT_DEPTH = 5
"""Outputs are reliable and volatile, and the last so many are kept."""

FAULT_SECONDS = 5.0
"""The same kind of fault is logged again after this time at the earliest."""

REMEMBERED_STAMPS = 1024
"""Of how many of the last images the frame id is kept until their result is published."""


class Camera:
    """The topics and services of one camera, from the node's configuration to its cleaning up.

    Args:
        node: that owns the publishers, subscriptions and services.
        name: of the camera; relative, so that namespaces and remaps work.
        settings: the node's.
        tracker: this camera's own.
        worker: the thread that serves all cameras.
    """

    def __init__(
        self, node: LifecycleNode, name: str, settings: TrackerSettings, tracker: Tracker, worker: Worker
    ) -> None:
        self._node = node
        self._name = name
        self._settings = settings
        self._tracker = tracker
        self._worker = worker
        self._live: LiveTracker | None = None
        self._meter = Meter()
        self._subscription: ImageSubscription | None = None
        self._lock = threading.Lock()
        self._frame_ids: OrderedDict[int, str] = OrderedDict()
        self._object_ids: list[int] = []
        self._last: tuple[int, tuple[int, int]] | None = None  # stamp and size of the newest image
        self._told: dict[str, float] = {}
        self._publishers: list[Any] = []
        self._services: list[Any] = []
        try:
            self._advertise()
        except Exception:
            self.destroy()
            raise

    def _advertise(self) -> None:
        """Creates the publishers and services."""
        self._mask = self._publisher(Image, "mask")
        self._detections = self._publisher(Detection2DArray, "detections")
        self._overlay = self._publisher(Image, "overlay")
        self._overlay_jpeg = self._publisher(CompressedImage, "overlay/compressed")
        # Reentrant: the next request is taken while others wait for their mask.
        group = ReentrantCallbackGroup()
        for kind, verb, callback in (
            (Prompt, "prompt", self._on_prompt),
            (Remove, "remove", self._on_remove),
            (Trigger, "reset", self._on_reset),
            (Discover, "discover", self._on_discover),
        ):
            service = self._node.create_service(
                kind,
                f"{self._name}/sam2/{verb}",
                callback,
                # rclpy's own keeps 10: of a burst while the executor is busy, the rest is lost without a word
                qos_profile=QoSProfile(history=HistoryPolicy.KEEP_ALL),
                callback_group=group,
            )
            self._services.append(service)

    def _publisher(self, kind: type, name: str) -> Any:
        topic = f"{self._name}/sam2/{name}"
        with self._overridable(topic):
            publisher: Any = self._node.create_lifecycle_publisher(
                kind,
                topic,
                QoSProfile(depth=OUTPUT_DEPTH),  # one of its own: overrides are written into it
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
        self._publishers.append(publisher)
        return publisher

    @contextmanager
    def _overridable(self, topic: str) -> Iterator[None]:
        """Says which topic cannot be had, and which parameters may be the reason."""
        try:
            yield
        except Exception as error:  # rclpy names neither the topic nor the parameter
            full_name = self._node.resolve_topic_name(topic)
            raise ParameterError(
                f"{full_name} cannot be used: {error}. Where qos_overrides.{full_name} is given, correct it "
                "and start again"
            ) from error

    def activate(self) -> None:
        """Subscribes, and takes requests from now on. Objects known before a deactivation are still known.

        Raises:
            ParameterError: the quality of service asked for cannot be had.
        """
        live = LiveTracker(self._tracker, history_seconds=self._settings.history_seconds, worker=self._worker)
        live.on_result(self._on_result)
        self._live = live
        compressed = self._settings.image_transport == "compressed"
        topic = f"{self._name}/image_raw/compressed" if compressed else f"{self._name}/image_raw"
        with self._overridable(topic):
            self._subscription = ImageSubscription(
                self._node,
                CompressedImage if compressed else Image,
                topic,
                self._on_compressed if compressed else self._on_image,
            )

    def deactivate(self) -> None:
        """Unsubscribes and refuses what is asked for; pending requests are answered as refused."""
        if self._subscription is not None:
            self._subscription.destroy()
            self._subscription = None
        live, self._live = self._live, None
        if live is not None:
            live.close()

    def destroy(self) -> None:
        """Takes the camera off the graph."""
        self.deactivate()
        for service in self._services:
            self._node.destroy_service(service)
        for publisher in self._publishers:
            self._node.destroy_lifecycle_publisher(publisher)

    def report(self) -> Report:
        """How the camera is doing, for the diagnostics."""
        live, tracker = self._live, self._tracker
        known = {object_id: state.label for object_id, state in tracker.snapshot().items()}
        if live is not None and self._subscription is not None:
            return self._meter.report(live.statistics(), self._subscription.source(), known)
        # Inactive: the objects are still there.
        held = tracker.memory_bytes
        return self._meter.report(LiveStatistics(0, 0, 0, len(known), held, held), None, known)

    def _on_image(self, message: Image) -> None:
        self._take(message, conversions.decode_image)

    def _on_compressed(self, message: CompressedImage) -> None:
        self._take(message, conversions.decode_compressed)

    def _take(self, message: Any, decode: Any) -> None:
        """Hands a message's image to the tracker, or says on the log why not."""
        live = self._live
        if live is None:
            return
        self._meter.received()
        try:
            stamp = conversions.to_nanoseconds(message.header.stamp)
            image = decode(message)
        except conversions.UnsupportedEncodingError as error:
            self._refuse(error, again_seconds=float("inf"))
            return
        except ValueError as error:
            self._refuse(error)
            return
        self._look_for_changes(stamp, image.shape[:2])
        with self._lock:
            self._frame_ids[stamp] = message.header.frame_id
            while len(self._frame_ids) > REMEMBERED_STAMPS:
                self._frame_ids.popitem(last=False)
        try:
            live.submit(image, stamp)
        except ValueError as error:
            self._refuse(error)

    def _refuse(self, error: Exception, again_seconds: float = FAULT_SECONDS) -> None:
        """Counts a message that cannot be used, and says so if that was not said of late."""
        self._meter.refused(str(error))
        # Faults that differ in their numbers only are of one kind, but those of an encoding are its name.
        kind = str(error) if again_seconds > FAULT_SECONDS else re.sub(r"\d+", "0", str(error))
        if self._is_news(kind, again_seconds):
            self._logger.error(f"{self._name}: {error}")

    def _look_for_changes(self, stamp: int, size: tuple[int, int]) -> None:
        """Tells of a new image size and of time that ran backwards: neither stops the tracking."""
        if self._last is not None:
            last_stamp, (height, width) = self._last
            if stamp < last_stamp and self._is_news("stamp"):
                self._logger.warning(
                    f"{self._name}: time stamps ran backwards by {(last_stamp - stamp) * 1e-9:.3f} s, "
                    f"from {last_stamp} to {stamp} ns: a recording that begins anew, or two publishers "
                    "on one topic? Tracking goes on"
                )
            if size != (height, width) and self._is_news("size"):
                self._logger.info(
                    f"{self._name}: images changed from {width} x {height} to {size[1]} x {size[0]} pixels, "
                    "tracking goes on"
                )
        self._last = stamp, size

    def _is_news(self, kind: str, again_seconds: float = FAULT_SECONDS) -> bool:
        """Whether a kind of fault was not told of within the last `again_seconds`; from now on it was."""
        now = time.monotonic()
        if now - self._told.get(kind, -float("inf")) < again_seconds:
            return False
        self._told[kind] = now
        return True

    @property
    def _logger(self) -> Any:
        return self._node.get_logger()

    def _on_result(self, result: LiveResult) -> None:
        try:
            self._publish(result)
        except Exception as error:  # the context may be gone already; the worker serves other cameras, too
            if self._live is not None and self._is_news("publish"):
                self._logger.error(
                    f"{self._name}: the result of image {result.stamp} could not be published: {error!r}"
                )

    def _publish(self, result: LiveResult) -> None:
        header = Header(stamp=conversions.to_time(result.stamp), frame_id=self._frame_id(result.stamp))
        ids = composite(result.tracks, result.image.shape[:2])
        self._object_ids = [track.object_id for track in result.tracks]
        self._mask.publish(conversions.image_message(ids, "mono8", header))
        self._detections.publish(conversions.detections_message(result.tracks, header))
        raw, jpeg = (p.get_subscription_count() > 0 for p in (self._overlay, self._overlay_jpeg))
        if raw or jpeg:
            picture = overlay(result.image, ids, self._settings.overlay_alpha)
            if raw:
                self._overlay.publish(conversions.image_message(picture, "rgb8", header))
            if jpeg:
                self._publish_jpeg(picture, header)
        if not result.again:  # else the time since the image was seen is nobody's delay
            latency_ms = (self._node.get_clock().now().nanoseconds - result.stamp) * 1e-6
            self._meter.published(latency_ms, result.model_seconds * 1e3)

    def _publish_jpeg(self, picture: conversions.RgbImage, header: Header) -> None:
        try:
            message = conversions.compressed_message(picture, header)
        except conversions.ImageError as error:
            if self._is_news("overlay"):
                self._logger.warning(f"{self._name}: no compressed overlay: {error}")
            return
        self._overlay_jpeg.publish(message)

    def _frame_id(self, stamp: int) -> str:
        with self._lock:
            return self._frame_ids.get(stamp, "")

    async def _on_prompt(self, request: Any, response: Any) -> Any:
        async def follow(live: LiveTracker) -> None:
            prompt, stamp = conversions.prompt_from_request(request)
            track: Track = await answer(self._node, live.prompt(prompt, stamp))
            self._object_ids = sorted({*self._object_ids, track.object_id})
            response.object_id = track.object_id
            response.score, response.presence = float(track.score), float(track.presence)
            response.box = conversions.region_of_interest(track.box)
            response.message = f"object {track.object_id}" + (
                "" if track.visible else " is not visible in this image"
            )

        return await self._serve("prompt", follow, response)

    async def _on_remove(self, request: Any, response: Any) -> Any:
        async def follow(live: LiveTracker) -> None:
            left = await answer(self._node, live.remove(list(request.object_ids) or None))
            self._object_ids = response.object_ids = left

        response = await self._serve("remove", follow, response)
        if not response.success:
            response.object_ids = self._object_ids
        return response

    async def _on_reset(self, request: Any, response: Any) -> Any:
        async def follow(live: LiveTracker) -> None:
            await answer(self._node, live.reset())
            self._object_ids = []
            response.message = "all objects are forgotten"

        return await self._serve("reset", follow, response)

    async def _on_discover(self, request: Any, response: Any) -> Any:
        async def follow(live: LiveTracker) -> None:
            tracks = await answer(self._node, live.discover(conversions.search_from_request(request)))
            response.object_ids = [track.object_id for track in tracks]
            response.scores = [track.score for track in tracks]
            response.boxes = [conversions.region_of_interest(track.box) for track in tracks]
            self._object_ids = sorted({*self._object_ids, *response.object_ids})
            response.message = f"{len(tracks)} new objects" if tracks else "nothing new was found"

        return await self._serve("discover", follow, response)

    async def _serve(self, verb: str, follow: Any, response: Any) -> Any:
        """Answers a request in any case: what cannot be done is refused with the reason."""
        live = self._live
        if live is None:
            response.message = f"{self._node.get_name()} is not active: activate it, then {verb} again"
            return response
        work: Awaitable[None] = follow(live)
        try:
            await work
            response.success = True
        except PromptError as error:
            response.message = str(error)
        except Exception as error:  # an answer must be given whatever happened
            response.message = f"{verb} failed inside the node: {error!r}"
            self._logger.error(f"{self._name}: {response.message}")
        return response
