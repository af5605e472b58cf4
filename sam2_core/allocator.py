"""The C library's memory: what one image frees waits for the next one.

Every image needs some 15 MB for what lies between the layers of sam2_nano, and frees them again. By default
glibc hands large pieces back to the system, which clears fresh pages for the next image: thousands of page
faults, an eighth of the time and more.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

# glibc's malloc.h, and of its arena.c HEAP_MAX_SIZE where a long has 64 bits
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8
_HEAP_SIZE = 64 * 2**20

LARGEST_KEPT = 32 * 2**20
"""Bytes of the largest piece that is kept, and the most that glibc accepts; larger ones always go back."""

MOST_KEPT = 256 * 2**20
"""Bytes that may lie idle at the end of the heap before they go back."""

_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "MALLOC_TOP_PAD_")


@cache
def keep_freed_memory() -> bool:
    """Let this process keep memory that it frees, within `LARGEST_KEPT` and `MOST_KEPT`.

    Once is enough. Threads that begin afterwards share one heap: with an arena each, as by default, every new
    one would have an idle reserve of its own. A thread that has an arena already keeps it, and the arena its
    heaps of 64 MiB; otherwise the last of them would go back whenever it is empty, with every image.
    Where the environment sets glibc's allocator (`MALLOC_TRIM_THRESHOLD_`, `MALLOC_MMAP_THRESHOLD_`,
    `MALLOC_ARENA_MAX`, `MALLOC_TOP_PAD_`, or `glibc.malloc` in `GLIBC_TUNABLES`), its word holds.

    Returns: whether it was done; other C libraries than glibc don't know how.
    """
    if any(map(os.environ.get, _SETTINGS)) or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    wanted = {
        _M_MMAP_THRESHOLD: LARGEST_KEPT,
        _M_TRIM_THRESHOLD: MOST_KEPT,
        _M_ARENA_MAX: 1,
        _M_TOP_PAD: _HEAP_SIZE,
    }
    done = [mallopt(name, size) for name, size in wanted.items()]
    return all(done)
