"""A node as a process: an executor, a clean end on SIGINT and SIGTERM, and none of it broken by one bad
callback.

rclpy's own signal handling invalidates the context at once, so that a node can neither answer nor publish any
more; and it leaves a KeyboardInterrupt to whatever code happens to run. Here the main thread waits for the
signal, the node ends its work while everything still functions, and only then ROS is shut down. Nothing heavy
is imported before the handlers stand.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

CLOSE_SECONDS = 5.0
"""How long a node may take to end its work."""


class _Stop:
    """Turns a signal into the end of the start-up, or, once that is over, into an event."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.started = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.event.set()
        if not self.started:
            # There is nothing to be saved, and an exception would only break whatever is being imported.
            sys.stdout.flush()
            os._exit(0)


def spin_briefly() -> None:
    """Have PyTorch's threads spin for some tens of microseconds while they wait for one another, before they
    sleep.

    Sleeping at once costs a quarter of the frame rate; spinning for milliseconds, OpenMP's default, takes
    cores from other programs for nothing. Where those want the cores there are fewer threads
    (sam2_core/threads.py, docs/performance.md). OpenMP reads this when PyTorch is imported. What the
    environment says of it holds.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def run(make_node: Callable[[Callable[[], None]], Any], args: list[str] | None = None) -> int:
    """Runs a node until it says that it has finished, or a signal comes.

    Args:
        make_node: makes the node; its argument is a function for the node to call when it has finished. The
            node may have a method `close()`, called once on the executor's thread before the end, and an
            attribute `exit_code`.
        args: the command line; None: the process's own.

    Returns: the exit code; 1 where ROS does not take the command line.
    """
    stop = _Stop()

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.signals import SignalHandlerOptions

    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        reason = re.sub(r"\s*, at \S+:\d+", "", str(error))  # places in the C code of rcl
        print(f"ROS does not take the arguments: {reason}. Correct them and start again", file=sys.stderr)
        return 1
    node = make_node(stop.event.set)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    thread = threading.Thread(target=_spin, args=(executor, node), name="executor", daemon=True)
    thread.start()
    stop.started = True
    stop.event.wait()

    ended = _on_executor(executor, getattr(node, "close", lambda: None), CLOSE_SECONDS)
    for _ in range(2):  # after the second round every answer that closing has given is sent
        ended = ended and _on_executor(executor, lambda: None, CLOSE_SECONDS)
    code = int(getattr(node, "exit_code", 0))
    if not ended:
        # A callback that cannot be interrupted, such as a download: there is nothing to be saved.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    executor.shutdown(timeout_sec=CLOSE_SECONDS)
    thread.join(CLOSE_SECONDS)
    node.destroy_node()
    rclpy.try_shutdown()
    # While the interpreter ends it would fall back to dying of a signal that came too late to matter.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return code


def _spin(executor: Any, node: Any) -> None:
    """Spins until the executor is shut down; an exception in a callback is logged and survived."""
    while executor.context.ok() and not _spun_to_the_end(executor, node):
        pass


def _spun_to_the_end(executor: Any, node: Any) -> bool:
    from rclpy.executors import ExternalShutdownException, ShutdownException

    try:
        executor.spin()
    except (ExternalShutdownException, ShutdownException):
        return True
    except Exception:
        node.get_logger().error(f"a callback failed: {traceback.format_exc()}")
        return False
    return True


def _on_executor(executor: Any, work: Callable[[], None], seconds: float) -> bool:
    """Runs work on the executor's thread. Returns: whether it was done in time."""
    done = threading.Event()

    def task() -> None:
        try:
            work()
        except Exception:
            traceback.print_exc()
        finally:
            done.set()

    executor.create_task(task)
    return done.wait(seconds)
