"""Prompts by time stamp: only the stamps of images count, whatever the clock says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from ros_graph import Client, pixels
from ros_stream import BLUE, RED, Stream, bring_up, square
from scene import red_box

Start = Callable[..., Any]
Frame = Callable[[int], np.ndarray]


@pytest.mark.parametrize("use_sim_time", [False, True])
def test_a_prompt_by_its_stamp_lands_on_the_object_that_the_person_saw(
    start: Start, client: Client, frame: Frame, use_sim_time: bool
) -> None:
    """The images are stamped decades before the wall clock, as those of a recording, and no clock runs."""
    start(image_size=0, use_sim_time=use_sim_time)
    bring_up(client)
    stream = Stream(client, frame)
    for _ in range(5):
        stream.step()
    seen = stream.mask(stream.stamp()).header
    for _ in range(10):
        stream.step()
    answer = stream.prompt(**square(red_box(4)), header=seen)
    assert answer.success, answer.message
    assert abs(answer.box.x_offset - red_box(4)[0]) < 8
    client.wait_until(lambda: stream.overlap(1, red_box(14)) > 0.6, "the object in the newest image")
    stream.step()
    assert stream.overlap(1, red_box(15)) > 0.6


def test_a_prompt_on_an_image_that_is_not_kept_any_more_is_refused(
    start: Start, client: Client, frame: Frame
) -> None:
    start(history_seconds=0.1)
    bring_up(client)
    stream = Stream(client, frame)
    old = stream.step().header
    for _ in range(4):
        stream.step()
    answer = stream.prompt(**RED, header=old)
    assert not answer.success
    assert answer.message.startswith(
        "no image is kept for stamp 100.000000000 s: the history reaches from 100.080000000 s to "
        "100.160000000 s; "
    )
    assert not pixels(stream.step()).any()


def test_a_recording_that_begins_anew_can_be_prompted_on(start: Start, client: Client, frame: Frame) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    headers = [stream.step().header for _ in range(4)]
    assert stream.prompt(**RED, header=headers[0]).success
    stream.rewind(-50)
    header = stream.step().header
    assert stream.prompt(**BLUE, header=header).object_id == 2
    stream.step()
    gone = stream.prompt(**BLUE, header=headers[3])
    assert not gone.success
    assert "stamp 100.120000000 s lies 2.080 s after the newest image" in gone.message
    assert set(np.unique(pixels(stream.step()))) == {0, 1, 2}
