"""How many threads compute: as many as there are cores for, chosen anew while the work goes on.

A model on a CPU splits every operation among threads that then wait for one another. Where each has a core of
its own, two are half again as fast as one; where another program has one of those cores, all wait for the
thread that it holds up, and two can be ten times as slow as one. What other programs do changes while a robot
runs. So their load tells when another number is worth a trial, and the time of a turn tells which is better.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

WINDOW_SECONDS = 0.5
"""Turns are judged together that take at least so many seconds."""

WAITED, IDLE = 0.1, 0.2
"""Fewer threads are tried where more of them than this wait for a core, more where more cores than this have
nothing to do.
"""

GAIN = 0.9
"""What is tried stays where turns take at most this part of the time."""

HOPELESS = 2.0
"""A trial ends early where a turn takes so many times as long."""

CHANGED = 1.5
"""When turns have become longer by this factor, what was no better before is tried again at once."""

FIRST_PAUSE, LONGEST_PAUSE = 4.0, 30.0
"""Seconds until what was no better is tried again: doubled every time, up to the longest."""


class CoreUse(NamedTuple):
    """What became of the cores while this process was at work; 1.0 is one core all the time.

    Attributes:
        waited: how many of its threads stood ready to run and had no core, or one that the hypervisor took.
        idle: how many cores had nothing to do.
    """

    waited: float
    idle: float


class CoreMeter:
    """Asks Linux what became of the cores that this process may use.

    Raises:
        OSError: the system does not tell.
    """

    def __init__(self) -> None:
        self._last = _Counts.now()

    def measure(self, work_seconds: float) -> CoreUse:
        """The use of cores since the last call.

        Args:
            work_seconds: for how long the process was at work; meanwhile, and only then, it used cores.
        """
        last, self._last = self._last, _Counts.now()
        passed = self._last.clock - last.clock
        own = self._last.own - last.own
        # threads that have ended took their count with them
        both = self._last.waited.keys() & last.waited.keys()
        waited = sum(self._last.waited[thread] - last.waited[thread] for thread in both)
        waited += self._last.stolen - last.stolen
        # what others leave, all the time, less what this process uses of it while it works
        left = (self._last.idle - last.idle + own) / passed
        return CoreUse(waited / work_seconds, left - own / work_seconds)


@dataclass(frozen=True)
class _Counts:
    """Seconds since some beginning.

    Attributes:
        clock: by the clock.
        own: the process has been on cores.
        waited: each of its threads has waited for a core.
        idle: its cores have had nothing to do, summed over them.
        stolen: its cores were not there, because other virtual machines had them, summed likewise.
    """

    clock: float
    own: float
    waited: dict[str, float]
    idle: float
    stolen: float

    @classmethod
    def now(cls) -> _Counts:
        waited = {}
        for thread in Path("/proc/self/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                # nanoseconds on a core, and waiting for one (Linux, Documentation/scheduler/sched-stats.rst)
                waited[thread.name] = int((thread / "schedstat").read_text().split()[1]) * 1e-9
        cores = {f"cpu{core}" for core in os.sched_getaffinity(0)}
        rows = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
        ticks = [[int(entry) for entry in row[1:]] for row in rows if row[0] in cores]
        second = os.sysconf("SC_CLK_TCK")
        return cls(
            time.perf_counter(),
            time.process_time(),
            waited,
            sum(row[3] + row[4] for row in ticks) / second,  # idle, and idle while a disk works: proc_stat(5)
            sum(row[7] for row in ticks) / second,
        )


@dataclass
class _Pause:
    """How long something is not tried again."""

    until: float = 0.0
    seconds: float = FIRST_PAUSE

    def extend(self, now: float) -> None:
        self.until = now + self.seconds
        self.seconds = min(2 * self.seconds, LONGEST_PAUSE)


class ThreadChoice:
    """Decides from what was measured. It knows no clock and sets nothing.

    Args:
        most: the most threads, and the first choice; the others are the powers of two below.
    """

    def __init__(self, most: int) -> None:
        self._counts = [*(2**n for n in range(most.bit_length()) if 2**n < most), most]
        self._chosen = len(self._counts) - 1
        self._tried: int | None = None
        self._usual = 0.0  # seconds of a turn before the trial
        self._lost = float("inf")  # the same before the last trial that was lost
        self._fewer, self._more = _Pause(), _Pause()

    @property
    def count(self) -> int:
        """How many threads are to compute now."""
        return self._counts[self._chosen if self._tried is None else self._tried]

    def is_hopeless(self, seconds: float) -> bool:
        """Whether `count` is on trial, and a turn of so many seconds is enough to decide against it."""
        return self._tried is not None and seconds > HOPELESS * self._usual

    def judge(self, seconds: float, use: CoreUse, now: float) -> None:
        """Take note of what was measured with `count` threads.

        Args:
            seconds: mean time of a turn.
            use: of the cores, meanwhile.
            now: the time in seconds.
        """
        if self._tried is not None:
            self._end_trial(seconds, now)
        elif use.waited > WAITED and self._chosen > 0:
            if now >= self._fewer.until or seconds > CHANGED * self._lost:
                self._tried, self._usual = self._chosen - 1, seconds
        elif use.idle > IDLE and self._chosen + 1 < len(self._counts) and now >= self._more.until:
            self._tried, self._usual = self._chosen + 1, seconds

    def _end_trial(self, seconds: float, now: float) -> None:
        assert self._tried is not None
        if seconds < GAIN * self._usual:
            self._chosen = self._tried
            self._fewer, self._more = _Pause(), _Pause()
        else:
            (self._fewer if self._tried < self._chosen else self._more).extend(now)
            self._lost = self._usual
        self._tried = None


class ThreadChooser:
    """Sets with how many threads the calling thread computes; always the same thread.

    Args:
        most: the most threads. Where the system doesn't tell what becomes of its cores, it is always so many.
    """

    def __init__(self, most: int) -> None:
        self._choice = ThreadChoice(most)
        self._prepared: set[int] = set()
        self._turns: list[float] = []
        self._worked = 0.0  # seconds, since the meter was last read
        self._meter: CoreMeter | None = None
        with suppress(OSError, AttributeError):  # only Linux tells
            self._meter = CoreMeter()

    @property
    def count(self) -> int:
        """How many threads compute now."""
        return self._choice.count

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Around what is to be computed with as many threads as are best, some milliseconds to seconds."""
        if torch.get_num_threads() != self.count:
            torch.set_num_threads(self.count)
        begin = time.perf_counter()
        yield
        if self._meter is not None:
            self._note(time.perf_counter() - begin, self._meter)

    def _note(self, seconds: float, meter: CoreMeter) -> None:
        self._worked += seconds
        if self.count not in self._prepared:  # oneDNN makes its products ready for so many threads
            self._prepared.add(self.count)
            return
        self._turns.append(seconds)
        total = sum(self._turns)
        if total >= WINDOW_SECONDS or self._choice.is_hopeless(seconds):
            use = meter.measure(self._worked)
            self._choice.judge(total / len(self._turns), use, time.perf_counter())
            self._turns.clear()
            self._worked = 0.0
