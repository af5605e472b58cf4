"""A subscription that is as reliable as its publishers, and loses nothing when it changes over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from rclpy.lifecycle import LifecycleNode
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_graph import Client, Spinner
from std_msgs.msg import Header

from sam2_ros.image_subscription import ImageSubscription

RELIABLE, BEST_EFFORT = ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT
TOPIC = "/pictures"

Subscribe = Callable[..., "Subscriber"]


class Subscriber:
    """A node with such a subscription."""

    def __init__(self, overrides: dict[str, str]) -> None:
        parameters = [
            Parameter(f"qos_overrides.{TOPIC}.subscription.{name}", value=value)
            for name, value in overrides.items()
        ]
        self.node = LifecycleNode("subscriber", parameter_overrides=parameters)
        self.received: list[str] = []
        self.subscription = ImageSubscription(
            self.node, Header, TOPIC, lambda message: self.received.append(message.frame_id)
        )
        self.spinner = Spinner(self.node)

    def reliabilities(self) -> list[ReliabilityPolicy]:
        return [info.qos_profile.reliability for info in self.node.get_subscriptions_info_by_topic(TOPIC)]


@pytest.fixture
def subscribe(ros: None) -> Iterator[Subscribe]:
    subscribers = []

    def subscribe(**overrides: str) -> Subscriber:
        subscribers.append(Subscriber(overrides))
        return subscribers[-1]

    yield subscribe
    for subscriber in subscribers:
        subscriber.spinner.close()
        assert not subscriber.spinner.failures


class Camera:
    """Publishes numbered messages until something holds."""

    def __init__(self, client: Client, reliability: ReliabilityPolicy, name: str = "") -> None:
        self.client = client
        self.publisher = client.node.create_publisher(
            Header, TOPIC, QoSProfile(depth=1000, reliability=reliability)
        )
        self.name = name
        self.sent: list[str] = []
        client.wait_until(self.publisher.get_subscription_count, "the subscriber")

    def publish_until(self, holds: Callable[[], Any], what: str) -> None:
        def publish() -> Any:
            self.sent.append(f"{self.name}{len(self.sent)}")
            self.publisher.publish(Header(frame_id=self.sent[-1]))
            return holds()

        self.client.wait_until(publish, what)


def test_it_is_best_effort_until_it_knows_better(subscribe: Subscribe) -> None:
    assert subscribe().reliabilities() == [BEST_EFFORT]


def test_from_a_reliable_publisher_it_gets_every_message_once_while_it_becomes_reliable(
    subscribe: Subscribe, client: Client
) -> None:
    subscriber = subscribe()
    camera = Camera(client, RELIABLE)
    camera.publish_until(lambda: subscriber.reliabilities() == [RELIABLE], "a reliable subscription")
    client.wait_until(lambda: subscriber.received[-1:] == camera.sent[-1:], "the last message")
    assert subscriber.received == camera.sent


def test_a_known_reliable_publisher_is_subscribed_to_reliably_at_once(
    subscribe: Subscribe, client: Client
) -> None:
    first = subscribe()
    camera = Camera(client, RELIABLE)
    client.wait_until(lambda: first.node.count_publishers(TOPIC), "the publisher")
    second = ImageSubscription(first.node, Header, TOPIC, lambda message: None)
    assert RELIABLE in first.reliabilities()
    second.destroy()
    del camera


def test_a_best_effort_publisher_that_joins_is_heard_and_the_other_goes_on(
    subscribe: Subscribe, client: Client
) -> None:
    subscriber = subscribe()
    camera = Camera(client, RELIABLE, "first ")
    camera.publish_until(lambda: subscriber.reliabilities() == [RELIABLE], "a reliable subscription")
    other = client.node.create_publisher(Header, TOPIC, QoSProfile(depth=10, reliability=BEST_EFFORT))

    def heard() -> bool:
        other.publish(Header(frame_id="second"))
        return "second" in subscriber.received and subscriber.reliabilities() == [BEST_EFFORT]

    camera.publish_until(heard, "the best-effort publisher")
    own = [entry for entry in subscriber.received if entry != "second"]
    assert own == camera.sent[: len(own)]
    assert len(own) > 1


def test_a_publisher_that_leaves_before_it_says_anything_leaves_it_as_it_was(
    subscribe: Subscribe, client: Client
) -> None:
    subscriber = subscribe()
    silent = client.node.create_publisher(Header, TOPIC, 10)
    client.wait_until(lambda: len(subscriber.reliabilities()) == 2, "the reliable one beside the other")
    client.node.destroy_publisher(silent)
    client.wait_until(lambda: subscriber.reliabilities() == [BEST_EFFORT], "only the first one")
    Camera(client, BEST_EFFORT).publish_until(lambda: subscriber.received, "a message")


@pytest.mark.parametrize("reliability", ["best_effort", "reliable"])
def test_an_override_holds(subscribe: Subscribe, client: Client, reliability: str) -> None:
    subscriber = subscribe(reliability=reliability)
    Camera(client, RELIABLE).publish_until(lambda: len(subscriber.received) > 1, "messages")
    assert not [*subscriber.node.timers]  # nobody looks any more
    assert subscriber.reliabilities() == [ReliabilityPolicy[reliability.upper()]]


def test_destroyed_in_the_middle_of_changing_over_nothing_is_left(
    subscribe: Subscribe, client: Client
) -> None:
    subscriber = subscribe()
    client.node.create_publisher(Header, TOPIC, 10)
    client.wait_until(lambda: len(subscriber.reliabilities()) == 2, "the reliable one beside the other")
    subscriber.subscription.destroy()
    client.wait_until(lambda: not subscriber.reliabilities(), "no subscription")
