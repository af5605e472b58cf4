"""The executable `tracker_node`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from sam2_ros.process import run


def main(args: list[str] | None = None) -> int:
    """Runs the node `sam2` until SIGINT or SIGTERM."""
    # How long PyTorch's threads spin while they wait for one another, before they sleep: some tens of
    # microseconds. Sleeping at once costs a quarter of the frame rate; spinning for milliseconds, OpenMP's
    # default, takes cores from other programs for nothing. Where those want the cores there are fewer threads
    # (sam2_core/threads.py, docs/performance.md). OpenMP reads this when it is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    return run(_make_node, args)


def _make_node(finished: Callable[[], None]) -> Any:
    from sam2_core.allocator import keep_freed_memory
    from sam2_ros.node import TrackerNode  # PyTorch comes with it, which takes its time

    keep_freed_memory()  # before there are threads
    return TrackerNode()


if __name__ == "__main__":
    sys.exit(main())
