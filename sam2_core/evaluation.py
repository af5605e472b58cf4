"""Evaluation on annotated videos: each object is shown once, then tracked online; J, F and J&F tell how well.

The protocol is that of DAVIS's semi-supervised task (Perazzi et al., CVPR 2016; Pont-Tuset et al., arXiv
1704.00675): an object is prompted in its first annotated frame, every later frame is predicted in order, an
object's score is the mean over the annotated frames without the first and the last, the total is the mean
over all objects.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .configs import MemoryConfig
from .datasets import DatasetError, VideoSequence
from .masks import BoolMask, composite, mask_to_box
from .metrics import ObjectScores, Score
from .model import SAM2
from .prompts import Prompt
from .tracker import Track, Tracker

PROMPTS = ("mask", "box", "point")


@dataclass(frozen=True)
class SequenceResult:
    """How one sequence went.

    Attributes:
        name: of the sequence.
        objects: score by object id; empty where no annotated frame counts.
        frames: how many were tracked.
        seconds: time spent in `Tracker.step` for them; reading, writing and scoring not included.
    """

    name: str
    objects: dict[int, Score]
    frames: int
    seconds: float

    @property
    def score(self) -> Score:
        """The mean over the sequence's objects."""
        return Score.mean(list(self.objects.values()))

    @property
    def fps(self) -> float:
        """Frames per second of tracking."""
        return self.frames / self.seconds if self.seconds > 0 else math.nan


@dataclass(frozen=True)
class Summary:
    """Scores over all objects of all sequences, and frames per second over all frames."""

    score: Score
    fps: float

    @staticmethod
    def of(results: Sequence[SequenceResult]) -> Summary:
        seconds = sum(result.seconds for result in results)
        return Summary(
            Score.mean([score for result in results for score in result.objects.values()]),
            sum(result.frames for result in results) / seconds if seconds > 0 else math.nan,
        )


def evaluate_sequence(
    model: SAM2,
    sequence: VideoSequence,
    prompt: str = "mask",
    save_to: Path | None = None,
    progress: Callable[[], object] = lambda: None,
    memory: MemoryConfig | None = None,
) -> SequenceResult:
    """Tracks one sequence's objects online and scores them.

    Args:
        model: from `load_model`.
        sequence: see `find_sequences`.
        prompt: what is shown of an object: its `mask`, that mask's `box`, or one `point`, see `make_prompt`.
        save_to: folder for the predicted masks, in the layout of the annotations; None: they are not kept.
        progress: called after every frame.
        memory: what to remember; None: the model's own settings.

    Raises:
        DatasetError: a frame can't be read, or an annotation has another size.
    """
    tracker = Tracker(model, memory)
    scores = ObjectScores()
    prompted: set[int] = set()
    seconds = 0.0
    for path in sequence.frames:
        image = read_frame(path)
        annotation = sequence.masks(path.stem)
        _check_sizes(sequence, path, annotation, image.shape[:2])
        new = [i for i, mask in annotation.items() if i not in prompted and mask.any()]
        prompts = [make_prompt(i, annotation[i], prompt) for i in new]
        prompted.update(new)
        begin = time.perf_counter()
        tracks = tracker.step(image, prompts)
        seconds += time.perf_counter() - begin
        prediction = _masks(tracks, image.shape[:2], sequence.per_object)
        scores.add(prediction, annotation, sequence.scored(path.stem))
        if save_to is not None:
            sequence.save(save_to, path.stem, prediction, image.shape[:2])
        progress()
    return SequenceResult(sequence.name, scores.result(), len(sequence.frames), seconds)


def make_prompt(object_id: int, mask: BoolMask, kind: str) -> Prompt:
    """What is shown of an object whose mask (H, W) is known.

    Args:
        object_id: 1 to 255.
        mask: not empty.
        kind: `mask`, `box`, or `point`: one click on the pixel farthest from the mask's border.
    """
    if kind == "mask":
        return Prompt(object_id, mask=mask)
    if kind == "box":
        return Prompt(object_id, box=mask_to_box(mask))
    if kind == "point":
        return Prompt(object_id, points=[innermost_pixel(mask)])
    raise ValueError(f"prompt {kind!r} is unknown: give one of {', '.join(PROMPTS)}")


def innermost_pixel(mask: BoolMask) -> tuple[float, float]:
    """The mask's pixel (x, y) farthest from its border, the image's edge being border, too."""
    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), mask.shape)
    return float(x), float(y)


def read_frame(path: Path) -> NDArray[np.uint8]:
    """Reads a picture as uint8 RGB (H, W, 3).

    Raises:
        DatasetError: it can't be read.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise DatasetError(f"{path}: not a readable picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def _check_sizes(
    sequence: VideoSequence, path: Path, annotation: dict[int, BoolMask], shape: tuple[int, ...]
) -> None:
    for mask in annotation.values():
        if mask.shape != shape:
            raise DatasetError(
                f"{sequence.name}: the annotation of {path.name} has {mask.shape[1]} x {mask.shape[0]} "
                f"pixels, the frame {shape[1]} x {shape[0]}"
            )


def _masks(tracks: list[Track], shape: tuple[int, int], overlapping: bool) -> dict[int, BoolMask]:
    """Predicted masks by object id; where one PNG holds all objects, each pixel goes to one of them."""
    if overlapping or len(tracks) < 2:
        return {track.object_id: track.mask for track in tracks}
    ids = composite(tracks, shape)
    return {track.object_id: ids == track.object_id for track in tracks}
