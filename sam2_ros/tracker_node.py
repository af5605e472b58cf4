"""The executable `tracker_node`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sam2_ros.process import run, spin_briefly


def main(args: list[str] | None = None) -> int:
    """Runs the node `sam2` until SIGINT or SIGTERM."""
    spin_briefly()
    return run(_make_node, args)


def _make_node(finished: Callable[[], None]) -> Any:
    from sam2_core.allocator import keep_freed_memory
    from sam2_ros.node import TrackerNode  # PyTorch comes with it, which takes its time

    keep_freed_memory()  # before there are threads
    return TrackerNode()


if __name__ == "__main__":
    sys.exit(main())
