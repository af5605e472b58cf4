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
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .baselines import Baseline
from .configs import MemoryConfig
from .datasets import DatasetError, VideoSequence
from .evaluation_results import Outcome, SequenceResult
from .masks import BoolMask, composite, mask_to_box
from .metrics import ObjectScores, region_similarity
from .model import SAM2
from .motion import box_iou
from .prompts import Prompt
from .tracker import Track, Tracker

PROMPTS = ("mask", "box", "point")


def evaluate_sequence(
    model: SAM2,
    sequence: VideoSequence,
    prompt: str = "mask",
    save_to: Path | None = None,
    progress: Callable[[], object] = lambda: None,
    memory: MemoryConfig | None = None,
    baseline: Baseline | None = None,
) -> SequenceResult:
    """Tracks one sequence's objects online and scores them.

    Args:
        model: from `load_model`.
        sequence: see `find_sequences`.
        prompt: what is shown of an object: its `mask`, that mask's `box`, or one `point`, see `make_prompt`.
        save_to: folder for the predicted masks, in the layout of the annotations; None: they are not kept.
        progress: called after every frame.
        memory: what to remember; None: the model's own settings.
        baseline: follows the same objects from their true boxes, frame by frame in turn with ours.

    Raises:
        DatasetError: a frame can't be read, or an annotation has another size.
    """
    tracker = Tracker(model, memory)
    scoring = _Scoring(sequence)
    seconds = 0.0
    for path in sequence.frames:
        image = read_frame(path)
        annotation = sequence.masks(path.stem)
        whose = f"{sequence.name}: the annotation of {path.name}"
        _check_sizes(whose, annotation, image.shape[:2], "the frame")
        new = scoring.new_objects(annotation)
        prompts = [make_prompt(i, annotation[i], prompt) for i in new]
        begin = time.perf_counter()
        tracks = tracker.step(image, prompts)
        seconds += time.perf_counter() - begin
        boxes = None
        if baseline is not None:
            boxes = baseline.step(image, {i: _box(annotation[i]) for i in new})
        prediction = _masks(tracks, image.shape[:2], sequence.per_object)
        scoring.add(path.stem, prediction, annotation, tracks, boxes)
        if save_to is not None:
            sequence.save(save_to, path.stem, prediction, image.shape[:2])
        progress()
    return scoring.result(len(sequence.frames), seconds, math.nan if baseline is None else baseline.seconds)


def score_sequence(
    sequence: VideoSequence, folder: Path, progress: Callable[[], object] = lambda: None
) -> SequenceResult:
    """Scores one sequence's masks as something else predicted them; nothing is tracked.

    Args:
        sequence: see `find_sequences`.
        folder: with a mask for every annotated frame, in the layout of the annotations.
        progress: called after every frame.

    Raises:
        DatasetError: a mask is missing, can't be read, or has another size than the annotation.
    """
    scoring = _Scoring(sequence)
    annotated = set(sequence.annotated)
    for path in sequence.frames:
        annotation = sequence.masks(path.stem)
        if path.stem in annotated:
            scoring.new_objects(annotation)
            prediction = sequence.saved_masks(folder, path.stem)
            for mask in annotation.values():
                _check_sizes(f"{folder}: the mask of {path.name}", prediction, mask.shape, "the annotation")
            scoring.add(path.stem, prediction, annotation)
        progress()
    return scoring.result(len(sequence.frames), math.nan)


class _Scoring:
    """Compares predictions with annotations, frame by frame."""

    def __init__(self, sequence: VideoSequence) -> None:
        self.sequence = sequence
        self.scores = ObjectScores()
        self.outcomes: list[Outcome] = []
        self.shown: set[int] = set()
        self.new: set[int] = set()

    def new_objects(self, annotation: dict[int, BoolMask]) -> list[int]:
        """The objects that this frame is the first to show."""
        self.new = {i for i, mask in annotation.items() if i not in self.shown and mask.any()}
        self.shown |= self.new
        return sorted(self.new)

    def add(
        self,
        frame: str,
        prediction: dict[int, BoolMask],
        annotation: dict[int, BoolMask],
        tracks: Sequence[Track] = (),
        boxes: dict[int, NDArray[np.int64] | None] | None = None,
    ) -> None:
        counted = self.sequence.scored(frame)
        self.scores.add(prediction, annotation, counted)
        said = {track.object_id: track for track in tracks}
        for i in sorted((self.shown - self.new) if counted is None else (self.shown - self.new) & counted):
            some = prediction.get(i, annotation.get(i))
            nothing = np.zeros((1, 1) if some is None else some.shape, bool)
            mask, truth = prediction.get(i, nothing), annotation.get(i, nothing)
            outcome = Outcome(frame, i, bool(truth.any()), region_similarity(mask, truth))
            if i in said:
                outcome = replace(outcome, score=said[i].score, presence=said[i].presence)
            if outcome.present:
                outcome = replace(outcome, box_iou=_overlap(mask_to_box(mask), truth))
                if boxes is not None:
                    outcome = replace(outcome, baseline_iou=_overlap(boxes.get(i), truth))
            self.outcomes.append(outcome)

    def result(self, frames: int, seconds: float, baseline_seconds: float = math.nan) -> SequenceResult:
        objects = self.scores.result()
        names = {i: self.sequence.object_name(i) for i in objects}
        outcomes = tuple(self.outcomes)
        return SequenceResult(self.sequence.name, objects, frames, seconds, outcomes, names, baseline_seconds)


def _box(mask: BoolMask) -> NDArray[np.int64]:
    box = mask_to_box(mask)
    assert box is not None, "an object begins where its mask is not empty"
    return box


def _overlap(box: NDArray[np.int64] | None, truth: BoolMask) -> float:
    return 0.0 if box is None else box_iou(box, _box(truth))


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


def _check_sizes(whose: str, masks: dict[int, BoolMask], shape: tuple[int, ...], other: str) -> None:
    for mask in masks.values():
        if mask.shape != shape:
            size, expected = (f"{width} x {height}" for height, width in (mask.shape, shape))
            raise DatasetError(f"{whose} has {size} pixels, {other} {expected}")


def _masks(tracks: list[Track], shape: tuple[int, int], overlapping: bool) -> dict[int, BoolMask]:
    """Predicted masks by object id; where one PNG holds all objects, each pixel goes to one of them."""
    if overlapping or len(tracks) < 2:
        return {track.object_id: track.mask for track in tracks}
    ids = composite(tracks, shape)
    return {track.object_id: ids == track.object_id for track in tracks}
