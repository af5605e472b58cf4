"""Make the predicted IoU honest: `python -m training.calibrate WEIGHTS OUTPUT --data PREPARED`.

On what it was trained with a model is better than elsewhere, and so is what it says of itself. Here the
held-out labelled videos are tracked online, each from its mask, its box and one click. The logit of the
predicted IoU is then scaled and shifted (Platt, Probabilistic outputs for support vector machines, 1999) so
that it fits the true one best. Both numbers go into the last layer of the head that predicts it: nothing else
changes, no mask either.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from sam2_core import Tracker
from sam2_core.evaluation import PROMPTS
from training.photos import PhotoStore
from training.recipe import OWN_SIZE
from training.sight import Seen, never_out_of_sight, watch
from training.state import Weights, build_model, read_weights, write_weights

HEAD = "sam_mask_decoder.iou_prediction_head.layers.2"
PULL = 0.01
"""Weight of (scale - 1)^2: few videos must not turn the scale upside down."""


def watch_videos(weights: Weights, store: PhotoStore, size: int) -> list[Seen]:
    """Tracks the object of every labelled video of a split from end to end, once per kind of prompt."""
    tracker = Tracker(never_out_of_sight(build_model(size, weights).requires_grad_(False).eval()))
    seen = []
    for clip, video in enumerate(store.labelled_videos):
        numbers = range(video.start, video.end)
        frames = [store.frame(n) for n in numbers]
        masks = [store.frame_labels(n) > 0 for n in numbers]
        for kind in PROMPTS:
            seen += watch(tracker, frames, masks, kind, clip)
    return seen


def fit(seen: list[Seen]) -> tuple[float, float]:
    """Scale and shift of the logit that minimise the cross-entropy against the true IoU.

    Args:
        seen: frames without the object are left out.

    Raises:
        ValueError: there is no frame with the object.
    """
    there = [one for one in seen if one.there]
    if not there:
        raise ValueError("no held-out frame shows an object: prepare labelled videos, see training/README.md")
    logits = torch.logit(torch.tensor([one.score for one in there], dtype=torch.float64), eps=1e-4)
    true = torch.tensor([one.iou for one in there], dtype=torch.float64)
    affine = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([affine], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        entropy = F.binary_cross_entropy_with_logits(affine[0] * logits + affine[1], true)
        total = entropy + PULL * (affine[0] - 1) ** 2
        total.backward()
        return total

    optimiser.step(loss)
    scale, shift = affine.tolist()
    return scale, shift


def calibrated(weights: Weights, scale: float, shift: float) -> Weights:
    """Weights whose predicted IoU is sigmoid(scale * logit + shift) of what it was."""
    return {
        **weights,
        f"{HEAD}.weight": scale * weights[f"{HEAD}.weight"],
        f"{HEAD}.bias": scale * weights[f"{HEAD}.bias"] + shift,
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path, help="receives the weights in half precision")
    data = os.environ.get("SAM2_TRAINING_DATA")
    parser.add_argument("--data", type=Path, default=data, required=not data)
    parser.add_argument("--size", type=int, default=OWN_SIZE)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    weights = read_weights(arguments.weights)
    seen = watch_videos(weights, PhotoStore(arguments.data, "validation"), arguments.size)
    scale, shift = fit(seen)
    there = [one for one in seen if one.there]
    says, true = (np.array(values) for values in ([o.score for o in there], [o.iou for o in there]))
    after = 1 / (1 + np.exp(-(scale * np.log(says / (1 - says)) + shift)))
    print(f"scale {scale:.3f}, shift {shift:.3f}; mean true IoU {true.mean():.3f}")
    print(f"mean predicted IoU {says.mean():.3f} -> {after.mean():.3f}")
    print(f"mean error {np.abs(says - true).mean():.3f} -> {np.abs(after - true).mean():.3f}")
    write_weights(calibrated(weights, scale, shift), arguments.output)


if __name__ == "__main__":
    main()
