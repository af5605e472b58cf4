"""Bytes stay within what the settings say, and come back to the same, for any pattern of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from queue import Queue

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scene import filled, red_box

from sam2_core import LiveTracker, MemoryConfig, Prompt, Tracker
from sam2_core.configs import MODELS
from sam2_core.memory import most_bytes
from sam2_core.memory_policies import POLICIES
from sam2_core.model import SAM2

Frames = Callable[[int], NDArray[np.uint8]]
PERIOD = 50_000_000  # ns between the images' stamps
PATIENCE = 60.0  # s, only so that a hanging test ends


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    """For so small a model a second thread only waits."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny() -> SAM2:
    """sam2_nano's parts for very small images: what is kept does not depend on weights or size."""
    return SAM2(replace(MODELS["sam2_nano"], image_size=64)).requires_grad_(False).eval()


def some_prompt(rng: np.random.Generator, object_id: int) -> Prompt:
    """Any kind of prompt, a restart now and then."""
    restart = bool(rng.random() < 0.2)
    kind = rng.integers(3)
    if kind == 0:
        return Prompt(object_id, mask=filled(red_box(int(rng.integers(8)))), restart=restart)
    if kind == 1:
        return Prompt(object_id, box=red_box(int(rng.integers(8))), restart=restart)
    return Prompt(object_id, points=[rng.uniform(0, 200, 2)], restart=restart)


def pattern(rng: np.random.Generator, tracker: Tracker, images: int) -> Iterator[list[Prompt]]:
    """Prompts for so many images; objects are removed in between, sometimes all of them."""
    for _ in range(images):
        known = tracker.object_ids
        if known and rng.random() < 0.1:
            tracker.remove(rng.choice(known, rng.integers(1, len(known) + 1), replace=False).tolist())
        asked = rng.choice(np.arange(1, 5), rng.integers(0, 3), replace=False)
        yield [some_prompt(rng, int(i)) for i in asked] if rng.random() < 0.4 else []


@pytest.mark.parametrize("policy", list(POLICIES))
def test_no_object_ever_holds_more_than_its_settings_allow(tiny: SAM2, frame: Frames, policy: str) -> None:
    rng = np.random.default_rng(list(POLICIES).index(policy))
    memory = MemoryConfig(int(rng.integers(1, 5)), int(rng.integers(0, 4)), int(rng.integers(0, 7)), policy)
    tracker = Tracker(tiny, memory)
    for index, prompts in enumerate(pattern(rng, tracker, 80)):
        tracker.step(frame(index % 8), prompts)
        states = tracker.snapshot().values()
        assert all(state.nbytes <= most_bytes(tiny.config, memory) for state in states)
        assert tracker.memory_bytes <= sum(state.nbytes for state in states)
    tracker.reset()
    assert tracker.memory_bytes == 0


def test_once_it_is_full_an_object_holds_the_same_whatever_happened_before(tiny: SAM2, frame: Frames) -> None:
    held = set()
    for images in (5, 60):
        rng = np.random.default_rng(0)
        tracker = Tracker(tiny, replace(tiny.config.memory, policy="fifo"))  # others keep what seems worth it
        for index, prompts in enumerate(pattern(rng, tracker, images)):
            tracker.step(frame(index % 8), prompts)
        for index in range(4):  # as many corrections as prompted images are kept
            tracker.step(frame(index), [Prompt(1, box=red_box(index))])
        for index in range(6):  # and more images than are remembered
            tracker.step(frame(index))
        held.add(tracker.snapshot()[1].nbytes)
    [full] = held
    pointers = tiny.config.channels * 4
    assert most_bytes(tiny.config, tiny.config.memory) - 4 * pointers - 1000 < full


def test_the_bound_of_the_official_models_is_what_their_memory_comes_to() -> None:
    # of 64 x 64 places with 64 numbers, 8 + 6 images; 8 + 6 + 15 pointers; logits of 256 x 256
    expected = 4 * (14 * 64 * 64 * 64 + 29 * 256 + 256 * 256)
    config = MODELS["sam2.1_hiera_tiny"]
    assert expected <= most_bytes(config, config.memory) < expected + 1000


def test_a_live_stream_comes_back_to_the_same_bytes_when_the_same_is_asked_again(
    tiny: SAM2, frame: Frames
) -> None:
    live, stamps = LiveTracker(Tracker(tiny), history_seconds=1.0), Queue[int]()
    live.on_result(lambda result: stamps.put(result.stamp))
    held: list[list[int]] = []
    images = 25
    for cycle in range(4):  # the first has no past to reach back to
        rng = np.random.default_rng(7)
        held.append([])
        for index in range(images):
            stamp = (cycle * images + index + 1) * PERIOD
            live.submit(frame(index % 8), stamp)
            while stamps.get(timeout=PATIENCE) != stamp:
                pass  # a prompt gives the image before once more
            age = int(rng.integers(0, 15))  # late prompts reach back into the cycle before, too
            if rng.random() < 0.3 and stamp > 20 * PERIOD:
                object_id = int(rng.integers(1, 4))
                live.prompt(some_prompt(rng, object_id), stamp - age * PERIOD).result(PATIENCE)
            if index == 15:
                live.remove().result(PATIENCE)
            held[-1].append(live.statistics().memory_bytes)
    live.close()
    assert held[2] == held[3]
