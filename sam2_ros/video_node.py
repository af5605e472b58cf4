"""The node `video_publisher`: a file, a folder of images or a webcam as a camera."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from sam2_ros.encodings import image_message
from sam2_ros.frames import BgrImage, Source, SourceError, open_source
from sam2_ros.parameters import ParameterError, Parameters, parameter

SETTLE_SECONDS = 0.5
"""A subscriber that the publisher has found may need a little longer to find the publisher."""

POLL_SECONDS = 0.05

GUID_PREFIX = 12
"""So many bytes of an endpoint's id belong to its process (DDS-RTPS 2.5, 9.3.1)."""

UNKNOWN_NODE = "_NODE_NAME_UNKNOWN_"
"""What rcl calls the node of an endpoint that it has just found."""

LONGEST_WAIT_SECONDS = 60.0


@dataclass(frozen=True)
class VideoSettings:
    """The parameters of `video_publisher`. `rate` and `paused` can be changed at any time."""

    source: str = parameter(
        "", "A video file, a folder of images, or a webcam: its number, or a device such as /dev/video0."
    )
    rate: float = parameter(
        0.0,
        "Images per second. 0: as the source says, 25 for a folder. A webcam is not slowed down.",
        minimum=0.0,
        maximum=1000.0,
    )
    loop: bool = parameter(False, "Begin again at the end. Otherwise the process ends with the last image.")
    frame_id: str = parameter("camera", "Frame id of the images' headers.")
    start: int = parameter(0, "Number of the first image to publish, from 0.", minimum=0, maximum=2**31 - 1)
    count: int = parameter(0, "How many images to publish. 0: up to the end.", minimum=0, maximum=2**31 - 1)
    wait_for_subscribers: int = parameter(
        1,
        "Publish the first image only when so many nodes subscribe. 0: at once.",
        minimum=0,
        maximum=100,
    )
    paused: bool = parameter(False, "Publish one image, then hold until this is set to false.")
    pace_topic: str = parameter(
        "",
        "A topic of vision_msgs/Detection2DArray, such as camera/sam2/detections: each image waits until the "
        "detections of the one before have come back on it, so that none is dropped. Empty: no waiting.",
    )
    pace_timeout: float = parameter(
        10.0,
        "Wait no longer than this for the detections of an image, seconds.",
        minimum=0.01,
        maximum=3600.0,
    )


class VideoPublisher(Node):
    """Publishes `image_raw` (bgr8), stamped with the node's clock when an image is published.

    Args:
        finished: called when the last image has been published, or the source cannot be read.
    """

    def __init__(self, finished: Callable[[], None], **arguments: Any) -> None:
        super().__init__("video_publisher", **arguments)
        self.exit_code = 0
        self._finished = finished
        self._changed = threading.Condition()
        self._closed = False
        self._returned_stamp: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        parameters = Parameters(self, VideoSettings)
        try:
            settings = parameters.read()
        except ParameterError:  # it is on the log already
            self._end(1)
            return
        self._rate, self._paused = settings.rate, settings.paused
        self.add_post_set_parameters_callback(self._on_set)
        try:
            self._publisher = self.create_publisher(
                Image,
                "image_raw",
                QoSProfile(depth=10),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            if settings.pace_topic:
                self.create_subscription(Detection2DArray, settings.pace_topic, self._on_detections, 10)
        except Exception as error:  # rclpy has many kinds
            topics = f"image_raw or pace_topic '{settings.pace_topic}'"
            self.get_logger().error(
                f"{topics} cannot be used: {' '.join(str(error).split())}. "
                "Correct the topic's name or qos_overrides and start again"
            )
            self._end(1)
            return
        self._thread = threading.Thread(target=self._run, args=(settings,), name="video", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Publishes nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=2.0)

    def _run(self, settings: VideoSettings) -> None:
        try:
            self._publish_all(settings, open_source(settings.source))
            self._end(0)
        except SourceError as error:
            self.get_logger().error(str(error))
            self._end(1)
        except Exception as error:
            if not self._closed:
                self.get_logger().error(f"publishing failed: {error!r}")
            self._end(1)

    def _end(self, exit_code: int) -> None:
        self.exit_code = 0 if self._closed else exit_code
        self._finished()

    def _publish_all(self, settings: VideoSettings, source: Source) -> None:
        self.get_logger().info(
            f"{settings.source}: {source.rate:g} images/s, published at {self._rate or source.rate:g}"
        )
        self._wait_for_subscribers(settings.wait_for_subscribers)
        published = 0
        due = time.monotonic()
        for image in _images(settings, source):
            if published and not source.live:
                due = self._wait_a_period(due, source.rate)
            if self._closed:
                return
            header = Header(stamp=self.get_clock().now().to_msg(), frame_id=settings.frame_id)
            self._publisher.publish(image_message(image, "bgr8", header))
            published += 1
            if settings.pace_topic:
                self._wait_for_return(header, settings.pace_timeout)
            self._wait_while(lambda: self._paused)
        if not published:
            raise SourceError(f"source {settings.source} has no image number {settings.start}")
        self.get_logger().info(f"published {published} images")
        self._sleep(SETTLE_SECONDS)  # the last ones may still be on their way

    def _wait_for_subscribers(self, count: int) -> None:
        if count and self._count_subscribers() < count:
            self.get_logger().info(f"waiting for {count} subscriber(s) of {self._publisher.topic_name}")
            while self._count_subscribers() < count and not self._closed:
                time.sleep(POLL_SECONDS)
        if count:
            self._sleep(SETTLE_SECONDS)

    def _count_subscribers(self) -> int:
        """How many nodes subscribe. One may do so twice: the tracker's does, while it changes over."""
        named, unnamed = set(), set()
        for endpoint in self.get_subscriptions_info_by_topic(self._publisher.topic_name):
            process = bytes(endpoint.endpoint_gid[:GUID_PREFIX])
            if endpoint.node_name == UNKNOWN_NODE:
                unnamed.add(process)
            else:
                named.add((process, endpoint.node_namespace, endpoint.node_name))
        nodes = len(named) + len(unnamed - {process for process, *_ in named})
        return min(nodes, self._publisher.get_subscription_count())

    def _sleep(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, timeout=max(seconds, 0.0))

    def _wait_a_period(self, due: float, source_rate: float) -> float:
        """Waits from when an image was due until the next one is, at the rate that holds meanwhile.

        Returns: when the next one is due; never more than one image behind.
        """
        with self._changed:
            while True:
                period, now = 1.0 / (self._rate or source_rate), time.monotonic()
                if self._closed or due + period <= now:
                    return max(due + period, now - period)
                self._changed.wait(min(due + period - now, LONGEST_WAIT_SECONDS))

    def _wait_while(self, holds: Callable[[], bool], timeout: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._closed or not holds(), timeout)

    def _wait_for_return(self, header: Header, timeout: float) -> None:
        stamp = (header.stamp.sec, header.stamp.nanosec)
        if not self._wait_while(lambda: self._returned_stamp != stamp, timeout):
            self.get_logger().warning(
                f"no detections of image {stamp[0]}.{stamp[1]:09d} within {timeout:g} s, going on"
            )

    def _on_detections(self, message: Detection2DArray) -> None:
        with self._changed:
            self._returned_stamp = (message.header.stamp.sec, message.header.stamp.nanosec)
            self._changed.notify_all()

    def _on_set(self, parameters: list[Any]) -> None:
        with self._changed:
            for item in parameters:
                if item.name == "rate":
                    self._rate = item.value
                elif item.name == "paused":
                    self._paused = item.value
            self._changed.notify_all()


def _images(settings: VideoSettings, source: Source) -> Iterator[BgrImage]:
    """The images to publish, again and again if they are to be looped."""
    while True:
        some = False
        for image in itertools.islice(source.images(settings.start), settings.count or None):
            some = True
            yield image
        if not settings.loop or not some:
            return
