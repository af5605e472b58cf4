"""Waiting for another thread's future in a service callback, without a thread that waits."""

from __future__ import annotations

import concurrent.futures
from contextlib import suppress
from typing import TypeVar

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future

Result = TypeVar("Result")


async def answer(node: Node, pending: concurrent.futures.Future[Result]) -> Result:
    """Lets the executor do other work until `pending` is done.

    The result is set from the thread that completes `pending`, and the executor is woken afterwards: a task
    that only asks the executor to set it (`create_task(future.set_result, ...)`) may run after the awaiting
    one was looked at, and the executor would then sleep until something else happens.

    Raises:
        Exception: what `pending` failed with.
    """
    done: Future = Future()

    def wake(_: concurrent.futures.Future[Result]) -> None:
        done.set_result(None)
        executor = node.executor
        if executor is not None:
            with suppress(InvalidHandle):  # the executor was shut down in between: nobody is waiting any more
                executor.wake()

    pending.add_done_callback(wake)
    await done
    return pending.result()
