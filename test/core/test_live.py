"""Live tracking: the newest image wins, a late click lands on the image that was clicked, nothing hangs."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pytest
from live_stream import PATIENCE, PERIOD, Frames, Stream
from scene import blue_box, filled, overlap, red_box

from sam2_core import LiveResult, LiveTracker, Prompt, PromptError, Track, Tracker, Worker
from sam2_core.model import SAM2


@pytest.fixture
def stream(nano: SAM2, frame: Frames) -> Iterator[Stream]:
    stream = Stream(nano, frame, history_seconds=10.0)
    yield stream
    stream.live.close()


def test_results_equal_those_of_the_tracker(stream: Stream, nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(nano)
    for index in range(4):
        result = stream.show(index)
        [*expected] = tracker.step(frame(index), [Prompt(1, box=red_box(0))] if index == 0 else [])
        if index == 0:
            stream.ask(Prompt(1, box=red_box(0)))
            result = stream.results[-1]
        assert result.stamp == (index + 1) * PERIOD
        assert [np.array_equal(a.mask, b.mask) for a, b in zip(result.tracks, expected, strict=True)] == [
            True
        ]


def test_a_prompt_on_a_still_camera_is_answered_and_shown(stream: Stream) -> None:
    stream.show(0)
    track = stream.ask(Prompt(None, box=red_box(0), label="box"))
    assert (track.object_id, track.label) == (1, "box")
    assert [t.object_id for t in stream.results[-1].tracks] == [1]
    assert stream.results[-1].stamp == PERIOD


def test_a_late_click_lands_on_the_object_that_the_person_saw(stream: Stream) -> None:
    for index in range(20):
        stream.show(index)
    # in frame 2 the red square is here; by frame 19 it has gone on, and this is background
    track = stream.ask(Prompt(1, mask=filled(red_box(2))), index=2)
    assert overlap(track.mask, red_box(2)) > 0.8
    assert overlap(stream.results[-1].tracks[0].mask, red_box(19)) > 0.8
    assert overlap(stream.show(20).tracks[0].mask, red_box(20)) > 0.8


def test_a_late_click_equals_one_that_came_at_once(stream: Stream, nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(nano)
    for index in range(8):
        stream.show(index)
        expected = tracker.step(frame(index), [Prompt(1, box=red_box(2))] if index == 2 else [])
    stream.ask(Prompt(1, box=red_box(2)), index=2)
    assert np.array_equal(stream.results[-1].tracks[0].mask, expected[0].mask)


def test_a_late_correction_refines_that_image_and_leaves_others_alone(
    stream: Stream, nano: SAM2, frame: Frames
) -> None:
    tracker = Tracker(nano)
    prompts = {
        0: [Prompt(1, box=(20, 60, 50, 120)), Prompt(2, box=blue_box(0))],
        4: [Prompt(1, box=red_box(4))],
    }
    for index in range(9):
        expected = tracker.step(frame(index), prompts.get(index, []))
        stream.show(index)
        if index == 0:
            for prompt in prompts[0]:
                stream.ask(prompt)
    stream.ask(prompts[4][0], index=4)
    red, blue = stream.results[-1].tracks
    assert np.array_equal(red.mask, expected[0].mask)
    assert np.array_equal(blue.mask, expected[1].mask)


def test_a_late_click_does_not_undo_a_newer_one(stream: Stream) -> None:
    for index in range(6):
        stream.show(index)
    stream.ask(Prompt(1, mask=filled(red_box(5)), label="red"), index=5)
    stream.ask(Prompt(1, mask=filled((28, 60, 58, 120))), index=2)  # its left half alone
    result = stream.show(6)
    assert overlap(result.tracks[0].mask, red_box(6)) > 0.8
    assert result.tracks[0].label == "red"


def test_a_second_prompt_on_the_same_image_replaces_what_the_first_left(stream: Stream) -> None:
    for index in range(4):
        stream.show(index)
    stream.ask(Prompt(1, mask=filled((20, 60, 50, 120))), index=0)
    stream.ask(Prompt(1, mask=filled(red_box(0))), index=0)
    assert overlap(stream.results[-1].tracks[0].mask, red_box(3)) > 0.8


@pytest.mark.parametrize(
    ("index", "message"), [(-1, "history reaches from"), (9, "0.800 s after the newest")]
)
def test_a_stamp_outside_the_history_is_refused_with_its_limits(
    stream: Stream, index: int, message: str
) -> None:
    stream.show(0)
    stream.show(1)
    with pytest.raises(PromptError, match=message):
        stream.ask(Prompt(1, points=[[50, 90]]), index=index)


def test_a_prompt_on_an_image_that_was_lost_on_its_way_lands_on_the_one_before(stream: Stream) -> None:
    stream.show(0)
    stream.show(1)
    track = stream.ask(Prompt(1, mask=filled(red_box(1))), index=2)
    assert overlap(track.mask, red_box(1)) > 0.8
    assert overlap(stream.show(3).tracks[0].mask, red_box(3)) > 0.8


@pytest.mark.parametrize("stamp", [None, float("nan"), 1.5])
def test_a_stamp_that_is_no_whole_number_is_refused_and_the_stream_goes_on(
    stream: Stream, frame: Frames, stamp: Any
) -> None:
    with pytest.raises(ValueError, match="give whole nanoseconds"):
        stream.live.submit(frame(0), stamp)
    if stamp is not None:
        with pytest.raises(ValueError, match="give whole nanoseconds"):
            stream.live.prompt(Prompt(1, box=red_box(0)), stamp)
    stream.show(0)
    assert stream.live.statistics().received == 1


def test_stamps_of_numpy_s_narrow_integers_are_exact(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame)
    stream.live.submit(frame(0), np.int8(5))
    assert stream.live.prompt(Prompt(1, box=red_box(0)), np.int8(100)).result(PATIENCE).object_id == 1
    stream.live.close()


def test_a_prompt_before_any_image_is_refused(stream: Stream) -> None:
    with pytest.raises(PromptError, match="no image has arrived yet"):
        stream.ask(Prompt(1, points=[[50, 90]]))


def test_a_removed_object_does_not_come_back_from_the_past(stream: Stream) -> None:
    stream.show(0)
    stream.ask(Prompt(1, box=red_box(0)))
    stream.show(1)
    assert stream.live.remove([1]).result(PATIENCE) == []
    assert stream.results[-1].tracks == []
    track = stream.ask(Prompt(1, mask=filled(blue_box(0))), index=0)
    assert overlap(track.mask, blue_box(0)) > 0.8
    assert overlap(stream.show(2).tracks[0].mask, blue_box(2)) > 0.8


def test_bad_requests_are_refused_and_change_nothing(stream: Stream) -> None:
    stream.show(0)
    stream.ask(Prompt(1, box=red_box(0)))
    for prompt in (Prompt(2, points=[[999, 9]]), Prompt(2, mask=np.ones((3, 3), bool))):
        with pytest.raises(PromptError):
            stream.ask(prompt)
    with pytest.raises(PromptError, match="object 5 is unknown"):
        stream.live.remove([1, 5]).result(PATIENCE)
    with pytest.raises(PromptError, match="object ids 1 are no list"):
        stream.live.remove(1)  # type: ignore[arg-type]
    assert [t.object_id for t in stream.show(1).tracks] == [1]


def test_the_newest_image_wins(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame)
    gate = threading.Event()
    stream.live.on_result(lambda result: gate.wait(PATIENCE))
    stream.live.submit(frame(0), PERIOD)
    while not stream.results:
        pass
    for index in range(1, 6):  # the worker is held up by the listener meanwhile
        stream.live.submit(frame(index), (index + 1) * PERIOD)
    done = stream.live.prompt(Prompt(1, box=red_box(5)))
    gate.set()
    done.result(PATIENCE)
    stream.live.close()
    assert [r.stamp // PERIOD - 1 for r in stream.results] == [0, 5]
    statistics = stream.live.statistics()
    assert (statistics.received, statistics.processed, statistics.dropped) == (6, 2, 4)


def test_a_click_on_an_image_that_was_passed_over_lands_there(nano: SAM2, frame: Frames) -> None:
    stream = Stream(nano, frame, history_seconds=10.0)
    gate = threading.Event()
    stream.live.on_result(lambda result: gate.wait(PATIENCE))
    for index in range(8):
        stream.live.submit(frame(index), (index + 1) * PERIOD)
        while not stream.results:
            pass
    gate.set()
    track = stream.ask(Prompt(1, mask=filled(red_box(3))), index=3)
    assert overlap(track.mask, red_box(3)) > 0.8
    assert overlap(stream.show(8).tracks[0].mask, red_box(8)) > 0.8
    stream.live.close()


def test_a_closed_tracker_holds_nothing_of_the_past(small_nano: SAM2, frame: Frames) -> None:
    worker = Worker()
    stream = Stream(small_nano, frame, worker=worker)
    stream.show(0)
    gone = weakref.ref(stream.live)
    stream.live.close()
    del stream
    gc.collect()
    assert gone() is None
    worker.close()


def hold_in_callback(stream: Stream) -> threading.Event:
    """Shows an image; returns while its callback waits for what is returned."""
    entered, gate = threading.Event(), threading.Event()

    def hold(result: LiveResult) -> None:
        entered.set()
        gate.wait(PATIENCE)

    stream.live.on_result(hold)
    stream.live.submit(stream.frame(0), PERIOD)
    assert entered.wait(PATIENCE)
    return gate


def test_closing_answers_everything_and_silences_callbacks(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame)
    gate = hold_in_callback(stream)
    waiting: list[Future[Track]] = [stream.live.prompt(Prompt(i, points=[[50, 90]])) for i in range(1, 5)]
    closer = threading.Thread(target=stream.live.close)
    closer.start()
    gate.set()
    closer.join(PATIENCE)
    count = len(stream.results)
    for future in waiting:
        with pytest.raises(PromptError, match="closed"):
            future.result(PATIENCE)
    stream.live.submit(frame(1), 2 * PERIOD)
    with pytest.raises(PromptError, match="closed"):
        stream.live.prompt(Prompt(1, points=[[50, 90]])).result(PATIENCE)
    assert len(stream.results) == count


def test_whoever_closes_it_a_second_time_waits_for_the_last_callback_too(
    small_nano: SAM2, frame: Frames
) -> None:
    stream = Stream(small_nano, frame)
    gate = hold_in_callback(stream)
    closers = [threading.Thread(target=stream.live.close) for _ in range(2)]
    for closer in closers:
        closer.start()
        closer.join(0.2)
        assert closer.is_alive()
    gate.set()
    for closer in closers:
        closer.join(PATIENCE)
        assert not closer.is_alive()


def test_a_worker_that_is_closed_closes_its_streams(small_nano: SAM2, frame: Frames) -> None:
    worker = Worker()
    live = LiveTracker(Tracker(small_nano), worker=worker)
    worker.close()
    live.submit(frame(0), PERIOD)
    with pytest.raises(PromptError, match="closed"):
        live.prompt(Prompt(1, points=[[50, 90]])).result(PATIENCE)


WORKING = """
import time
import numpy as np
from sam2_core import LiveTracker, Prompt, Tracker, load_model

live = LiveTracker(Tracker(load_model("sam2_nano", device="cpu")))
image = np.zeros((480, 640, 3), np.uint8)
live.submit(image, 0)
live.prompt(Prompt(1, points=[[3, 3]])).result()
for stamp in range(1, 4):
    live.submit(image, stamp)
    time.sleep(0.02)
raise ValueError("the end")
"""


def test_a_program_may_end_while_the_worker_works() -> None:
    done = subprocess.run([sys.executable, "-c", WORKING], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: the end\n")


def test_what_is_no_prompt_and_no_search_is_refused(stream: Stream) -> None:
    for request in (stream.live.prompt({"points": [[3, 4]]}), stream.live.discover("all")):  # type: ignore[arg-type]
        with pytest.raises(PromptError, match=r"is no (Prompt|Search): give one"):
            request.result(PATIENCE)


@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_a_failing_listener_does_not_stop_the_stream(
    small_nano: SAM2, frame: Frames, error: type[BaseException]
) -> None:
    def fail(result: LiveResult) -> None:
        raise error

    stream = Stream(small_nano, frame)
    stream.live.on_result(fail)
    stream.show(0)
    assert stream.show(1).stamp == 2 * PERIOD
    stream.live.close()


def test_one_worker_serves_every_stream_in_turn(small_nano: SAM2, frame: Frames) -> None:
    worker, order = Worker(), []
    lives = [LiveTracker(Tracker(small_nano), worker=worker) for _ in range(3)]
    finished = threading.Event()

    def note(number: int) -> Callable[[LiveResult], None]:
        def listener(result: LiveResult) -> None:
            order.append(number)
            if len(order) < 30:  # every stream always has a new image waiting
                lives[number].submit(frame(0), result.stamp + PERIOD)
            else:
                finished.set()

        return listener

    for number, live in enumerate(lives):
        live.on_result(note(number))
    for live in lives:
        live.submit(frame(0), PERIOD)
    assert finished.wait(PATIENCE)
    for live in lives:
        live.close()
    worker.close()
    assert all(order[:30].count(number) >= 9 for number in range(3))


def test_memory_of_a_stream_stays_the_same(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame, history_seconds=1.0)
    held = {}
    for index in range(60):
        stream.live.submit(frame(index % 8), (index + 1) * PERIOD)
        stream.live.prompt(Prompt(1 + index % 3, box=red_box(index % 8), restart=True)).result(PATIENCE)
        held[index] = stream.live.statistics().memory_bytes
    stream.live.close()
    assert held[59] == held[56] == held[30]
