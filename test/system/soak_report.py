"""What a soak run noted, its first tenth against its last, and how that is shown."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from soak_script import CYCLE

RSS_TOLERANCE = 0.05
"""Resident memory of the last tenth against the first, medians, as a share: the allocator keeps and returns
pages as it likes. Threads and open files must be equal, without tolerance."""

MEMORY_TOLERANCE = 0.05
"""`memory (bytes)` of the last tenth against the first, medians, as a share. The largest is reported only:
which of the images in the history were processed and which passed over depends on the machine's mood, so that
it differs by a tenth and more from one tenth of the run to the next. Its bound has a test of its own."""

LATENCY_TOLERANCE = 0.10
"""95th percentile of the latency, last tenth against the first, as a share."""


@dataclass(frozen=True)
class Sample:
    """The node at one moment, from /diagnostics and /proc.

    Attributes:
        seconds: since the start.
        beat: of the camera, counted from the end of the warm-up.
        rss, memory_bytes: bytes resident, and held for objects and history.
        threads, open_files: of the process.
        objects: known to the tracker.
        processed, dropped: images, since activation.
        latency_p50, latency_p95: stamp to publication over the node's window, milliseconds.
    """

    seconds: float
    beat: int
    rss: int
    threads: int
    open_files: int
    memory_bytes: int
    objects: int
    processed: int
    dropped: int
    latency_p50: float
    latency_p95: float


@dataclass
class Record:
    """All that is noted during a run.

    Attributes:
        latencies: for each image that came back: its beat, and milliseconds from its publication until its
            mask arrived here.
        answers: how often each kind of request was accepted or refused.
        reasons: of the refusals, their numbers taken out.
        published: images, warm-up included.
        faults: what must not happen.
    """

    samples: list[Sample] = field(default_factory=list)
    latencies: list[tuple[int, float]] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    published: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """A figure of the first tenth and of the last.

    Attributes:
        name: of the figure, with its unit.
        first, last: its values.
        tolerance: how much larger the last may be, as a share; None: reported, not judged.
    """

    name: str
    first: float
    last: float
    tolerance: float | None

    @property
    def holds(self) -> bool:
        return self.tolerance is None or self.last <= self.first * (1 + self.tolerance)


def compare(record: Record, cycles: int, judge_all: bool) -> list[Comparison]:
    """The first tenth of the run, in whole cycles, against the last.

    Args:
        record: of the run.
        cycles: how many were played after the warm-up.
        judge_all: False: latency and memory bytes are reported only.
    """
    tenth = max(cycles // 10, 1) * CYCLE
    end = cycles * CYCLE
    early, late = (
        [s for s in record.samples if begin <= s.beat < begin + tenth] for begin in (0, end - tenth)
    )
    fast, slow = (
        [ms for beat, ms in record.latencies if begin <= beat < begin + tenth] for begin in (0, end - tenth)
    )
    memory_tolerance, latency_tolerance = (MEMORY_TOLERANCE, LATENCY_TOLERANCE) if judge_all else (None, None)

    def medians(name: str) -> list[float]:
        return [float(np.median([getattr(s, name) for s in part])) for part in (early, late)]

    rss = [value / 2**20 for value in medians("rss")]
    memory = [value / 2**20 for value in medians("memory_bytes")]
    largest = [max(s.memory_bytes for s in part) / 2**20 for part in (early, late)]
    return [
        Comparison("resident memory, median (MiB)", rss[0], rss[1], RSS_TOLERANCE),
        Comparison("memory bytes, median (MiB)", memory[0], memory[1], memory_tolerance),
        Comparison("memory bytes, largest (MiB)", largest[0], largest[1], None),
        Comparison("threads", *medians("threads"), 0.0),
        Comparison("open files", *medians("open_files"), 0.0),
        Comparison("latency p50 (ms)", *(float(np.median(part)) for part in (fast, slow)), None),
        Comparison(
            "latency p95 (ms)", *(float(np.percentile(part, 95)) for part in (fast, slow)), latency_tolerance
        ),
    ]


def plot(record: Record, path: Path) -> None:
    """Draws the samples over the beats."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    samples = [s for s in record.samples if s.beat >= 0]
    beats = [s.beat for s in samples]
    rows: tuple[tuple[str, dict[str, list[float]]], ...] = (
        ("MiB", {"resident memory": [s.rss / 2**20 for s in samples]}),
        ("MiB", {"held for objects and history": [s.memory_bytes / 2**20 for s in samples]}),
        (
            "ms",
            {
                "latency p95": [s.latency_p95 for s in samples],
                "latency p50": [s.latency_p50 for s in samples],
            },
        ),
        (
            "number",
            {
                "open files": [s.open_files for s in samples],
                "threads": [s.threads for s in samples],
                "objects": [s.objects for s in samples],
            },
        ),
    )
    figure, axes = pyplot.subplots(len(rows), 1, sharex=True, figsize=(9, 8), layout="constrained")
    for axis, (unit, curves) in zip(axes, rows, strict=True):
        for name, values in curves.items():
            axis.plot(beats, values, label=name, linewidth=1)
        axis.set_ylabel(unit)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        axis.legend(loc="lower right", fontsize=8)
    axes[-1].set_xlabel("images since the warm-up")
    figure.savefig(path, dpi=100)


def summarise(report: dict[str, Any], comparisons: list[Comparison]) -> None:
    """Prints the figures."""
    print(
        f"{report['frames']} images after {report['warm_up']} to warm up, {report['seconds']} s: "
        f"{report['published']} published, {report['processed']} processed, {report['dropped']} passed over"
    )
    for name, count in report["answers"].items():
        print(f"  {name:28} {count}")
    for reason, count in report["refusals"].items():
        print(f"  {count:5} refused: {reason}")
    print(f"{'':32} first tenth  last tenth   change  allowed")
    for c in comparisons:
        allowed = "" if c.tolerance is None else f"{100 * c.tolerance:+.0f} %"
        verdict = "" if c.holds else "  FAILED"
        change = 100 * (c.last / c.first - 1)
        print(f"{c.name:32} {c.first:11.1f} {c.last:11.1f} {change:+7.1f} % {allowed:>7}{verdict}")
    for fault in report["faults"]:
        print(f"fault: {fault}")
    print("no faults" if not report["faults"] else f"{len(report['faults'])} faults")
