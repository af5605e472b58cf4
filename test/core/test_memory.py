"""The memory is bounded, whatever happens, and an image sees of it what SAM 2's rule says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scene import red_box

from sam2_core import MemoryConfig, Prompt, Tracker
from sam2_core.memory import MemoryBank
from sam2_core.memory_entry import MemoryEntry
from sam2_core.memory_policies import POLICIES
from sam2_core.model import SAM2

Frames = Callable[[int], NDArray[np.uint8]]


def entry(index: int, prompted: bool = False) -> MemoryEntry:
    return MemoryEntry(index, prompted, torch.zeros(8), torch.zeros(4, 2), None, 1.0, 1.0)


def bank_of(prompted: set[int], images: int, config: MemoryConfig | None = None) -> MemoryBank:
    bank = MemoryBank(config or MemoryConfig())
    for index in range(images):
        bank = bank.with_entry(entry(index, index in prompted))
    return bank


def test_slots_go_by_distance_and_a_prompted_image_leaves_its_own_empty() -> None:
    spatial, pointers = bank_of({0, 17}, 20).select(20)
    assert sorted((slot, e.index) for slot, e in spatial) == [
        (0, 0),
        (0, 17),
        (1, 19),
        (2, 18),
        (4, 16),
        (5, 15),
        (6, 14),
    ]
    unprompted = sorted(distance for distance, e in pointers if not e.prompted)
    assert unprompted == [1, 2, *range(4, 16)]
    assert sorted(distance for distance, e in pointers if e.prompted) == [3, 20]


def test_when_prompted_images_are_full_the_first_stays_and_the_oldest_of_the_rest_goes() -> None:
    bank = bank_of(set(range(5)), 5, MemoryConfig(prompted_frames=3))
    assert [e.index for e in bank.entries] == [0, 3, 4]


def test_old_entries_keep_their_pointer_alone_and_then_go() -> None:
    bank = bank_of({0}, 100)
    assert [e.index for e in bank.entries if e.features is not None] == [0, *range(94, 100)]
    assert min(e.index for e in bank.entries if not e.prompted) == 85


def test_for_a_finished_clip_nothing_is_forgotten_and_an_image_sees_what_it_sees_in_a_stream() -> None:
    clip = bank_of({0, 17}, 100, MemoryConfig(policy="everything"))
    assert [entry.index for entry in clip.entries] == list(range(100))
    stream = bank_of({0, 17}, 20)
    for seen, expected in zip(clip.select(20), stream.select(20), strict=True):
        assert sorted((n, e.index) for n, e in seen) == sorted((n, e.index) for n, e in expected)
    assert clip.with_entry(entry(50, prompted=True)).entries[-1].index == 50
    assert "everything" not in POLICIES, "a stream would fill the memory"


def test_a_stream_does_not_keep_everything(small_nano: SAM2) -> None:
    with pytest.raises(ValueError, match="'everything' is unknown here: choose from fifo,"):
        Tracker(small_nano, replace(small_nano.config.memory, policy="everything"))


def test_a_stream_that_runs_backwards_sees_what_comes_after() -> None:
    bank = MemoryBank(MemoryConfig())
    for index in (10, 9, 8):
        bank = bank.with_entry(entry(index, index == 10))
    spatial, pointers = bank.select(7, reverse=True)
    assert sorted((slot, e.index) for slot, e in spatial) == [(0, 10), (1, 8), (2, 9)]
    assert sorted(distance for distance, _ in pointers) == [1, 2, 3]


def test_a_snapshot_stays_what_it_was(small_nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(small_nano)
    tracker.step(frame(0), [Prompt(1, box=red_box(0))])
    [first] = tracker.step(frame(1))
    snapshot = tracker.snapshot()[1]
    [expected] = tracker.step(frame(2))
    for index in range(3, 8):
        tracker.step(frame(index), [Prompt(1, points=[[40, 90]])])
    tracker.restore(1, snapshot)
    [again] = tracker.advance(tracker.encode(frame(2)), [1], index=2)
    assert np.array_equal(again.mask_logits, expected.mask_logits)
    assert not np.array_equal(first.mask_logits, again.mask_logits)


@pytest.mark.parametrize("prompt_every", [0, 10])
def test_memory_is_the_same_after_50_and_after_500_images(
    small_nano: SAM2, frame: Frames, prompt_every: int
) -> None:
    tracker, bytes_at = Tracker(small_nano), {}
    for index in range(501):
        prompts = [Prompt(1, box=red_box(0)), Prompt(2, points=[[240, 40]])] if index == 0 else []
        if prompt_every and index and index % prompt_every == 0:
            prompts = [Prompt(1, points=[[60, 90]]), Prompt(3, box=red_box(0), restart=True)]
        tracker.step(frame(index % 8), prompts)
        if index == 25:
            tracker.remove([2])
        bytes_at[index] = tracker.memory_bytes
    assert bytes_at[50] == bytes_at[500] > 0


def test_removing_an_object_gives_its_memory_back(small_nano: SAM2, frame: Frames) -> None:
    tracker = Tracker(small_nano)
    prompts = [Prompt(i, box=red_box(0)) for i in range(1, 5)]
    for index in range(8):
        tracker.step(frame(index), prompts if index == 0 else [])
    full = tracker.memory_bytes
    tracker.remove([2, 3, 4])
    assert tracker.memory_bytes < full / 2
