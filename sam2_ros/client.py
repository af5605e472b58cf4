"""The other side of the graph, for a program that starts a node, talks to it and ends it again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

PATIENCE = 300.0
"""Seconds after which something that should have happened is taken not to happen any more."""

CLOSE_SECONDS = 60.0
"""How long a process may take to end when it is asked to."""


class ClientError(RuntimeError):
    """The conversation did not come to its end; the message says at which point."""


@contextmanager
def running(commands: dict[str, Sequence[str]]) -> Iterator[list[subprocess.Popen]]:
    """Executables of this package as processes, ended cleanly whatever happens.

    SIGTERM and SIGHUP, which would leave them running, become `SystemExit` meanwhile.

    Args:
        commands: by the executable's name, its arguments.
    """
    python = [sys.executable, "-m"]
    started: list[subprocess.Popen] = []

    def end(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    ending = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else nohup is to keep it running
        ending.append(signal.SIGHUP)
    previous = {number: signal.signal(number, end) for number in ending}
    try:
        for name, arguments in commands.items():
            started.append(subprocess.Popen([*python, f"sam2_ros.{name}", *arguments]))
        yield started
        for process in started:
            process.send_signal(signal.SIGINT)
        for name, process in zip(commands, started, strict=True):
            if code := process.wait(CLOSE_SECONDS):  # what came before stands all the same
                print(f"warning: {name} ended with code {code}", file=sys.stderr)
    finally:
        for process in started:
            process.kill()
            process.wait()
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def talking(
    name: str, lasting: Sequence[subprocess.Popen], others: Sequence[subprocess.Popen] = ()
) -> Iterator[Client]:
    """ROS and a `Client`, both ended whatever happens: an interpreter that ends before them may crash."""
    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    try:
        client = Client(name, lasting, others)
        try:
            yield client
        finally:
            client.close()
    finally:
        rclpy.shutdown()


class Client:
    """This process's side of the graph.

    Args:
        name: of its node.
        lasting: processes that it talks to; when one of them ends, waiting is over.
        others: processes that may end by themselves, but not fail.
    """

    def __init__(
        self, name: str, lasting: Sequence[subprocess.Popen], others: Sequence[subprocess.Popen] = ()
    ) -> None:
        self.node = Node(name)
        self._lasting = lasting
        self._others = others
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)

    def close(self) -> None:
        """Takes this process's node off the graph."""
        self._executor.shutdown()
        self.node.destroy_node()

    def spin(self, seconds: float) -> None:
        """Serves this node's callbacks for so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)
            self._check("images")

    def wait_until(self, holds: Callable[[], Any], what: str) -> None:
        """Serves this node's callbacks until something holds.

        Raises:
            ClientError: a process has failed, or it has not come to hold within `PATIENCE`.
        """
        end = time.monotonic() + PATIENCE
        while not holds():
            self._executor.spin_once(timeout_sec=0.1)
            self._check(what)
            if time.monotonic() > end:
                raise ClientError(f"gave up waiting for {what} after {PATIENCE:g} s")

    def _check(self, what: str) -> None:
        ended = any(process.poll() is not None for process in self._lasting)
        if ended or any(process.poll() not in (None, 0) for process in self._others):
            raise ClientError(f"a process ended while waiting for {what}: its output stands above")

    def call(self, kind: Any, service: str, request: Any) -> Any:
        """The service's answer."""
        client: Any = self.node.create_client(kind, service)
        self.wait_until(client.service_is_ready, f"the service {service}")
        future = client.call_async(request)
        self.wait_until(future.done, f"an answer of {service}")
        self.node.destroy_client(client)
        return future.result()

    def bring_up(self, node: str = "/sam2") -> None:
        """Configures and activates a lifecycle node."""
        steps = {Transition.TRANSITION_CONFIGURE: "configured", Transition.TRANSITION_ACTIVATE: "activated"}
        for transition, done in steps.items():
            request = ChangeState.Request(transition=Transition(id=transition))
            if not self.call(ChangeState, f"{node}/change_state", request).success:
                raise ClientError(f"the node could not be {done}: its error stands above")

    def subscribe(self, kind: type, topic: str, callback: Callable[[Any], None]) -> None:
        """Calls back with every message of a topic, none of them left out."""
        self.node.create_subscription(kind, topic, callback, QoSProfile(depth=200))
