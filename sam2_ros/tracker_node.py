"""The executable `tracker_node`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from sam2_ros.process import run


def main(args: list[str] | None = None) -> int:
    """Runs the node `sam2` until SIGINT or SIGTERM."""
    # PyTorch's threads sleep while they wait for one another. Where cores are shared with other programs,
    # threads that spin instead take them for nothing: ten times the work was seen on a busy machine. OpenMP
    # reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run(_make_node, args)


def _make_node(finished: Callable[[], None]) -> Any:
    from sam2_ros.node import TrackerNode  # PyTorch comes with it, which takes its time

    return TrackerNode()


if __name__ == "__main__":
    sys.exit(main())
