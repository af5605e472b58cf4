"""A client on the ROS graph for tests: publishes, collects, calls, and waits for what it expects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header

PATIENCE = 60.0
"""Seconds until a test gives up waiting; no test says how fast something must be."""

RELIABLE = QoSProfile(depth=1000)

SECOND = 1_000_000_000


def image_message(
    pixels: NDArray[np.uint8], stamp: int, encoding: str = "rgb8", frame_id: str = "lens"
) -> Image:
    """An image of uint8 (H, W) or (H, W, C) pixels, stamped in nanoseconds."""
    message = Image(encoding=encoding, height=pixels.shape[0], width=pixels.shape[1], step=pixels[0].nbytes)
    message.header = Header(stamp=Time(sec=stamp // SECOND, nanosec=stamp % SECOND), frame_id=frame_id)
    message.data.frombytes(np.ascontiguousarray(pixels).tobytes())
    return message


def pixels(message: Image) -> NDArray[np.uint8]:
    """The pixels of a tightly packed mono8, rgb8 or bgr8 message."""
    channels = {"mono8": (), "rgb8": (3,), "bgr8": (3,)}[message.encoding]
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, *channels)


def nanoseconds(message: Any) -> int:
    """The stamp of a message with a header."""
    return message.header.stamp.sec * SECOND + message.header.stamp.nanosec


class Spinner:
    """A node with an executor on a thread of its own."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.failures: list[BaseException] = []
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as error:
            self.failures.append(error)
            raise

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(PATIENCE)
        self.node.destroy_node()


class Client:
    """One side of a conversation with the nodes under test."""

    def __init__(self, name: str = "test_client") -> None:
        self.node = rclpy.create_node(name)
        self._spinner = Spinner(self.node)
        self._clients: dict[str, Any] = {}
        self._changed = threading.Condition()

    def close(self) -> None:
        self._spinner.close()

    def wait_until(self, holds: Callable[[], Any], what: str) -> Any:
        """Waits for something to hold and returns it."""
        deadline = time.monotonic() + PATIENCE
        while not (value := holds()):
            with self._changed:
                self._changed.wait(0.02)
            assert time.monotonic() < deadline, f"gave up waiting for {what}"
        return value

    def collect(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        """A list to which every message of a topic is appended from now on."""
        messages: list[Any] = []

        def take(message: Any) -> None:
            messages.append(message)
            with self._changed:
                self._changed.notify_all()

        subscription = self.node.create_subscription(kind, topic, take, qos)
        self.wait_until(
            lambda: self.node.count_publishers(subscription.topic_name), f"a publisher of {topic}"
        )
        return messages

    def publisher(self, kind: type, topic: str) -> Any:
        """A publisher that a subscriber has been found for."""
        publisher = self.node.create_publisher(kind, topic, 10)
        self.wait_until(publisher.get_subscription_count, f"a subscriber of {topic}")
        return publisher

    def send(self, kind: type, service: str, request: Any) -> Any:
        """Sends a request and returns the future of its answer."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service, qos_profile=RELIABLE)
        client = self._clients[service]
        self.wait_until(client.service_is_ready, f"the service {service}")
        return client.call_async(request)

    def receive(self, future: Any, what: str) -> Any:
        self.wait_until(future.done, f"an answer of {what}")
        return future.result()

    def call(self, kind: type, service: str, request: Any) -> Any:
        return self.receive(self.send(kind, service, request), service)

    def change_state(self, transition: str, node: str = "/sam2") -> bool:
        """Asks for a transition by its name, such as configure. Returns: whether it succeeded."""
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str = "/sam2") -> str:
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def set_parameter(self, name: str, value: Any, node: str = "/sam2") -> Any:
        """Sets a parameter. Returns: the result, with `successful` and `reason`."""
        from rcl_interfaces.srv import SetParameters

        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, f"{node}/set_parameters", request).results[0]
