"""The tracker: objects come, are corrected and go at any time, and none disturbs another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scene import blue_box, filled, overlap, red_box

from sam2_core import MemoryConfig, Prompt, PromptError, Track, Tracker, load_model
from sam2_core.configs import SightConfig
from sam2_core.loading import make_ready
from sam2_core.model import SAM2

Frames = Callable[[int], NDArray[np.uint8]]


def same(a: Track, b: Track, tolerance: float = 1e-3) -> bool:
    return bool(np.abs(a.mask_logits - b.mask_logits).max() <= tolerance) and a.object_id == b.object_id


def test_an_object_that_was_marked_is_followed(nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(nano)
    tracker.step(frame(0), [Prompt(7, mask=filled(red_box(0)), label="red")])
    for index in range(1, 8):
        [track] = tracker.step(frame(index))
    assert (track.object_id, track.label, track.visible) == (7, "red", True)
    assert overlap(track.mask, red_box(7)) > 0.8
    rows, columns = np.nonzero(track.mask)
    assert track.box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert track.mask.shape == (240, 320) and track.mask.dtype == bool
    side = nano.config.image_size // 4
    assert track.mask_logits.shape == (side, side) and track.mask_logits.dtype == np.float32
    assert 0 <= track.score <= 1 and 0 <= track.presence <= 1


@pytest.mark.parametrize("where", [red_box, blue_box])
@pytest.mark.parametrize("kind", ["box", "click", "clicks"])
def test_the_object_that_was_pointed_at_is_the_one_that_is_found(
    nano: SAM2, frame: Frames, where: Callable[[int], tuple[int, int, int, int]], kind: str
) -> None:
    box = where(0)
    centre = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]
    prompt = {
        "box": Prompt(1, box=box),
        "click": Prompt(1, points=[centre]),
        "clicks": Prompt(1, points=[centre, [160, 200]], labels=[1, 0]),
    }[kind]
    [track] = Tracker(nano).step(frame(0), [prompt])
    assert overlap(track.mask, box) > 0.8


def test_a_mask_is_taken_as_it_is(nano: SAM2, frame: Frames) -> None:
    [track] = Tracker(nano).step(frame(0), [Prompt(1, mask=filled(red_box(0)))])
    assert overlap(track.mask, red_box(0)) > 0.95
    assert track.score == 1.0


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_mask_too_small_for_the_model_is_still_somewhere(small_nano: SAM2, size: int) -> None:
    image = np.full((480, 640, 3), 90, np.uint8)
    mask = np.zeros((480, 640), bool)
    mask[200 : 200 + size, 300 : 300 + size] = True
    [track] = Tracker(small_nano).step(image, [Prompt(1, mask=mask)])
    assert track.visible
    assert (track.mask & mask).any()


def test_prompts_may_come_from_any_iterable(small_nano: SAM2, frame: Frames) -> None:
    tracks = Tracker(small_nano).step(frame(0), (Prompt(i, box=red_box(0)) for i in (1, 2)))
    assert [track.object_id for track in tracks] == [1, 2]


def test_adding_correcting_and_removing_an_object_leaves_the_others_as_they_are(
    nano: SAM2, frame: Frames
) -> None:
    alone, shared = Tracker(nano), Tracker(nano)
    for index in range(9):
        first = [Prompt(1, box=red_box(0))] if index == 0 else []
        other = {
            2: [Prompt(2, box=blue_box(2))],
            4: [Prompt(2, points=[[245, 50]])],
            5: [Prompt(2, box=blue_box(5), restart=True)],
        }.get(index, [])
        if index == 7:
            shared.remove([2])
        [expected] = alone.step(frame(index), first)
        assert same(shared.step(frame(index), first + other)[0], expected)
    assert shared.object_ids == [1]


def test_a_correction_is_remembered_beside_the_first_prompt(nano: SAM2, frame: Frames) -> None:
    tracker, plain = Tracker(nano), Tracker(nano)
    left_half = filled((20, 60, 50, 120))
    for t in (tracker, plain):
        t.step(frame(0), [Prompt(1, mask=left_half)])
        t.step(frame(1))
    plain.step(frame(2))
    tracker.step(frame(2), [Prompt(1, mask=filled(red_box(2)))])
    for index in (3, 4, 5):
        [uncorrected], [corrected] = plain.step(frame(index)), tracker.step(frame(index))
    assert overlap(corrected.mask, red_box(5)) > 0.9
    assert not same(corrected, uncorrected)
    assert [e.index for e in tracker.snapshot()[1].bank.entries if e.prompted] == [0, 2]


def test_a_click_refines_what_was_tracked_into_the_image(nano: SAM2, frame: Frames) -> None:
    tracker, fresh = Tracker(nano), Tracker(nano)
    tracker.step(frame(0), [Prompt(1, mask=filled(red_box(0)))])
    [refined] = tracker.step(frame(1), [Prompt(1, points=[[54, 90]])])
    [begun] = fresh.step(frame(1), [Prompt(1, points=[[54, 90]])])
    assert not same(refined, begun)
    assert overlap(refined.mask, red_box(1)) > 0.8


def test_a_restart_forgets_what_was_known(nano: SAM2, frame: Frames) -> None:
    tracker, fresh = Tracker(nano), Tracker(nano)
    for index in range(3):
        tracker.step(frame(index), [Prompt(1, box=red_box(0), label="red")] if index == 0 else [])
    [restarted] = tracker.step(frame(3), [Prompt(1, box=blue_box(3), restart=True)])
    assert restarted.label == ""
    [expected] = fresh.step(frame(3), [Prompt(1, box=blue_box(3))])
    assert same(restarted, expected)
    assert same(tracker.step(frame(4))[0], fresh.step(frame(4))[0])


def test_objects_in_one_batch_get_the_numbers_they_get_alone(nano: SAM2, frame: Frames) -> None:
    prompts = [Prompt(1, box=red_box(0)), Prompt(2, box=blue_box(0)), Prompt(3, points=[[160, 200]])]
    together = Tracker(nano)
    alone = [Tracker(nano) for _ in prompts]
    for index in range(6):
        tracks = together.step(frame(index), prompts if index == 0 else [])
        for track, tracker, prompt in zip(tracks, alone, prompts, strict=True):
            assert same(tracker.step(frame(index), [prompt] if index == 0 else [])[0], track)


def test_step_is_encode_and_advance(nano: SAM2, frame: Frames) -> None:
    whole, parts = Tracker(nano), Tracker(nano)
    prompts = [Prompt(1, box=red_box(0))]
    for index in range(3):
        [expected] = whole.step(frame(index), prompts if index == 0 else [])
        features = parts.encode(frame(index))
        [track] = parts.advance(features, parts.object_ids, prompts if index == 0 else [])
        assert same(track, expected, 0.0)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([Prompt(2, points=[[400, 10]])], "outside"),
        ([Prompt(2, mask=np.ones((5, 5), bool))], "mask of 5 x 5"),
        (Prompt(2, box=(1, 1, 9, 9)), "are no list: give a list of Prompt"),
        ([{"points": [[5, 5]]}], "is no Prompt: give a list of Prompt"),
        ([Prompt(2, box=(1, 1, 9, 9)), Prompt(2, points=[[5, 5]])], "two prompts"),
        ([Prompt(2, box=(1, 1, 9, 9)), Prompt(3, box=(1, 1, 9, 9))], "1 of at most 2 objects"),
    ],
)
def test_a_bad_prompt_changes_nothing(nano: SAM2, frame: Frames, prompts: Any, message: str) -> None:
    tracker, untouched = Tracker(nano, max_objects=2), Tracker(nano)
    for t in (tracker, untouched):
        t.step(frame(0), [Prompt(1, box=red_box(0))])
    with pytest.raises(PromptError, match=message):
        tracker.step(frame(1), prompts)
    assert tracker.object_ids == [1]
    assert same(tracker.step(frame(1))[0], untouched.step(frame(1))[0], 0.0)


def test_a_new_object_without_an_id_gets_the_smallest_free_one(small_nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(small_nano)
    tracker.step(frame(0), [Prompt(1, box=red_box(0)), Prompt(3, box=blue_box(0))])
    tracks = tracker.step(frame(1), [Prompt(None, points=[[10, 10]]), Prompt(None, points=[[20, 20]])])
    assert [track.object_id for track in tracks] == [1, 2, 3, 4]


def test_removing_an_unknown_object_is_refused_and_removes_none(small_nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(small_nano)
    tracker.step(frame(0), [Prompt(1, box=red_box(0))])
    with pytest.raises(PromptError, match="object 9 is unknown: the known ids are 1"):
        tracker.remove([1, 9])
    with pytest.raises(PromptError, match="object ids 1 are no list: give a list of ids"):
        tracker.remove(1)  # type: ignore[arg-type]
    for other in (True, 1.0, "1", [1]):
        with pytest.raises(PromptError, match="is not a whole number: give 1 to 255"):
            tracker.remove([other])  # type: ignore[list-item]
    assert tracker.object_ids == [1]
    tracker.remove([1])
    assert tracker.step(frame(1)) == []


def test_reset_forgets_all_objects(small_nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(small_nano)
    tracker.step(frame(0), [Prompt(1, box=red_box(0))])
    tracker.reset()
    assert tracker.object_ids == [] and tracker.memory_bytes == 0 and tracker.step(frame(1)) == []


def test_the_image_may_change_its_size_in_mid_stream(nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(nano)
    tracker.step(frame(0), [Prompt(1, mask=filled(red_box(0)))])
    doubled = frame(1).repeat(2, axis=0).repeat(2, axis=1)
    [track] = tracker.step(doubled)
    assert track.mask.shape == (480, 640)
    assert overlap(track.mask, tuple(2 * v for v in red_box(1))) > 0.8


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
        "image",
        None,
    ],
)
def test_what_is_not_an_image_is_refused(small_nano: SAM2, image: object) -> None:
    with pytest.raises(ValueError, match=r"give (uint8 RGB|a numpy array)"):
        Tracker(small_nano).step(image)  # type: ignore[arg-type]


def test_an_object_is_out_of_sight_from_one_threshold_until_another() -> None:
    sight = SightConfig(lost=0.2, found=0.3)
    evidence, before, told = [0.25, 0.19, 0.25, 0.3, 0.25], True, []
    for value in evidence:
        before = sight.holds(value, before)
        told.append(before)
    assert told == [True, False, False, True, True]
    assert SightConfig().holds(0.0, False)
    with pytest.raises(ValueError, match="0 <= lost <= found <= 1"):
        SightConfig(lost=0.3, found=0.2)


def test_out_of_sight_no_mask_is_given_and_a_prompt_brings_the_object_back(
    small_nano: SAM2, frame: Frames
) -> None:
    blind = SAM2(replace(small_nano.config, sight=SightConfig(1.0, 1.0)))
    blind.load_state_dict(small_nano.state_dict())
    tracker, plain = Tracker(make_ready(blind, "cpu")), Tracker(small_nano)
    [begun] = tracker.step(frame(0), [Prompt(1, mask=filled(red_box(0)))])
    plain.step(frame(0), [Prompt(1, mask=filled(red_box(0)))])
    [track], [same_object] = tracker.step(frame(1)), plain.step(frame(1))
    assert begun.visible and same_object.visible and not track.visible
    assert not track.mask.any() and track.box is None and (track.mask_logits == -1024).all()
    assert track.presence == pytest.approx(same_object.presence, abs=1e-4)
    [corrected] = tracker.step(frame(2), [Prompt(1, mask=filled(red_box(2)))])
    assert corrected.visible


def test_memory_settings_that_do_not_fit_the_model_are_refused(small_nano: SAM2) -> None:
    with pytest.raises(ValueError, match=r"memory_frames 6 .* replace\(model.config.memory, policy='fifo'\)"):
        Tracker(small_nano, MemoryConfig(policy="fifo"))
    with pytest.raises(ValueError, match="policy 'lifo' is unknown"):
        Tracker(small_nano, MemoryConfig(memory_frames=3, policy="lifo"))
    for name, value, message in (
        ("prompted_frames", 0, "out of range: give 1 to 64"),
        ("memory_frames", -1, "out of range: give 0 or more"),
        ("memory_frames", 1.5, "not a whole number"),
    ):
        with pytest.raises(ValueError, match=f"{name} {value} is {message}"):
            MemoryConfig(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 256, 1.5])
def test_the_number_of_objects_is_a_whole_one_from_1_to_255(small_nano: SAM2, count: Any) -> None:
    with pytest.raises(ValueError, match=f"max_objects {count} is .* give 1 to 255"):
        Tracker(small_nano, max_objects=count)


@pytest.mark.parametrize(
    ("size", "message"),
    [(64.0, "not a whole number"), (32, "out of range: give 64 to 4096"), (100, "not a multiple of 32")],
)
def test_an_image_size_that_no_model_can_have_is_refused(size: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"image size {size} is {message}"):
        load_model("sam2_nano", image_size=size)
