"""The life cycle over and over: does a node that is cleaned up give everything back?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from ros_graph import SECOND, Client, image_message
from scene import red_box
from sensor_msgs.msg import Image
from soak_report import RSS_TOLERANCE, Comparison

from sam2_ros.interfaces import Prompt

WARM_UP_LIVES = 2
"""Before the figures count: what is loaded or compiled once is there by then."""


@dataclass(frozen=True)
class Footprint:
    """What a process occupies.

    Attributes:
        rss: bytes resident.
        threads, open_files: how many.
    """

    rss: int
    threads: int
    open_files: int

    @classmethod
    def of(cls, process_id: int) -> Footprint:
        """The footprint of a process now."""
        process = Path(f"/proc/{process_id}")
        lines = (process / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines if ":" in line)
        open_files = len(list((process / "fd").iterdir()))
        return cls(int(status["VmRSS"].split()[0]) * 1024, int(status["Threads"]), open_files)


def live_again_and_again(
    client: Client, process_id: int, rounds: int, frame: Callable[[int], NDArray[np.uint8]]
) -> list[Footprint]:
    """Clean up an active node, configure and activate it, and have it track an object; so many times.

    A prompt is in flight whenever the node deactivates; it must be answered all the same.

    Returns: the footprint of every life, taken at its end.
    """
    footprints = []
    box = [float(side) for side in red_box(0)]
    for number in range(rounds + WARM_UP_LIVES):
        for transition in ("deactivate", "cleanup", "configure", "activate"):
            if not client.change_state(transition):
                raise RuntimeError(f"life {number}: the node could not {transition}")
        publisher = client.publisher(Image, "/camera/image_raw")
        publisher.publish(image_message(frame(0), (number + 1) * SECOND))
        while True:  # the image may not have come through yet
            answer = client.call(Prompt, "/camera/sam2/prompt", Prompt.Request(box=box))
            if answer.success:
                break
        footprints.append(Footprint.of(process_id))
        pending = client.send(Prompt, "/camera/sam2/prompt", Prompt.Request(box=box))
        if not client.change_state("deactivate"):
            raise RuntimeError(f"life {number}: the node could not deactivate")
        client.receive(pending, "a prompt in flight")
        if not client.change_state("activate"):
            raise RuntimeError(f"life {number}: the node could not activate")
        client.node.destroy_publisher(publisher)
    return footprints[WARM_UP_LIVES:]


def compare_lives(footprints: list[Footprint]) -> list[Comparison]:
    """The first tenth of the lives against the last."""
    tenth = max(len(footprints) // 10, 1)

    def medians(name: str) -> list[float]:
        parts = footprints[:tenth], footprints[-tenth:]
        return [float(np.median([getattr(one, name) for one in part])) for part in parts]

    rss = [value / 2**20 for value in medians("rss")]
    return [
        Comparison("lives: resident memory (MiB)", *rss, RSS_TOLERANCE),
        Comparison("lives: threads", *medians("threads"), 0.0),
        Comparison("lives: open files", *medians("open_files"), 0.0),
    ]
