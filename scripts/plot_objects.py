"""Draws milliseconds per image against the number of objects, from what `sam2 benchmark --json` wrote.

Usage: plot_objects.py FIGURES.json... PICTURE.png
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

*figures, picture = map(Path, sys.argv[1:])
lines: dict[tuple[str, int, str], dict[int, float]] = defaultdict(dict)
for path in figures:
    for row in json.loads(path.read_text())["rows"]:
        timing = row["timing"]
        lines[row["model"], row["input"], timing["name"]][timing["objects"]] = timing["step"]

figure, axes = plt.subplots(1, len({key[:2] for key in lines}), figsize=(9, 3.6), layout="constrained")
for ax, (model, size) in zip(figure.axes, dict.fromkeys(key[:2] for key in lines), strict=True):
    for (named, side, runner), points in lines.items():
        if (named, side) == (model, size):
            counts = sorted(points)
            ours = runner == "sam2_core"
            ax.plot(
                counts,
                [points[n] for n in counts],
                "o-" if ours else "s--",
                label="ours" if ours else "original",
            )
    ax.set(title=f"{model}, input {size}", xlabel="objects", ylabel="ms per image", ylim=(0, None))
    ax.set_xticks([1, 2, 4, 8, 16])
    ax.grid(alpha=0.3)
    ax.legend()
figure.savefig(picture, dpi=110)
