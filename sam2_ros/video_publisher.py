"""The executable `video_publisher`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from sam2_ros.process import run


def main(args: list[str] | None = None) -> int:
    """Publishes images until the source ends, or SIGINT or SIGTERM comes."""
    return run(_make_node, args)


def _make_node(finished: Callable[[], None]) -> Any:
    from sam2_ros.video_node import VideoPublisher

    return VideoPublisher(finished)


if __name__ == "__main__":
    sys.exit(main())
