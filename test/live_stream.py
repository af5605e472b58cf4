"""A live tracker in a test, whose images can be handed over one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sam2_core import LiveResult, LiveTracker, Prompt, Track, Tracker
from sam2_core.model import SAM2
from sam2_core.tracker import ImageFeatures

Frames = Callable[[int], NDArray[np.uint8]]
PERIOD = 100_000_000  # ns between the images' stamps
PATIENCE = 60.0  # s, only so that a hanging test ends


class GatedTracker(Tracker):
    """A tracker that begins with an image only when its gate is open."""

    def __init__(self, model: SAM2, max_objects: int) -> None:
        super().__init__(model, max_objects=max_objects)
        self.begun, self.gate = threading.Event(), threading.Event()
        self.gate.set()

    def encode(self, image: NDArray[np.uint8]) -> ImageFeatures:
        self.begun.set()
        assert self.gate.wait(PATIENCE)
        return super().encode(image)


class Stream:
    """A live tracker whose images can be handed over one by one."""

    def __init__(self, model: SAM2, frame: Frames, max_objects: int = 16, **options: object) -> None:
        self.tracker = GatedTracker(model, max_objects)
        self.live = LiveTracker(self.tracker, **options)  # type: ignore[arg-type]
        self.frame = frame
        self.results: list[LiveResult] = []
        self._arrived = threading.Condition()
        self.live.on_result(self._keep)

    def _keep(self, result: LiveResult) -> None:
        with self._arrived:
            self.results.append(result)
            self._arrived.notify_all()

    def show(self, index: int, image: NDArray[np.uint8] | None = None) -> LiveResult:
        """Hand over frame `index`, or another image in its place, and wait for its result."""
        known, stamp = len(self.results), (index + 1) * PERIOD
        self.live.submit(self.frame(index) if image is None else image, stamp)
        with self._arrived:
            assert self._arrived.wait_for(
                lambda: any(result.stamp == stamp for result in self.results[known:]), PATIENCE
            )
        return self.results[-1]

    def hold_up(self, *indices: int) -> None:
        """Hand over frames, the others while the first is held up until `tracker.gate.set()`."""
        self.tracker.begun.clear()
        self.tracker.gate.clear()
        for index in indices:
            self.live.submit(self.frame(index), (index + 1) * PERIOD)
            assert self.tracker.begun.wait(PATIENCE)

    def ask(self, prompt: Prompt, index: int | None = None) -> Track:
        stamp = None if index is None else (index + 1) * PERIOD
        return self.live.prompt(prompt, stamp).result(PATIENCE)
