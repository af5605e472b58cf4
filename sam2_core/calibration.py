"""Whether a tracker knows how good it is: predicted against true IoU, and presence against the truth."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .evaluation_results import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the tracker said of itself, and what was true.

    Attributes:
        predicted: (N,) predicted IoU, in the frames in which the object is present.
        true: (N,) true IoU there.
        presence_with: (N,) presence in those frames.
        presence_without: (M,) presence in the frames in which the object is not there.
    """

    predicted: NDArray[np.float64]
    true: NDArray[np.float64]
    presence_with: NDArray[np.float64]
    presence_without: NDArray[np.float64]

    @staticmethod
    def of(outcomes: Iterable[Outcome]) -> Calibration:
        """Sorts the outcomes; those without predictions are left out."""
        known = [outcome for outcome in outcomes if not math.isnan(outcome.score)]
        there = [outcome for outcome in known if outcome.present]
        return Calibration(
            np.array([outcome.score for outcome in there], np.float64),
            np.array([outcome.iou for outcome in there], np.float64),
            np.array([outcome.presence for outcome in there], np.float64),
            np.array([outcome.presence for outcome in known if not outcome.present], np.float64),
        )

    def bins(self) -> list[tuple[int, float, float]]:
        """Per bin of predicted IoU: how many, their mean prediction, their mean true IoU (NaN for none)."""
        numbers = np.clip((self.predicted * BINS).astype(int), 0, BINS - 1)
        chosen = [numbers == number for number in range(BINS)]
        return [(int(one.sum()), _mean(self.predicted[one]), _mean(self.true[one])) for one in chosen]

    @property
    def expected_error(self) -> float:
        """Expected calibration error, 0..1: the bins' |mean prediction - mean truth|, weighted by their
        counts (Guo et al., On Calibration of Modern Neural Networks, ICML 2017, eq. 3); NaN without frames.
        """
        total = len(self.predicted)
        if not total:
            return math.nan
        return sum(count * abs(predicted - true) for count, predicted, true in self.bins() if count) / total

    @property
    def mean_absolute_error(self) -> float:
        """Mean |prediction - truth| over the frames, 0..1."""
        return float(np.abs(self.predicted - self.true).mean()) if len(self.predicted) else math.nan

    @property
    def separation(self) -> float:
        """How often presence is higher in a frame with the object than in one without (area under the ROC
        curve), 0..1; NaN where either kind is missing.
        """
        if not len(self.presence_with) or not len(self.presence_without):
            return math.nan
        difference = self.presence_with[:, None] - self.presence_without[None]
        return float((difference > 0).mean() + 0.5 * (difference == 0).mean())

    def figures(self) -> dict[str, float]:
        """The figures by name; IoU and errors in percent, presence as a probability."""
        return {
            "frames with the object": len(self.predicted),
            "frames without": len(self.presence_without),
            "expected calibration error": 100 * self.expected_error,
            "mean absolute error": 100 * self.mean_absolute_error,
            "mean predicted IoU": 100 * _mean(self.predicted),
            "mean true IoU": 100 * _mean(self.true),
            "mean presence with the object": _mean(self.presence_with),
            "mean presence without": _mean(self.presence_without),
            "presence told apart": 100 * self.separation,
        }

    def as_text(self) -> str:
        """Two lines for people."""
        presence = f"presence: mean {_mean(self.presence_with):.2f} with the object; "
        if len(self.presence_without):
            presence += (
                f"{_mean(self.presence_without):.2f} in the {len(self.presence_without)} frames without it, "
                f"told apart {100 * self.separation:.1f}"
            )
        else:
            presence += "no frame is without it"
        return (
            f"predicted IoU: expected calibration error {100 * self.expected_error:.1f}, mean absolute error "
            f"{100 * self.mean_absolute_error:.1f}, mean {100 * _mean(self.predicted):.1f} where "
            f"{100 * _mean(self.true):.1f} is true ({len(self.predicted)} frames with the object)\n{presence}"
        )


PLOTS = (".png", ".svg", ".pdf", ".jpg")
"""How the names of plots may end."""


def plot_calibration(path: Path, groups: Mapping[str, Calibration]) -> None:
    """Draws a column per group: the reliability diagram with its counts, and how presence is spread.

    Args:
        path: of the picture; its ending names the kind, one of `PLOTS`.
        groups: by title.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(groups), 6.6), layout="constrained")
    axes = figure.subplots(3, len(groups), squeeze=False, height_ratios=(4, 1.2, 2))
    for column, (title, calibration) in enumerate(groups.items()):
        _reliability(axes[0, column], title, calibration)
        _counts(axes[1, column], calibration)
        _presence(axes[2, column], calibration)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


def _reliability(axes: Axes, title: str, calibration: Calibration) -> None:
    rows = [row for row in calibration.bins() if row[0]]
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1, label="honest")
    axes.scatter(calibration.predicted, calibration.true, s=5, alpha=0.2, linewidths=0, label="one frame")
    axes.plot(
        [row[1] for row in rows], [row[2] for row in rows], "o-", color="tab:red", label="mean of a bin"
    )
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="predicted IoU (Track.score)", ylabel="true IoU", aspect="equal"
    )
    axes.set_title(
        f"{title}\nexpected error {100 * calibration.expected_error:.1f} %, "
        f"mean absolute {100 * calibration.mean_absolute_error:.1f} %",
        fontsize=8.5,
    )
    axes.legend(loc="upper left", fontsize=8)


def _counts(axes: Axes, calibration: Calibration) -> None:
    counts = [count for count, _, _ in calibration.bins()]
    bars = axes.bar((np.arange(BINS) + 0.5) / BINS, counts, 0.9 / BINS, color="tab:red", alpha=0.6)
    axes.bar_label(bars, fontsize=7)
    axes.set(xlim=(0, 1), ylim=(0, 1.25 * max(*counts, 1)), ylabel="frames", xlabel="predicted IoU")


def _presence(axes: Axes, calibration: Calibration) -> None:
    kinds: Sequence[tuple[str, NDArray[np.float64], str]] = (
        ("with the object", calibration.presence_with, "tab:blue"),
        ("without", calibration.presence_without, "tab:orange"),
    )
    for name, values, colour in kinds:
        share = np.full(len(values), 1 / max(len(values), 1))
        label = f"{name} ({len(values)} frames)"
        axes.hist(values, list(np.linspace(0, 1, 21)), weights=share, alpha=0.6, color=colour, label=label)
    axes.set(xlim=(0, 1), xlabel="presence", ylabel="share of frames")
    axes.legend(loc="upper center", fontsize=8)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else math.nan
