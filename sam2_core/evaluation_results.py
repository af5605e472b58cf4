"""What an evaluation finds out: frame by frame, per object, per sequence, in all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .metrics import Score


@dataclass(frozen=True)
class Outcome:
    """One object in one frame that counts, after the one in which it was shown: what was said, what is true.

    Attributes:
        frame: its name.
        object_id: of the object.
        present: whether the annotation shows it.
        iou: of mask and annotation, J.
        score: the IoU that the tracker predicted; NaN where masks come from elsewhere, as is `presence`.
        presence: the probability that it gave to the object's being there.
        box_iou: of the mask's box and the annotation's; NaN where the object is not present.
        baseline_iou: of the baseline's box and the annotation's; NaN where there is none.
    """

    frame: str
    object_id: int
    present: bool
    iou: float
    score: float = math.nan
    presence: float = math.nan
    box_iou: float = math.nan
    baseline_iou: float = math.nan


@dataclass(frozen=True)
class SequenceResult:
    """How one sequence went.

    Attributes:
        name: of the sequence.
        objects: score by object id; empty where no annotated frame counts.
        frames: how many were tracked.
        seconds: time spent in `Tracker.step` for them; reading, writing and scoring not included.
        outcomes: frame by frame.
        object_names: what the dataset calls the objects, by id.
        baseline_seconds: time that the baseline took; NaN where there was none.
    """

    name: str
    objects: dict[int, Score]
    frames: int
    seconds: float
    outcomes: tuple[Outcome, ...] = ()
    object_names: dict[int, str] = field(default_factory=dict)
    baseline_seconds: float = math.nan

    @property
    def score(self) -> Score:
        """The mean over the sequence's objects."""
        return Score.mean(list(self.objects.values()))

    @property
    def fps(self) -> float:
        """Frames per second of tracking; NaN where nothing was tracked."""
        return self.frames / self.seconds if self.seconds > 0 else math.nan

    @property
    def baseline_fps(self) -> float:
        """Frames per second of the baseline."""
        return self.frames / self.baseline_seconds if self.baseline_seconds > 0 else math.nan


@dataclass(frozen=True)
class Summary:
    """Scores over all objects of all sequences, and frames per second over all frames."""

    score: Score
    fps: float
    baseline_fps: float = math.nan

    @staticmethod
    def of(results: Sequence[SequenceResult]) -> Summary:
        frames = sum(result.frames for result in results)
        seconds = sum(result.seconds for result in results)
        baseline_seconds = sum(result.baseline_seconds for result in results)
        return Summary(
            Score.mean([score for result in results for score in result.objects.values()]),
            frames / seconds if seconds > 0 else math.nan,
            frames / baseline_seconds if baseline_seconds > 0 else math.nan,
        )


def box_overlap(outcomes: Iterable[Outcome], baseline: bool = False) -> float:
    """Mean IoU of boxes over the frames in which the object is present, ours or the baseline's, 0..1."""
    values = [o.baseline_iou if baseline else o.box_iou for o in outcomes if o.present]
    return float(np.mean(values)) if values else math.nan
