"""Threads are as many as find free cores: what is decided, what the system tells, and that it is followed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from live_stream import Frames, Stream

from sam2_core import Worker
from sam2_core.model import SAM2
from sam2_core.threads import CoreMeter, CoreUse, ThreadChoice, ThreadChooser

# Seconds of a turn and use of the cores by number of threads, as measured on two cores.
FREE = {1: (0.058, CoreUse(0.1, 0.5)), 2: (0.046, CoreUse(0.4, 0.0))}
BESIDE_A_BUSY_PROGRAM = {1: (0.063, CoreUse(0.5, 0.0)), 2: (0.65, CoreUse(0.9, 0.0))}

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what becomes of its cores")


class Hours:
    """A choice on a machine that has such times, window after window."""

    def __init__(self, most: int = 2) -> None:
        self.choice = ThreadChoice(most)
        self.now = 0.0

    def spend(self, seconds: float, machine: dict[int, tuple[float, CoreUse]]) -> list[int]:
        """Lets the time pass. Returns: the threads of every turn."""
        end, counts = self.now + seconds, []
        while self.now < end:
            count = self.choice.count
            turn, use = machine[count]
            turns = 1 if self.choice.is_hopeless(turn) else int(0.5 / turn) + 1
            self.now += turns * turn
            counts += [count] * turns
            self.choice.judge(turn, use, self.now)
        return counts


def test_free_cores_are_used_but_for_rare_trials() -> None:
    counts = Hours().spend(300, FREE)
    assert counts[0] == 2
    assert counts.count(1) / len(counts) < 0.05


def test_beside_a_busy_program_one_thread_is_left_within_two_turns() -> None:
    counts = Hours().spend(300, BESIDE_A_BUSY_PROGRAM)
    assert counts.count(2) <= 2
    assert counts[-1] == 1


def test_what_other_programs_do_is_followed_after_an_hour_as_at_first() -> None:
    hours = Hours()
    for _ in range(3):
        hours.spend(3600, FREE)
        assert hours.spend(10, BESIDE_A_BUSY_PROGRAM).count(2) <= 20  # a trial may just have begun
        hours.spend(3600, BESIDE_A_BUSY_PROGRAM)
        counts = hours.spend(10, FREE)
        assert counts.index(2) < 20
        assert counts[-1] == 2


def test_a_trial_that_does_harm_is_over_after_one_turn_and_comes_ever_more_rarely() -> None:
    # a program that rests now and then: cores seem free, and two threads are slow all the same
    now_and_then = {1: (0.06, CoreUse(0.3, 0.3)), 2: (0.2, CoreUse(0.8, 0.0))}
    hours = Hours()
    hours.spend(10, now_and_then)
    assert hours.spend(300, now_and_then).count(2) <= 12


def test_a_change_of_the_work_does_not_settle_the_choice() -> None:
    hours = Hours()
    hours.spend(60, FREE)
    slower = {count: (4 * turn, use) for count, (turn, use) in FREE.items()}  # objects have been added
    hours.spend(60, slower)
    hours.spend(60, FREE)
    counts = hours.spend(60, slower)
    assert counts.count(1) / len(counts) < 0.1


def test_of_many_cores_as_many_are_used_as_help() -> None:
    # eight cores, five of them busy: three threads would be best, two are the nearest
    times = {1: (0.08, 3.0), 2: (0.05, 1.0), 4: (0.12, 0.0), 6: (0.3, 0.0)}
    machine = {count: (turn, CoreUse(max(0, count - 3), idle)) for count, (turn, idle) in times.items()}
    hours = Hours(most=6)
    assert hours.choice.count == 6
    hours.spend(60, machine)
    counts = hours.spend(300, machine)
    assert counts.count(2) / len(counts) > 0.9
    assert set(counts) <= {2, 4}


def test_one_core_leaves_no_choice() -> None:
    assert set(Hours(most=1).spend(60, {1: (0.1, CoreUse(0.5, 0.5))})) == {1}


@pytest.fixture
def one_core() -> Iterator[None]:
    """This thread, and those that it starts, may use one core only."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


@linux
@pytest.mark.usefixtures("one_core")
def test_threads_that_share_a_core_wait_for_it() -> None:
    def work() -> None:
        matrix = np.ones((400, 400), np.float32)
        while not ended.is_set():
            np.sin(matrix, out=matrix)  # without the interpreter's lock

    ended = threading.Event()
    busy = [threading.Thread(target=work) for _ in range(3)]
    for thread in busy:
        thread.start()
    meter = CoreMeter()
    ended.wait(0.5)
    use = meter.measure(0.5)
    ended.set()
    for thread in busy:
        thread.join()
    assert use.waited > 1  # of three, one runs
    assert use.idle < 0.5


@linux
def test_no_more_cores_are_idle_than_there_are() -> None:
    meter = CoreMeter()
    threading.Event().wait(0.5)
    assert meter.measure(0.5).idle <= len(os.sched_getaffinity(0)) + 0.1


def test_a_turn_computes_with_the_chosen_threads_and_others_with_theirs() -> None:
    chooser = ThreadChooser(1)
    counts = []

    def turn() -> None:
        with chooser.turn():
            counts.append(torch.get_num_threads())

    before = torch.get_num_threads()
    thread = threading.Thread(target=turn)
    thread.start()
    thread.join()
    assert counts == [1]
    assert torch.get_num_threads() == before


def test_a_turn_that_fails_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError), ThreadChooser(torch.get_num_threads()).turn():
        _ = 1 / 0


def test_a_worker_takes_as_many_threads_as_are_chosen(nano: SAM2, frame: Frames) -> None:
    worker = Worker(ThreadChooser(1))
    stream = Stream(nano, frame, worker=worker)
    seen = []
    stream.live.on_result(lambda result: seen.append(torch.get_num_threads()))
    try:
        stream.show(0)
    finally:
        stream.live.close()
        worker.close()
    assert seen == [1]
