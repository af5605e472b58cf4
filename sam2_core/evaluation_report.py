"""An evaluation's results for people, as a table, and for programs, as JSON; all in percent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from .calibration import Calibration
from .evaluation_results import Outcome, SequenceResult, Summary, box_overlap
from .metrics import Score


def scores_as_dict(
    results: Sequence[SequenceResult], baseline: str | None = None, calibration: Calibration | None = None
) -> dict[str, Any]:
    """The scores, ready for JSON; None where nothing counts.

    Args:
        results: of all sequences.
        baseline: what ran beside the tracker; adds the IoU of boxes and the baseline's row.
        calibration: adds its figures.
    """
    summary = Summary.of(results)
    sequences = {}
    for result in results:
        row = sequences[result.name] = _row(result.score, result.fps)
        if len(result.objects) > 1:
            row["objects"] = {result.object_names[i]: _row(score) for i, score in result.objects.items()}
        if baseline:
            row |= _boxes(baseline, result.outcomes, result.baseline_fps)
    overall = _row(summary.score, summary.fps)
    if baseline:
        overall |= _boxes(baseline, _all(results), summary.baseline_fps)
    report = {"sequences": sequences, "overall": overall}
    if calibration:
        report["calibration"] = {name: _plain(value) for name, value in calibration.figures().items()}
    return report


def _row(score: Score, fps: float | None = None) -> dict[str, Any]:
    row = {"J&F": 100 * score.jf, "J": 100 * score.j, "F": 100 * score.f}
    if fps is not None:
        row["fps"] = fps
    return {name: _plain(value) for name, value in row.items()}


def _boxes(baseline: str, outcomes: Iterable[Outcome], fps: float) -> dict[str, Any]:
    found = list(outcomes)
    theirs = {"box": _plain(100 * box_overlap(found, baseline=True)), "fps": _plain(fps)}
    return {"box": _plain(100 * box_overlap(found)), baseline: theirs}


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


def _all(results: Iterable[SequenceResult]) -> Iterable[Outcome]:
    return (outcome for result in results for outcome in result.outcomes)


def scores_as_table(results: Sequence[SequenceResult], baseline: str | None = None) -> str:
    """A line per sequence, below it one per object where there are several; the totals in the last line.

    Args:
        results: of all sequences.
        baseline: what ran beside the tracker; adds columns for the IoU of boxes and its frames per second.
    """
    width = max(len("sequence"), *(len(result.name) for result in results))
    header = f"{'sequence':{width}}  {'J&F':>5}  {'J':>5}  {'F':>5}  {'frames/s':>8}"
    if baseline:
        header += f"  {'box IoU':>8}  {baseline:>8}  {'frames/s':>8}"
    lines = [header]
    for result in results:
        line = f"{result.name:{width}}  {_columns(result.score)}  {_number(result.fps):>8}"
        if baseline:
            line += _box_columns(result.outcomes, result.baseline_fps)
        lines.append(line)
        if len(result.objects) > 1:
            lines += [
                f"{f'  object {result.object_names[i]}':{width}}  {_columns(score)}"
                for i, score in result.objects.items()
            ]
    summary = Summary.of(results)
    score = summary.score
    if baseline:
        lines.append(
            f"{'overall':{width}}  {_columns(score)}  {_number(summary.fps):>8}"
            + _box_columns(_all(results), summary.baseline_fps)
        )
    lines.append("")
    lines.append(
        f"J&F {100 * score.jf:.1f}  J {100 * score.j:.1f}  F {100 * score.f:.1f}  "
        f"frames/s {_number(summary.fps)}"
    )
    return "\n".join(lines)


def _columns(score: Score) -> str:
    return f"{100 * score.jf:5.1f}  {100 * score.j:5.1f}  {100 * score.f:5.1f}"


def _box_columns(outcomes: Iterable[Outcome], fps: float) -> str:
    found = list(outcomes)
    ours, theirs = 100 * box_overlap(found), 100 * box_overlap(found, baseline=True)
    return f"  {ours:8.1f}  {theirs:8.1f}  {_number(fps):>8}"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
