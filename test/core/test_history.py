"""The recent past of a stream: bounded in time and in bytes, and it forgets what is to be forgotten."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from live_stream import PERIOD, Frames, Stream
from scene import red_box

from sam2_core import Prompt, PromptError
from sam2_core.history import History, Moment
from sam2_core.model import SAM2


@pytest.fixture
def stream(nano: SAM2, frame: Frames) -> Iterator[Stream]:
    stream = Stream(nano, frame)
    yield stream
    stream.live.close()


def test_the_history_is_bounded_in_time_and_in_bytes() -> None:
    history = History(seconds=1.0, max_bytes=10_000)
    for index in range(100):
        history.add(Moment(index * PERIOD, image=np.zeros((10, 10, 3), np.uint8)))
    assert [m.stamp // PERIOD for m in history.moments()] == list(range(89, 100))
    history.add(Moment(100 * PERIOD, image=np.zeros((50, 50, 3), np.uint8)))
    assert sum(m.count_bytes() for m in history.moments()) <= 10_000
    assert history.moments()[-1].stamp == 100 * PERIOD
    with pytest.raises(PromptError, match="let smaller images come: 0 MiB hold no more"):
        history.at(90 * PERIOD)
    for index in range(101, 120):
        history.add(Moment(index * PERIOD))
    with pytest.raises(PromptError, match="or raise history_seconds"):
        history.at(90 * PERIOD)


def test_a_history_too_small_for_two_images_holds_the_newest_whatever_its_stamp() -> None:
    history = History(seconds=1.0, max_bytes=100)
    for stamp in (50 * PERIOD, 0, 1000 * PERIOD, 1001 * PERIOD):
        newest = Moment(stamp, image=np.zeros((10, 10, 3), np.uint8))
        history.add(newest)
        assert history.moments() == [newest]
        assert history.at(stamp) is history.arrived(stamp) is newest


def test_what_is_forgotten_of_an_object_is_forgotten_by_images_that_prompts_wait_for(
    stream: Stream,
) -> None:
    history = History(seconds=1.0)
    stream.show(0)
    stream.ask(Prompt(1, box=red_box(0)))
    waited_for = Moment(0, after=dict(stream.tracker.snapshot()))
    history.add(waited_for)
    for index in range(1, 30):
        history.add(Moment(index * PERIOD))
    assert waited_for not in history.moments()
    history.forget([1])
    assert not waited_for.after
