"""Measure weights on held-out clips: `python -m training.validate WEIGHTS --data PREPARED`.

The clips show photos that training never draws. Checkpoints are chosen by these figures, so that no benchmark
has a hand in the choice.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import cv2
import numpy as np
import torch

from training.batches import BatchSettings, make_batch
from training.clips import ClipMaker, ClipSettings
from training.photos import PhotoStore
from training.recipe import OWN_SIZE
from training.rollout import encode_clips, roll_out
from training.state import Weights, build_model, read_weights


@torch.no_grad()
def validate(
    weights: Weights, data: Path, batches: int, size: int = OWN_SIZE, frames: int = 8
) -> dict[str, dict[str, float]]:
    """Mean figures per prompt kind over fixed held-out clips.

    Args:
        weights: Of sam2_nano.
        data: Prepared photos.
        batches: Batches of two clips per prompt kind.
        size: Side of the model's input, pixels.
        frames: Clip length.

    Returns: For every kind the mean IoU in the first frame and over the later ones where the object is
        visible, and how often presence is told rightly in frames with and without it (balanced accuracy).
    """
    model = build_model(size, weights).eval()
    maker = ClipMaker(PhotoStore(data, "validation"), ClipSettings(frames, size))
    settings = BatchSettings(clips=2, frames=frames, size=size)
    figures = {}
    for kind in ("mask", "box", "point"):
        first: list[float] = []
        later: list[float] = []
        told: dict[bool, list[bool]] = {True: [], False: []}
        for number in range(batches):
            batch = make_batch(maker, settings, 100_000 + number, kind)
            for t, output in enumerate(roll_out(model, batch, encode_clips(model, batch.images))):
                logits = torch.nn.functional.interpolate(output.logits, size=(size, size), mode="bicubic")
                shown, true = logits[:, 0] > 0, batch.masks[:, t]
                visible = true.flatten(1).any(1)
                iou = (shown & true).flatten(1).sum(1) / (shown | true).flatten(1).sum(1).clamp(min=1)
                (later if t else first).extend(iou[visible].tolist())
                for there, says in zip(
                    visible.tolist(), (output.presence_logit[:, 0] > 0).tolist(), strict=True
                ):
                    told[there].append(says == there)
        rates = [float(np.mean(told[there])) if told[there] else float("nan") for there in (True, False)]
        figures[kind] = {
            "first": round(100 * float(np.mean(first)), 2),
            "later": round(100 * float(np.mean(later)), 2),
            "presence": round(100 * float(np.nanmean(rates)), 1),
        }
    return figures


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    data = os.environ.get("SAM2_TRAINING_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--size", type=int, default=OWN_SIZE)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    figures = validate(read_weights(arguments.weights), arguments.data, arguments.batches, arguments.size)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
