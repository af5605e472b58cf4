"""What one image frees waits for the next one, unless the environment says otherwise."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from sam2_core.allocator import keep_freed_memory

FAULTS = """
import resource, threading
import numpy as np
from sam2_core import Prompt, Tracker, load_model

def track():
    tracker = Tracker(load_model("sam2_nano", device="cpu"))
    image = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    tracker.step(image, [Prompt(1, box=[100, 100, 300, 300])])
    for number in range(20):
        if number == 10:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        tracker.step(image)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 10)

thread = threading.Thread(target=track)
thread.start()
thread.join()
"""

SETTINGS = {
    "MALLOC_TRIM_THRESHOLD_": "131072",
    "MALLOC_MMAP_THRESHOLD_": "131072",
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_TOP_PAD_": "131072",
    "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072",
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_once_memory_has_settled_an_image_needs_no_fresh_pages() -> None:
    command = [sys.executable, "-c", FAULTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 200  # page faults of 4 KiB; by default thousands


@pytest.mark.parametrize("name", SETTINGS)
def test_what_the_environment_says_of_the_allocator_holds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SETTINGS[name])
    assert not keep_freed_memory.__wrapped__()


def test_settings_of_something_else_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.pthread.rseq=1")
    assert keep_freed_memory.__wrapped__() is (platform.libc_ver()[0] == "glibc")
