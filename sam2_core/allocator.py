"""The C library's memory: what one image frees waits for the next one.

Every image needs some 15 MB for what lies between the layers of sam2_nano, and frees them again. By default
glibc hands large pieces back to the system, which clears fresh pages for the next image: thousands of page
faults, an eighth of the time and more.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

# glibc's malloc.h
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3

LARGEST_KEPT = 32 * 2**20
"""Bytes of the largest piece that is kept, and the most that glibc accepts; larger ones always go back."""

MOST_KEPT = 256 * 2**20
"""Bytes that may lie idle at the end of an arena before they go back."""

_HEAP = 64 * 2**20  # the heaps of an arena: a reserve of this size keeps an empty one from being given back
_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")


@cache
def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees, within `LARGEST_KEPT` and `MOST_KEPT`.

    Once is enough, for all threads. Where the environment sets glibc's allocator (`MALLOC_TRIM_THRESHOLD_`,
    `MALLOC_TOP_PAD_`, `MALLOC_MMAP_THRESHOLD_`, or `glibc.malloc` in `GLIBC_TUNABLES`), its word holds.

    Returns: whether it was done; other C libraries than glibc don't know how.
    """
    if any(map(os.environ.get, _SETTINGS)) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    wanted = {_M_MMAP_THRESHOLD: LARGEST_KEPT, _M_TRIM_THRESHOLD: MOST_KEPT, _M_TOP_PAD: _HEAP}
    done = [mallopt(name, size) for name, size in wanted.items()]
    return all(done)
