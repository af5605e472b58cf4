"""Choose when an object counts as out of sight: `python -m training.sight WEIGHTS --data PREPARED`.

Held-out clips, in each of which an object goes away, are tracked as they are online. The two thresholds of
`SightConfig` are then tried on what the tracker said, all pairs on the same clips. The pair to take is the
one with the highest mean IoU (an image without the object counts 1 where no mask is given, else 0) among
those that hide at most one in a hundred masks that were right.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from sam2_core import Tracker
from sam2_core.configs import SightConfig
from sam2_core.evaluation import make_prompt
from sam2_core.model import SAM2
from training.clips import ClipMaker, ClipSettings
from training.photos import PhotoStore
from training.recipe import OWN_SIZE
from training.state import build_model, read_weights

FRAMES = 16
FIRST_SEED = 700_000

RIGHT = 0.3
"""From this IoU on a mask was right enough to be missed."""

MOST_HIDDEN = 0.01
LOST, FOUND = np.arange(0, 0.55, 0.05), (0.0, 0.05, 0.1, 0.2)
"""Thresholds tried: `lost`, and by how much `found` lies above it."""


@dataclass(frozen=True)
class Seen:
    """What a tracker said of one object in one frame.

    Attributes:
        clip: its number.
        there: the object is to be seen.
        iou: of the mask.
        score: predicted IoU.
        presence: chance that the object is to be seen.
    """

    clip: int
    there: bool
    iou: float
    score: float
    presence: float = 1.0


@dataclass(frozen=True)
class Trial:
    """How one pair of thresholds did.

    Attributes:
        sight: the thresholds.
        shown: share of the frames without the object that had a mask.
        hidden: share of the right masks that were hidden.
        iou: mean over all frames.
    """

    sight: SightConfig
    shown: float
    hidden: float
    iou: float


def never_out_of_sight(model: SAM2) -> SAM2:
    """The same model without thresholds: what is to be fitted to what it says must not depend on them."""
    model.config = replace(model.config, sight=SightConfig())
    return model


def watch(
    tracker: Tracker, frames: Sequence[np.ndarray], masks: Sequence[np.ndarray], kind: str, clip: int = 0
) -> list[Seen]:
    """Tracks an object that is shown in the first frame, which is left out of what comes back.

    Args:
        tracker: follows nothing else afterwards.
        frames: uint8 RGB (H, W, 3) each.
        masks: bool (H, W) each: where the object is.
        kind: prompt, see `sam2_core.evaluation.make_prompt`.
        clip: number, for what comes back.
    """
    tracker.reset()
    seen = []
    for t, (frame, truth) in enumerate(zip(frames, masks, strict=True)):
        [track] = tracker.step(frame, [make_prompt(1, truth, kind)] if t == 0 else [])
        union = np.count_nonzero(track.mask | truth)
        iou = np.count_nonzero(track.mask & truth) / union if union else 1.0
        if t:
            seen.append(Seen(clip, bool(truth.any()), iou, track.score, track.presence))
    return seen


def watch_clip(tracker: Tracker, maker: ClipMaker, number: int) -> list[Seen]:
    """Tracks the first object of a made clip, from its mask or its box."""
    clip = maker.make(FIRST_SEED + number)
    kind = ("mask", "box")[number % 2]
    return watch(tracker, list(clip.frames), list(clip.labels == clip.objects[0]), kind, number)


def attempt(sight: SightConfig, frames: list[Seen]) -> Trial:
    """Applies thresholds to what was seen; frames are in order, clip after clip."""
    shown, hidden, ious = [], [], []
    for _, clip in groupby(frames, key=lambda frame: frame.clip):
        in_sight = True
        for frame in clip:
            in_sight = sight.holds(frame.score * frame.presence, in_sight)
            if not frame.there:
                shown.append(in_sight)
                ious.append(float(not in_sight))
            else:
                ious.append(frame.iou * in_sight)
                if frame.iou >= RIGHT:
                    hidden.append(not in_sight)
    return Trial(sight, *(float(np.mean(values)) for values in (shown, hidden, ious)))


def best(trials: list[Trial]) -> Trial:
    """The pair to take, see the module's docstring."""
    return max((trial for trial in trials if trial.hidden <= MOST_HIDDEN), key=lambda trial: trial.iou)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    data = os.environ.get("SAM2_TRAINING_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--size", type=int, default=OWN_SIZE)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = never_out_of_sight(build_model(arguments.size, read_weights(arguments.weights)).eval())
    maker = ClipMaker(
        PhotoStore(arguments.data, "validation"), ClipSettings(FRAMES, arguments.size, absence=1.0)
    )
    tracker = Tracker(model)
    frames = [seen for number in range(arguments.clips) for seen in watch_clip(tracker, maker, number)]
    trials = [attempt(SightConfig(lost, lost + more), frames) for lost in LOST for more in FOUND]
    print("lost  found  masks while away  right masks hidden  mean IoU")
    for trial in trials:
        sight = trial.sight
        print(
            f"{sight.lost:4.2f}  {sight.found:5.2f}  {100 * trial.shown:16.1f}  {100 * trial.hidden:18.1f}  "
            f"{100 * trial.iou:8.1f}"
        )
    sight = best(trials).sight
    print(f"SightConfig(lost={sight.lost:.2f}, found={sight.found:.2f})")


if __name__ == "__main__":
    main()
