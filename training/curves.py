"""Loss and IoU curves of a run, as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Running mean over the last `window` values."""
    sums = np.cumsum(np.insert(values, 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def draw_curves(log: Path, picture: Path, window: int = 50) -> None:
    """Draw the loss and every IoU in a log.

    Args:
        log: One JSON object per step, as `training.train` writes them.
        picture: PNG file to write.
        window: Steps that are averaged.
    """
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in log.read_text().splitlines()]
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    loss_axes, iou_axes = figure.subplots(1, 2)
    for name in ("loss", "first_box", "first_point", "second", "last"):
        pairs = [(n, e[name]) for n, e in enumerate(entries) if name in e and np.isfinite(e[name])]
        if not pairs:
            continue
        steps, values = np.array(pairs).T
        axes = loss_axes if name == "loss" else iou_axes
        axes.plot(steps, _smooth(values, window), label=name.replace("_", " frame, "), linewidth=1.2)
    loss_axes.set(xlabel="step", ylabel="loss")
    iou_axes.set(xlabel="step", ylabel="IoU in training", ylim=(0, 1))
    for axes in (loss_axes, iou_axes):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(picture, dpi=110)
