"""Live tracking under disorder: images too fast, too late, unstamped, resized; requests all at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from live_stream import PATIENCE, PERIOD, Frames, Stream
from scene import blue_box, filled, overlap, red_box

from sam2_core import Prompt, PromptError, Tracker
from sam2_core.discovery import Search
from sam2_core.model import SAM2


@pytest.fixture
def stream(nano: SAM2, frame: Frames) -> Iterator[Stream]:
    stream = Stream(nano, frame, history_seconds=10.0)
    yield stream
    stream.live.close()


def test_stamps_that_run_backwards_are_survived(stream: Stream) -> None:
    for index in (15, 16):
        stream.show(index)
    stream.ask(Prompt(1, box=red_box(16)))
    result = stream.show(2)
    assert result.stamp == 3 * PERIOD and len(result.tracks) == 1
    stream.ask(Prompt(1, mask=filled(red_box(2))), index=2)
    stream.show(3)
    with pytest.raises(PromptError, match="after the newest image"):
        stream.ask(Prompt(1, points=[[60, 90]]), index=16)


@pytest.mark.parametrize("stray", [0, 3600 * 10**9])
def test_one_stray_stamp_costs_nothing_of_the_past(stream: Stream, stray: int) -> None:
    for index in (3, 4, 5):
        stream.show(index)
    stream.live.submit(stream.frame(6), stray)
    on_it = stream.live.prompt(Prompt(9, mask=filled(red_box(6))), stray).result(PATIENCE)
    assert overlap(on_it.mask, red_box(6)) > 0.8
    for again in range(2):  # while it is the newest, and afterwards
        track = stream.ask(Prompt(again + 1, mask=filled(red_box(4))), index=4)
        assert overlap(track.mask, red_box(4)) > 0.8
        stream.show(7 + again)
    with pytest.raises(PromptError, match=r"history reaches from 0\.4|after the newest image"):
        stream.live.prompt(Prompt(3, mask=filled(red_box(4))), stray).result(PATIENCE)


def test_images_farther_apart_than_the_history_reaches_can_be_prompted_on(
    small_nano: SAM2, frame: Frames
) -> None:
    stream = Stream(small_nano, frame, history_seconds=0.05)
    for index in range(4):
        stream.show(index)
        assert stream.ask(Prompt(1, box=red_box(index)), index=index).object_id == 1
    stream.live.close()


def test_a_prompt_keeps_its_image_however_long_it_waits(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame, history_seconds=0.3)
    stream.show(0)
    stream.hold_up(1)
    pending = stream.live.prompt(Prompt(1, mask=filled(red_box(0))), PERIOD)
    for index in range(2, 20):
        stream.live.submit(frame(index), (index + 1) * PERIOD)
    stream.tracker.gate.set()
    assert overlap(pending.result(PATIENCE).mask, red_box(0)) > 0.8
    stream.show(20)
    stream.show(21)
    with pytest.raises(PromptError, match="raise history_seconds"):
        stream.ask(Prompt(1, mask=filled(red_box(0))), index=0)
    stream.live.close()


def test_what_is_on_the_screen_can_be_prompted_however_slow_the_model_is(
    small_nano: SAM2, frame: Frames
) -> None:
    stream = Stream(small_nano, frame, history_seconds=0.3)
    for shown in (0, 20, 40):
        stream.hold_up(shown)
        for index in range(shown + 1, shown + 20):  # twice the history passes while it is processed
            stream.live.submit(frame(index), (index + 1) * PERIOD)
        stream.tracker.gate.set()
        prompt = Prompt(1, mask=filled(red_box(shown)), restart=True)
        assert overlap(stream.ask(prompt, index=shown).mask, red_box(shown)) > 0.8
    stream.live.close()


def test_an_image_that_was_overtaken_on_its_way_costs_nothing_of_the_past(stream: Stream) -> None:
    for index in (3, 4, 5, 7, 6, 8):
        stream.show(index)
    for index in (4, 6, 7):
        track = stream.ask(Prompt(index, mask=filled(red_box(index))), index=index)
        assert overlap(track.mask, red_box(index)) > 0.8
        assert overlap(stream.results[-1].tracks[-1].mask, red_box(8)) > 0.8


def test_the_past_is_kept_though_images_come_faster_than_they_are_processed(stream: Stream) -> None:
    for first in range(0, 15, 5):
        stream.hold_up(*range(first, first + 5))
        stream.tracker.gate.set()
        stream.ask(Prompt(200, points=[[10, 10]]))  # until all of these are through
    track = stream.ask(Prompt(1, mask=filled(red_box(1))), index=1)
    assert overlap(track.mask, red_box(1)) > 0.8
    assert overlap(stream.results[-1].tracks[0].mask, red_box(14)) > 0.8


def test_a_prompt_on_an_image_that_is_just_being_processed_lands_there(stream: Stream) -> None:
    stream.hold_up(4, 9)
    on_this, on_the_next = (
        stream.live.prompt(Prompt(object_id, mask=filled(red_box(index))), (index + 1) * PERIOD)
        for object_id, index in ((1, 4), (2, 9))
    )
    stream.tracker.gate.set()
    assert overlap(on_this.result(PATIENCE).mask, red_box(4)) > 0.8
    assert overlap(on_the_next.result(PATIENCE).mask, red_box(9)) > 0.8
    assert len(stream.show(10).tracks) == 2


def test_two_prompts_for_one_object_are_followed_one_after_the_other(
    stream: Stream, nano: SAM2, frame: Frames
) -> None:
    prompts = [Prompt(1, box=(20, 60, 50, 120)), Prompt(1, box=red_box(0))]
    stream.hold_up(5, 0)
    answers = [stream.live.prompt(prompt) for prompt in prompts]
    stream.tracker.gate.set()
    first, second = (answer.result(PATIENCE) for answer in answers)
    tracker = Tracker(nano)
    tracker.step(frame(0), prompts[:1])
    expected = tracker.advance(tracker.encode(frame(0)), [], prompts[1:], index=0)
    assert np.array_equal(second.mask, expected[0].mask)
    assert not np.array_equal(first.mask, second.mask)


def test_what_is_asked_is_done_in_that_order(stream: Stream) -> None:
    stream.hold_up(5, 0)
    box = red_box(0)
    answers = [
        stream.live.prompt(Prompt(1, box=box)),
        stream.live.remove([1]),
        stream.live.prompt(Prompt(None, box=box)),
        stream.live.prompt(Prompt(None, box=box)),
        stream.live.reset(),
        stream.live.discover(Search(max_objects=1)),
    ]
    stream.tracker.gate.set()
    results = [answer.result(PATIENCE) for answer in answers]
    assert results[1] == []
    assert [results[2].object_id, results[3].object_id] == [1, 2]
    assert [track.object_id for track in results[5]] == [1]


def test_a_camera_that_does_not_stamp_its_images_is_tracked(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame)
    for index in range(6):
        stream.live.submit(frame(index), 0)
        track = stream.ask(Prompt(1, mask=filled(red_box(index))))
        assert overlap(track.mask, red_box(index)) > 0.8
        assert stream.live.prompt(Prompt(1, points=[[50, 90]]), stamp=0).result(PATIENCE).object_id == 1
    stream.live.close()


def test_an_image_that_cannot_be_processed_costs_its_prompts_and_nothing_else(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream.show(0)
    monkeypatch.setattr(stream.tracker, "encode", lambda image: 1 / 0)
    stream.live.submit(stream.frame(1), 2 * PERIOD)
    with pytest.raises(ZeroDivisionError):
        stream.ask(Prompt(1, points=[[50, 90]]), index=1)
    monkeypatch.undo()
    assert stream.ask(Prompt(1, box=red_box(0)), index=0).object_id == 1
    assert [track.object_id for track in stream.show(2).tracks] == [1]
    assert stream.live.statistics().dropped == 1


def test_images_may_change_their_size_while_objects_live(stream: Stream, frame: Frames) -> None:
    stream.show(0)
    stream.ask(Prompt(1, mask=filled(red_box(0))))
    stream.show(1, np.ascontiguousarray(frame(1)[::2, ::2]))
    late = stream.ask(Prompt(2, mask=filled(blue_box(0))), index=0)
    assert late.mask.shape == (240, 320)
    shown = stream.results[-1]
    assert {track.mask.shape for track in shown.tracks} == {shown.image.shape[:2]} == {(120, 160)}
    assert [track.object_id for track in stream.show(2).tracks] == [1, 2]
