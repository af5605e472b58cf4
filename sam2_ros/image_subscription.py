"""A subscription to a camera's images that is as reliable as their publishers are."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from rclpy.qos_overriding_options import QoSOverridingOptions

from sam2_ros.diagnostics import Source

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks

ADAPTIVE = getattr(ReliabilityPolicy, "BEST_AVAILABLE", ReliabilityPolicy.SYSTEM_DEFAULT)
"""The reliability that is that of the publishers; Humble has no name of its own for it."""

LOOK_SECONDS = 1.0
"""How often it is looked who publishes."""


class ImageSubscription:
    """Subscribes with sensor-data quality of service, but reliably where all publishers are reliable.

    A raw image is larger than what DDS buffers by default. Where the cores are busy, as a tracker makes them,
    a best-effort subscription loses most images even on the same machine, and a reliable one none; but that
    one gets nothing from a best-effort publisher. So it is looked who publishes, and changed over without a
    gap when that changes.

    The parameters `qos_overrides.TOPIC.subscription.*` hold; the default of `reliability` is
    `best_available`, which is what is described here.

    Args:
        node: that owns the subscription.
        kind: of the messages.
        topic: their topic.
        callback: gets each message, on the executor's thread.
    """

    def __init__(self, node: LifecycleNode, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        self._node = node
        self._kind = kind
        self._topic = topic
        self._callback = callback
        self._reliability = ADAPTIVE
        self._number = 0  # of the present subscription
        self._former: Any = None  # what was subscribed before, until the present one has got a message
        self._newest: Any = None  # the newest message of the former one
        self._lost = 0
        self._present = self._subscribe()
        self._timer: Any = None
        if self._is_adaptive:
            clock = Clock(clock_type=ClockType.STEADY_TIME)
            self._timer = node.create_timer(LOOK_SECONDS, self._look, clock=clock)

    def destroy(self) -> None:
        """Unsubscribes."""
        if self._timer is not None:
            self._node.destroy_timer(self._timer)
        for subscription in (self._present, self._former):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._present = self._former = self._newest = None

    def source(self) -> Source:
        """Who publishes the images, and how well they come through."""
        reliability = self._reliability.name.lower().replace("_", " ")
        topic = self._present.topic_name
        return Source(topic, self._node.count_publishers(topic), reliability, self._lost)

    def _subscribe(self) -> Any:
        self._number += 1
        profile = copy(qos_profile_sensor_data)  # a copy: overrides are written into it
        profile.reliability = ADAPTIVE
        return self._node.create_subscription(
            self._kind,
            self._topic,
            partial(self._receive, self._number),
            profile,
            event_callbacks=SubscriptionEventCallbacks(message_lost=partial(self._count_lost, self._number)),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(callback=self._settle),
        )

    def _settle(self, profile: QoSProfile) -> SetParametersResult:
        """Decides on the reliability, where no override has."""
        self._reliability = profile.reliability
        self._is_adaptive = profile.reliability == ADAPTIVE
        if self._is_adaptive:
            # rclpy's own choice is made once, and reliable where nobody publishes yet
            profile.reliability = self._reliability = self._offered()
        return SetParametersResult(successful=True)

    def _offered(self) -> ReliabilityPolicy:
        publishers = self._node.get_publishers_info_by_topic(self._topic)
        offers = {publisher.qos_profile.reliability for publisher in publishers}
        reliable = offers == {ReliabilityPolicy.RELIABLE}
        return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT

    def _look(self) -> None:
        """Changes over if the publishers have changed."""
        offered = self._offered()
        if offered == self._reliability:
            return
        if self._former is None:
            self._former, self._present = self._present, self._subscribe()
        else:  # and back again, before a message came
            self._node.destroy_subscription(self._present)
            self._present, self._former, self._newest = self._former, None, None
            self._number, self._reliability = self._number - 1, offered

    def _count_lost(self, number: int, event: Any) -> None:
        if number == self._number:
            self._lost += event.total_count_change

    def _receive(self, number: int, message: Any) -> None:
        if self._former is None:
            self._callback(message)
        elif number != self._number:  # the former one's
            self._newest = message
            self._callback(message)
        else:  # from now on every message comes here; this one may have come to the former one, too
            known, self._newest = self._newest, None
            self._node.destroy_subscription(self._former)
            self._former = None
            source = self.source()
            self._node.get_logger().info(
                f"{source.topic}: the subscription is {source.reliability} now, as its publishers are"
            )
            if message != known:
                self._callback(message)
