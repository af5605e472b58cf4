"""What `confident` and `distractor` keep and show; `fifo` is in test_memory.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scene import red_box

from sam2_core import MemoryConfig, Prompt, Tracker
from sam2_core.judgement import STEADY_IMAGES, judge, prefer_expected, rivalry
from sam2_core.memory import MemoryBank
from sam2_core.memory_entry import MemoryEntry
from sam2_core.memory_policies import POLICIES
from sam2_core.model import SAM2, MaskOutput
from sam2_core.motion import BoxMotion, box_iou

Frames = Callable[[int], NDArray[np.uint8]]


def entry(index: int, prompted: bool = False, **what: float) -> MemoryEntry:
    said = {"quality": 0.9, "presence": 0.9, "area": 100, **what}
    return MemoryEntry(index, prompted, torch.zeros(8), torch.zeros(4, 2), None, **said)


def bank_of(policy: str, entries: list[MemoryEntry], **config: int) -> MemoryBank:
    bank = MemoryBank(MemoryConfig(policy=policy, **config))
    for one in entries:
        bank = bank.with_entry(one)
    return bank


def seen(bank: MemoryBank, index: int, reverse: bool = False) -> list[tuple[int, int]]:
    return sorted((slot, e.index) for slot, e in bank.select(index, reverse).spatial)


def test_confident_passes_over_images_that_it_does_not_trust() -> None:
    entries = [entry(i, i == 0) for i in range(8)]
    entries[4] = entry(4, quality=0.4)
    entries[5] = entry(5, presence=0.3)
    entries[6] = entry(6, motion=0.0)
    bank = bank_of("confident", entries, memory_frames=3)
    assert seen(bank, 8) == [(0, 0), (1, 7), (2, 3), (3, 2)]
    # pointers go by distance, whatever is trusted
    assert sorted(d for d, _ in bank.select(8).pointers) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_confident_keeps_the_last_good_images_through_a_long_absence() -> None:
    entries = [entry(i, i == 0, quality=0.9 if i < 10 else 0.1) for i in range(500)]
    bank = bank_of("confident", entries, memory_frames=3)
    assert seen(bank, 500) == [(0, 0), (1, 9), (2, 8), (3, 7)]
    fifo = bank_of("fifo", entries, memory_frames=3)
    assert seen(fifo, 500) == [(0, 0), (1, 499), (2, 498), (3, 497)]


def test_distractor_keeps_the_newest_image_and_others_at_a_distance() -> None:
    bank = bank_of("distractor", [entry(i, i == 0) for i in range(20)], memory_frames=3)
    assert seen(bank, 20) == [(0, 0), (1, 19), (2, 16), (3, 11)]


def test_distractor_does_not_keep_images_without_the_object() -> None:
    entries = [entry(i, i == 0, area=100 if i < 7 else 0) for i in range(12)]
    bank = bank_of("distractor", entries, memory_frames=3)
    assert seen(bank, 12) == [(0, 0), (1, 6), (2, 1)]


@pytest.mark.parametrize(
    ("what", "anchored"),
    [
        ({"rivalry": 0.5}, True),
        ({"rivalry": 0.8}, False),
        ({"rivalry": 0.5, "quality": 0.7}, False),
        ({"rivalry": 0.5, "area": 130}, False),
    ],
)
def test_an_image_becomes_an_anchor_if_its_mask_is_reliable_and_a_rival_was_told_apart(
    what: dict[str, float], anchored: bool
) -> None:
    entries = [entry(i, i == 0) for i in range(40)]
    entries[10] = entry(10, **what)
    bank = bank_of("distractor", entries)
    assert ((0, 10) in seen(bank, 40)) == anchored


def test_anchors_take_at_most_half_of_the_memory_and_keep_their_distance() -> None:
    entries = [entry(i, i == 0, rivalry=0.3) for i in range(100)]
    bank = bank_of("distractor", entries, memory_frames=6)
    anchors = [e.index for e in bank.entries if e.anchor]
    assert len(anchors) == 3
    assert min(np.diff(anchors)) > POLICIES["distractor"].spacing
    assert len([e for e in bank.entries if e.features is not None and not e.prompted]) <= 6


@pytest.mark.parametrize("policy", list(POLICIES))
def test_a_stream_that_runs_backwards_sees_what_comes_after(policy: str) -> None:
    bank = bank_of(policy, [entry(i, i == 10) for i in (10, 9, 8)])
    assert seen(bank, 7, reverse=True)[:2] == [(0, 10), (1, 8)]


@pytest.mark.parametrize("policy", ["confident", "distractor"])
def test_entries_are_bounded_whatever_comes(policy: str) -> None:
    rng = np.random.default_rng(0)
    config = {"prompted_frames": 3, "memory_frames": 6, "object_pointers": 5}
    bank = MemoryBank(MemoryConfig(policy=policy, **config))
    for index in range(2000):
        said = {"quality": rng.random(), "rivalry": rng.random(), "area": int(rng.integers(0, 3)) * 50}
        bank = bank.with_entry(entry(index, rng.random() < 0.05, **said))
        spatial = [e for e in bank.entries if e.features is not None]
        assert len(spatial) <= 3 + 6
        assert len(bank.entries) <= 3 + 6 + 5
        slots = [slot for slot, _ in bank.select(index + 1).spatial if slot]
        assert slots == list(range(1, len(slots) + 1))


@pytest.mark.parametrize("policy", ["confident", "distractor"])
def test_a_tracker_follows_with_every_policy_and_its_memory_stays_flat(
    small_nano: SAM2, frame: Frames, policy: str
) -> None:
    config = small_nano.config.memory
    tracker = Tracker(
        small_nano,
        MemoryConfig(config.prompted_frames, config.memory_frames, config.object_pointers, policy),
    )
    held = []
    for index in range(80):
        [track] = tracker.step(frame(index % 8), [Prompt(1, box=red_box(0))] if index == 0 else [])
        held.append(tracker.memory_bytes)
    assert track.visible
    assert max(held[40:]) <= max(held[:40])


def test_the_filter_follows_a_box_that_moves_evenly() -> None:
    box = np.array([10.0, 20.0, 30.0, 60.0])
    motion, step = BoxMotion.of(box), np.array([2, 1, 2, 1])
    for _ in range(30):
        box = box + step
        motion = motion.predicted().corrected(box)
    assert motion.steady == 31
    assert np.allclose(motion.predicted().box, box + step, atol=0.2)


def test_box_iou_is_exact() -> None:
    assert box_iou(np.array([0, 0, 4, 4]), np.array([2, 0, 6, 4])) == pytest.approx(8 / 24)
    assert box_iou(np.array([0, 0, 4, 4]), np.array([4, 4, 8, 8])) == 0


def output_of(masks: list[tuple[int, int]], quality: list[float]) -> MaskOutput:
    """One object with 8 x 8 candidates at these corners, of 32 x 32 logits."""
    logits = torch.full((1, len(masks), 32, 32), -5.0)
    for number, (x, y) in enumerate(masks):
        logits[0, number, y : y + 8, x : x + 8] = 5.0
    scores = torch.tensor([quality])
    best = scores.argmax(1)
    return MaskOutput(
        logits[:, best],
        scores[:, best[0]],
        torch.zeros(1, 128),
        torch.ones(1, 1),
        logits,
        scores,
        torch.arange(len(masks) * 128).float().view(1, -1, 128) / 1000,
    )


def test_where_the_object_was_headed_counts_among_the_candidates(small_nano: SAM2) -> None:
    confident = POLICIES["confident"]
    output = output_of([(20, 20), (2, 2)], [0.8, 0.75])
    track = BoxMotion.of(np.array([2, 2, 10, 10]))
    assert prefer_expected(small_nano, output, track, confident) is output  # not steady yet
    for _ in range(STEADY_IMAGES):
        track = track.predicted().corrected(np.array([2, 2, 10, 10]))
    chosen = prefer_expected(small_nano, output, track, confident)
    assert torch.equal(chosen.logits[0, 0], output.candidates[0, 1])
    assert float(chosen.quality) == pytest.approx(0.75)
    assert not torch.equal(chosen.pointer, output.pointer)
    assert prefer_expected(small_nano, output, track, POLICIES["fifo"]) is output
    assert judge(chosen, track, confident, prompted=False).motion == pytest.approx(1.0, abs=0.05)
    assert judge(output, track, confident, prompted=False).motion == 0.0


def test_a_rival_is_the_largest_piece_that_a_candidate_holds_beyond_the_mask() -> None:
    mask = np.zeros((32, 32), bool)
    mask[0:8, 0:8] = True
    other = mask.copy()
    assert rivalry(mask, other[None]) == 1.0
    other[0:8, 24:32] = True
    other[31, 31] = True  # a smaller piece: not counted
    assert rivalry(mask, np.stack([mask, other])) == pytest.approx(8 / 32)
    assert rivalry(np.zeros_like(mask), other[None]) == 1.0
