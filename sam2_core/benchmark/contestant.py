"""A tracker under the stopwatch: full memory, the same images as the others, image by image in turn."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..model import SAM2
from ..prompts import Prompt
from ..tracker import Tracker
from .memory_use import MemoryUse

ENCODER, ATTENTION, DECODER, MEMORY = "image encoder", "memory attention", "mask decoder", "memory encoder"
STAGES = (ENCODER, ATTENTION, DECODER, MEMORY)
"""The stages of a step; the rest of it is resizing and bookkeeping."""

FIRST_MEASURED = 17
"""Number of the first image that is measured: all slots of a memory and all object pointers are full."""


Clock = Callable[[], float]


class Contestant(Protocol):
    """Tracks the same objects through the same images, one image a step."""

    name: str
    device: torch.device

    def prepare(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[float]]) -> None:
        """Start one object per box in the first image and fill the memory, ready for `FIRST_MEASURED`."""

    def step(self, index: int) -> None:
        """Track everything into image number `index`."""

    def stages(self) -> list[tuple[Any, str, str]]:
        """Owner, name of the method, and stage that it is."""


@dataclass(frozen=True)
class Timing:
    """Medians over the measured images.

    Attributes:
        name: of the contestant.
        objects: how many were tracked.
        step: milliseconds of a step.
        stages: milliseconds by stage.
        memory: bytes that the steps needed at most, what is held for the objects included; None: not known.
        trunk: milliseconds of a bare forward pass of the trunk; None where it was not asked for.
    """

    name: str
    objects: int
    step: float
    stages: dict[str, float]
    memory: int | None
    trunk: float | None = None

    @property
    def other(self) -> float:
        """Milliseconds outside of all stages."""
        return max(self.step - sum(self.stages.values()), 0.0)


class Ours:
    """`Tracker`, step by step.

    Args:
        model: from `load_model`.
    """

    name = "sam2_core"

    def __init__(self, model: SAM2) -> None:
        self.model = model
        self.device = model.device

    def prepare(self, images: Sequence[NDArray[np.uint8]], boxes: Sequence[Sequence[float]]) -> None:
        self.images = images
        # the other policies leave out what does not seem worth keeping: a full memory is what is timed
        self.tracker = Tracker(self.model, replace(self.model.config.memory, policy="fifo"))
        self.tracker.step(images[0], [Prompt(number, box=box) for number, box in enumerate(boxes, 1)])
        self.tracker.step(images[1])
        # what the second image left stands for what the images up to the first measured one would have left
        for object_id, state in self.tracker.snapshot().items():
            entry = next(entry for entry in state.bank.entries if not entry.prompted)
            bank = state.bank
            for index in range(2, FIRST_MEASURED):
                features = None if entry.features is None else entry.features.clone()
                bank = bank.with_entry(replace(entry, index=index, features=features))
            self.tracker.restore(object_id, replace(state, bank=bank, index=FIRST_MEASURED - 1))

    def step(self, index: int) -> None:
        features = self.tracker.encode(self.images[index])
        self.tracker.advance(features, self.tracker.object_ids, index=index)

    def stages(self) -> list[tuple[Any, str, str]]:
        return [
            (self.model, "encode_image", ENCODER),
            (self.model, "condition_on_memory", ATTENTION),
            (self.model, "decode", DECODER),
            (self.model, "encode_memory", MEMORY),
        ]

    def trunk(self) -> nn.Module:
        """The part of the image encoder that a step is compared with."""
        return self.model.image_encoder.trunk


def measure(
    contestants: Sequence[Contestant],
    objects: int,
    frames: int,
    shape: tuple[int, int],
    trunk: tuple[nn.Module, int] | None = None,
    clock: Clock = time.perf_counter,
) -> list[Timing]:
    """Let the contestants track side by side: each image goes to one after the other.

    Args:
        contestants: who is measured.
        objects: how many objects to track.
        frames: how many images to measure.
        shape: (H, W) of the images.
        trunk: a trunk of the first contestant's model and the side of its input: timed once per image, too.
        clock: seconds; `time.thread_time` with one thread tells the processor's time.

    Returns: a timing per contestant.
    """
    images, boxes = images_and_boxes(objects, shape, frames)
    watches = [_Stopwatch(contestant, clock) for contestant in contestants]
    for watch in watches:
        with watch.memory:
            watch.contestant.prepare(images, boxes)
            watch.contestant.step(FIRST_MEASURED)
    bare = []
    for index in range(FIRST_MEASURED + 1, len(images)):
        for watch in watches:
            watch.step(index)
        if trunk is not None:
            bare.append(watches[0].time_trunk(*trunk))
    trunk_times = [1000 * float(np.median(bare)) if bare else None] + [None] * len(watches)
    return [watch.timing(objects, each) for watch, each in zip(watches, trunk_times, strict=False)]


@dataclass
class _Stopwatch:
    """The times of one contestant."""

    contestant: Contestant
    clock: Clock
    totals: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        self.memory = MemoryUse(self.contestant.device)

    def step(self, index: int) -> None:
        spent = dict.fromkeys(STAGES, 0.0)

        def timed(method: Callable[..., Any], stage: str) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                begin = self.now()
                result = method(*arguments, **options)
                spent[stage] += self.now() - begin
                return result

            return call

        with self.memory, replaced_methods(self.contestant.stages(), timed):
            begin = self.now()
            self.contestant.step(index)
            self.totals.append(self.now() - begin)
        for name, seconds in spent.items():
            self.stages[name].append(seconds)

    def now(self) -> float:
        """Seconds, once the device has done all that it was given."""
        if self.contestant.device.type == "cuda":
            torch.cuda.synchronize(self.contestant.device)
        return self.clock()

    @torch.inference_mode()
    def time_trunk(self, trunk: nn.Module, size: int) -> float:
        """Seconds of a bare forward pass."""
        weight = next(trunk.parameters())
        image = torch.zeros(1, 3, size, size, device=weight.device, dtype=weight.dtype)
        begin = self.now()
        trunk(image)
        return self.now() - begin

    def timing(self, objects: int, trunk: float | None) -> Timing:
        stages = {name: 1000 * float(np.median(seconds)) for name, seconds in self.stages.items()}
        total = 1000 * float(np.median(self.totals))
        return Timing(self.contestant.name, objects, total, stages, self.memory.peak, trunk)


@contextmanager
def replaced_methods(
    stages: list[tuple[Any, str, str]], wrap: Callable[[Callable[..., Any], str], Callable[..., Any]]
) -> Iterator[None]:
    """While entered, the stages' methods are those that `wrap` makes of them and of the stage's name."""
    for owner, method, stage in stages:
        setattr(owner, method, wrap(getattr(owner, method), stage))
    try:
        yield
    finally:
        for owner, method, _stage in stages:
            delattr(owner, method)  # the class's own method shows again


def images_and_boxes(
    objects: int, shape: tuple[int, int], frames: int
) -> tuple[list[NDArray[np.uint8]], list[list[float]]]:
    """Images up to the first measured one and `frames` more, and boxes in the first."""
    return list(drifting_pattern(FIRST_MEASURED + 1 + frames, shape)), list(grid_of_boxes(objects, shape))


def drifting_pattern(count: int, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """A smooth random pattern that drifts by a pixel per image."""
    height, width = shape
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    pattern = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for index in range(count):
        yield np.ascontiguousarray(np.roll(pattern, index, axis=1))


def grid_of_boxes(count: int, shape: tuple[int, int]) -> Iterator[list[float]]:
    """Boxes side by side in a square grid."""
    height, width = shape
    side = int(np.ceil(np.sqrt(count)))
    for index in range(count):
        row, column = divmod(index, side)
        x, y, w, h = column * width / side, row * height / side, width / side, height / side
        yield [x + 0.2 * w, y + 0.2 * h, x + 0.8 * w, y + 0.8 * h]
