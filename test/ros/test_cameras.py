"""Several cameras on one node: independent, and none at the cost of another."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from ros_graph import Client, pixels
from ros_stream import RED, Stream, bring_up

from sam2_core.model import SAM2

Start = Callable[..., Any]
Frame = Callable[[int], np.ndarray]


def test_cameras_are_independent(start: Start, client: Client, frame: Frame) -> None:
    start(cameras=["front", "rear/left"])
    bring_up(client)
    front, rear = Stream(client, frame, "/front"), Stream(client, frame, "/rear/left")
    front.step()
    rear.step()
    assert front.prompt(**RED).object_id == 1
    assert not rear.remove(1).success
    assert pixels(front.step()).any()
    assert not pixels(rear.step()).any()


def test_cameras_share_one_worker_and_one_set_of_weights(start: Start, client: Client) -> None:
    def models() -> int:
        gc.collect()
        return sum(type(one) is SAM2 for one in gc.get_objects())

    def workers() -> int:
        return sum(thread.name == "sam2-worker" for thread in threading.enumerate())

    before = models(), workers()
    start(cameras=["front", "rear", "left"])
    bring_up(client)
    assert (models(), workers()) == (before[0] + 1, before[1] + 1)


def test_a_fast_camera_does_not_starve_a_slow_one(start: Start, client: Client, frame: Frame) -> None:
    """Each of two busy cameras gets every other turn: no image of the slow one is passed over, however many
    the fast one sends.
    """
    node = start(cameras=["fast", "slow"], image_size=256)
    bring_up(client)
    slow, fast = Stream(client, frame, "/slow"), Stream(client, frame, "/fast")
    done = threading.Event()

    def flood() -> None:
        while not done.is_set():
            fast.show()
            done.wait(0.002)

    flooding = threading.Thread(target=flood)
    flooding.start()
    client.wait_until(lambda: fast.masks, "the fast camera's masks")
    shares = []
    for _ in range(10):
        known = len(fast.masks)
        slow.step()
        shares.append(len(fast.masks) - known)
    done.set()
    flooding.join()
    reports = node._reports()
    assert reports["slow"].statistics.dropped == 0
    assert reports["slow"].statistics.processed == 10
    assert reports["fast"].statistics.dropped > reports["fast"].statistics.processed
    assert (
        sorted(shares)[5] <= 3
    )  # between an image of the slow one and its mask: the turn begun, and one more
