"""The executable `node_benchmark`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sam2_ros.process import spin_briefly


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the node on this machine. Returns: the exit code; 130 after Ctrl-C."""
    spin_briefly()  # as the node does, so that the bare tracker computes as the node's
    try:
        from sam2_ros.benchmark import run  # PyTorch comes with it

        return run(arguments)
    except KeyboardInterrupt:
        print("node_benchmark: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
