"""Discovery: what is in an image is found once, tracked from there on, and nobody waits for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from live_stream import PATIENCE, PERIOD, Frames, Stream
from scene import filled, overlap, red_box

from sam2_core import Prompt, PromptError, Tracker, Worker
from sam2_core.discovery import DUPLICATE_IOU, Found, Search, discover, mask_iou
from sam2_core.model import SAM2
from sam2_core.timeline import Timeline


@pytest.fixture
def stream(nano: SAM2, frame: Frames) -> Iterator[Stream]:
    stream = Stream(nano, frame)
    yield stream
    stream.live.close()


def test_what_is_in_the_newest_image_is_found_and_tracked(stream: Stream) -> None:
    stream.show(0)
    found = stream.live.discover().result(PATIENCE)
    assert [track.object_id for track in found] == list(range(1, len(found) + 1))
    assert [track.score for track in found] == sorted((track.score for track in found), reverse=True)
    assert max(overlap(track.mask, red_box(0)) for track in found) > 0.8
    shown = {track.object_id: track.mask for track in stream.results[-1].tracks}
    assert all(np.array_equal(shown[track.object_id], track.mask) for track in found)
    assert len(stream.show(1).tracks) == len(found)


def test_searching_needs_no_package_that_a_robot_may_lack() -> None:
    optional = ("pycocotools", "PIL", "matplotlib", "tqdm")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({optional}))
from scene import draw
from sam2_core import Tracker, load_model
from sam2_core.discovery import Search, discover
tracker = Tracker(load_model("sam2_nano", device="cpu", image_size=128))
for _ in discover(tracker, draw(0), [], Search()):
    pass
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


def test_nothing_is_found_twice(stream: Stream) -> None:
    stream.show(0)
    stream.live.prompt(Prompt(7, mask=filled(red_box(0)))).result(PATIENCE)
    found = stream.live.discover().result(PATIENCE)
    assert found
    assert all(overlap(track.mask, red_box(0)) <= DUPLICATE_IOU for track in found)
    again = stream.live.discover().result(PATIENCE)
    assert again == []


def test_what_is_prompted_during_the_search_is_not_found_again(stream: Stream) -> None:
    stream.show(0)
    pending = stream.live.discover()
    assert stream.live.prompt(Prompt(200, mask=filled(red_box(0)))).result(PATIENCE).object_id == 200
    assert not pending.done()
    found = pending.result(PATIENCE)
    assert found
    assert all(overlap(track.mask, red_box(0)) <= DUPLICATE_IOU for track in found)
    assert sorted(t.object_id for t in stream.show(1).tracks) == [*(t.object_id for t in found), 200]


def test_what_is_removed_during_the_search_is_not_reported(nano: SAM2, frame: Frames) -> None:
    timeline = Timeline(Tracker(nano), history_seconds=1.0)
    timeline.process(timeline.add(frame(0), 0), [])
    search = timeline.discover(Search(min_quality=0.01))
    while not timeline.tracker.object_ids:
        next(search)
    timeline.remove()
    with pytest.raises(StopIteration) as end:
        while True:
            next(search)
    found = [track.object_id for track in end.value.value]
    assert found == timeline.tracker.object_ids != []


def test_objects_of_a_large_image_are_found_in_its_own_pixels(nano: SAM2, frame: Frames) -> None:
    large = np.ascontiguousarray(np.repeat(np.repeat(frame(0), 4, axis=0), 4, axis=1))
    tracker = Tracker(nano)
    tracker.step(large)
    found: list[Found] = []

    def collect() -> Iterator[None]:
        found.extend((yield from discover(tracker, large, [], Search())))

    for _ in collect():
        pass
    assert {one.mask.shape for one in found} == {(960, 1280)}
    x_min, y_min, x_max, y_max = (4 * side for side in red_box(0))
    truth = np.zeros((960, 1280), bool)
    truth[y_min:y_max, x_min:x_max] = True
    assert max(mask_iou(one.mask, truth) for one in found) > 0.8


def test_only_the_region_is_searched_and_only_as_many_are_taken(stream: Stream) -> None:
    stream.show(0)
    search = Search(region=np.array([0, 40, 100, 140]), max_objects=1, min_quality=0.6)
    [track] = stream.live.discover(search).result(PATIENCE)
    assert overlap(track.mask, red_box(0)) > 0.8
    assert track.score > 0.6


def test_the_stream_goes_on_meanwhile_and_found_objects_catch_up(stream: Stream) -> None:
    stream.show(0)
    pending = stream.live.discover(Search(region=(0, 40, 100, 140), max_objects=1))
    index = 0
    while not pending.done():
        index += 1
        stream.show(index % 15)
    assert index > 2  # images were processed between the pieces of the search
    assert pending.result().pop().object_id == 1
    assert [track.object_id for track in stream.show(16).tracks] == [1]


def test_another_camera_waits_for_one_piece_at_most(small_nano: SAM2, frame: Frames) -> None:
    worker = Worker()
    searching, other = (Stream(small_nano, frame, worker=worker) for _ in range(2))
    searching.show(0)
    pending = searching.live.discover()
    shown = 0
    while not pending.done():
        other.show(shown)
        shown += 1
    assert shown >= 5  # a turn for the other after each piece
    for stream in (searching, other):
        stream.live.close()
    worker.close()


def test_requests_that_cannot_be_followed_are_refused(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame, max_objects=1)
    with pytest.raises(PromptError, match="no image has arrived yet"):
        stream.live.discover().result(PATIENCE)
    stream.show(0)
    with pytest.raises(PromptError, match=r"region \(400, 0, 500, 50\) lies outside the image of 320 x 240"):
        stream.live.discover(Search(region=(400, 0, 500, 50))).result(PATIENCE)
    assert len(stream.live.discover().result(PATIENCE)) == 1  # as many as fit
    with pytest.raises(PromptError, match="1 of at most 1 objects are tracked"):
        stream.live.discover().result(PATIENCE)
    stream.live.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"region": (1, 2, 3)}, "region has 3 numbers: give x_min y_min x_max y_max in pixels, or none"),
        ({"region": (1, 2, float("nan"), 4)}, r"NaN or infinity in region \(1, 2, nan, 4\)"),
        ({"region": 5}, "region has 1 numbers"),
        ({"region": "abcd"}, "region can't be read as numbers"),
        ({"region": (9, 2, 3, 4)}, "region .* has no area"),
        ({"max_objects": -1}, "max_objects -1 is out of range: give 0 or more"),
        ({"max_objects": 1.5}, "max_objects 1.5 is not a whole number"),
        ({"max_objects": "1"}, "max_objects '1' is not a whole number"),
        ({"min_quality": 1.5}, "min_quality 1.5 is out of range"),
    ],
)
def test_bad_searches_are_refused_with_the_value(values: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Search(**values)


@pytest.mark.parametrize("way", ["close", "reset"])
def test_a_search_that_is_cut_short_is_answered(small_nano: SAM2, frame: Frames, way: str) -> None:
    stream = Stream(small_nano, frame)
    stream.show(0)
    pending = [stream.live.discover() for _ in range(2)]
    getattr(stream.live, way)()
    for future in pending:
        with pytest.raises(PromptError, match="ask again"):
            future.result(PATIENCE)
    stream.live.close()
    with pytest.raises(PromptError, match="closed"):
        stream.live.discover().result(PATIENCE)


def test_whoever_hears_of_the_first_search_may_close_the_stream(small_nano: SAM2, frame: Frames) -> None:
    stream = Stream(small_nano, frame)
    stream.show(0)
    first, second = stream.live.discover(), stream.live.discover()
    first.add_done_callback(lambda _: stream.live.close())
    with pytest.raises(PromptError, match="closed"):
        second.result(PATIENCE)
    assert first.result(PATIENCE)


def test_what_waits_behind_a_prompt_is_answered_where_a_listener_closes_the_stream(
    small_nano: SAM2, frame: Frames
) -> None:
    stream = Stream(small_nano, frame)
    stream.show(0)
    stream.hold_up(1)
    stream.live.on_result(lambda result: stream.live.close() if result.again else None)
    waiting = [
        stream.live.prompt(Prompt(1, box=red_box(0)), PERIOD),
        stream.live.discover(),
        stream.live.discover(),
    ]
    stream.tracker.gate.set()
    for future in waiting[1:]:
        with pytest.raises(PromptError, match="closed"):
            future.result(PATIENCE)
