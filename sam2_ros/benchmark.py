"""How fast the node is on this machine, camera and subscriber included.

A node of its own on a graph of its own gets images at a camera's rate from this process, which also receives
what the node publishes. Before that, the bare tracker and the bare trunk of its model are timed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger
from vision_msgs.msg import Detection2DArray

from sam2_core import load_model
from sam2_core.benchmark import Ours, Timing, measure, processor
from sam2_core.benchmark.contestant import drifting_pattern, grid_of_boxes
from sam2_core.commands.common import CommandError, check_outputs, from_zero, numbers, positive, write_json
from sam2_core.loading import precision_name
from sam2_core.prompts import MAX_OBJECT_ID
from sam2_ros.client import Client, ClientError, running, talking
from sam2_ros.conversions import image_message, to_nanoseconds
from sam2_ros.interfaces import Prompt
from sam2_ros.isolation import free_domain

SCENE = 40
"""How many different images the camera shows."""

BARE_FRAMES = 20
"""Images over which the bare tracker is timed."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        objects: how many are tracked.
        busy: how many programs that never rest run beside the node.
        frames_per_second: of the detections that arrive here.
        latency_p50, latency_p95: from an image's stamp until its detections arrive here, milliseconds.
        longest_gap: between two of them, milliseconds.
        visible: objects per image, on average.
        threads: with which the node computed at the end.
        bare: milliseconds of the tracker's step without the node, and nothing beside it.
        trunk: milliseconds of a bare forward pass of the model's trunk, in turn with those steps.
    """

    objects: int
    busy: int
    frames_per_second: float
    latency_p50: float
    latency_p95: float
    longest_gap: float
    visible: float
    threads: str
    bare: float
    trunk: float

    @property
    def passes(self) -> float:
        """The time from one image to the next, in forward passes of the bare trunk."""
        return 1000 / self.frames_per_second / self.trunk


class Camera:
    """A camera and whoever waits for what the node makes of its images.

    Args:
        client: this process on the node's graph.
        name: of the camera.
        images: uint8 (H, W, 3), shown forwards and backwards without end.
        rate: images per second.
    """

    def __init__(self, client: Client, name: str, images: Iterable[np.ndarray], rate: float) -> None:
        self.arrivals: list[tuple[int, int, int]] = []
        self.threads = ""
        self._client = client
        self._name = name
        self._messages = [image_message(image, "rgb8", Header()) for image in images]
        last = len(self._messages) - 1
        self._order = cycle([*range(last), *range(last, 0, -1)])
        self._publisher = client.node.create_publisher(Image, f"/{name}/image_raw", QoSProfile(depth=1))
        client.node.create_timer(1 / rate, self._publish)
        client.subscribe(Detection2DArray, f"/{name}/sam2/detections", self._on_detections)
        client.subscribe(DiagnosticArray, "/diagnostics", self._on_diagnostics)

    def _publish(self) -> None:
        message = self._messages[next(self._order)]
        message.header = Header(stamp=self._client.node.get_clock().now().to_msg(), frame_id=self._name)
        self._publisher.publish(message)

    def _on_detections(self, message: Detection2DArray) -> None:
        now = self._client.node.get_clock().now().nanoseconds
        self.arrivals.append((to_nanoseconds(message.header.stamp), now, len(message.detections)))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.threads = {pair.key: pair.value for pair in status.values}.get("threads", "")

    def follow(self, boxes: Sequence[Sequence[float]]) -> None:
        """Forgets all objects and starts one for each box, in the newest image that came back."""
        self._client.call(Trigger, f"/{self._name}/sam2/reset", Trigger.Request())
        self.arrivals.clear()
        self._client.wait_until(lambda: self.arrivals, "the first detections")
        for box in boxes:
            request = Prompt.Request(box=[float(side) for side in box])
            answer = self._client.call(Prompt, f"/{self._name}/sam2/prompt", request)
            if not answer.success:
                raise ClientError(f"a prompt was refused: {answer.message}")

    def record(self, seconds: float) -> np.ndarray:
        """Detections that arrive within so long, int64 (N, 3): stamp, arrival (ns), objects."""
        self.arrivals.clear()
        self._client.spin(seconds)
        if len(self.arrivals) < 2:
            raise ClientError(
                f"{len(self.arrivals)} images came back within {seconds:g} s: give more --seconds"
            )
        return np.array(self.arrivals, np.int64)


def run(arguments: Sequence[str] | None = None) -> int:
    """Prints the table.

    Args:
        arguments: the command line without the program's name; None: that of this process.

    Returns: the exit code, 0, 1 where the node failed, 2 for an error of the caller.
    """
    options = _parser().parse_args(arguments)
    given = [part for parameter in options.parameter for part in ("-p", parameter)]
    rows: list[Row] = []
    try:
        check_outputs({"--json": options.json})
        node = ["--ros-args", "--log-level", "warn", *given]
        with (
            free_domain(),
            running({"tracker_node": node}) as started,
            talking("node_benchmark", started) as client,
        ):
            client.bring_up()
            for row in _measured(client, options):
                print(_line(row, header=not rows), flush=True)
                rows.append(row)
        if options.json is not None:
            write_json(options.json, [asdict(row) | {"passes": row.passes} for row in rows], indent=1)
    except ClientError as error:
        print(f"node_benchmark: {error}", file=sys.stderr)
        return 1
    except (CommandError, OSError) as error:
        print(f"node_benchmark: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="node_benchmark",
        description="Measure the node on this machine, with a camera and a subscriber beside it.",
    )
    parser.add_argument("--objects", type=numbers, default=[1, 4], metavar="N,N", help="default: 1,4")
    parser.add_argument(
        "--busy",
        type=_from_zero,
        default=[0],
        metavar="N,N",
        help="how many programs that never rest run beside it; default: 0",
    )
    parser.add_argument("--seconds", type=_above_zero, default=10.0, help="measured; default: %(default)g")
    parser.add_argument(
        "--warm-up", type=_above_zero, default=6.0, help="seconds before; default: %(default)g"
    )
    parser.add_argument(
        "--rate",
        type=_above_zero,
        default=30.0,
        help="images per second; default: %(default)g",
    )
    parser.add_argument("--width", type=positive, default=640, help="of the images; default: %(default)s")
    parser.add_argument("--height", type=positive, default=480, help="of the images; default: %(default)s")
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="one of the node's parameters, as for ros2 run; may be given again and again",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    return parser


def _measured(client: Client, options: argparse.Namespace) -> Iterator[Row]:
    names = ["model", "checkpoint", "image_size", "device", "precision", "num_threads"]
    names += ["cameras", "image_transport", "max_objects"]
    request = GetParameters.Request(names=names)
    values = client.call(GetParameters, "/sam2/get_parameters", request).values
    settings: dict[str, Any] = dict(zip(names, map(parameter_value_to_python, values), strict=True))
    if settings["image_transport"] != "raw":
        raise CommandError("image_transport:=compressed: give raw, which is what this camera publishes")
    most = max(options.objects)
    if most > settings["max_objects"]:
        way_out = f"give -p max_objects:={most}" if most <= MAX_OBJECT_ID else f"give at most {MAX_OBJECT_ID}"
        raise CommandError(f"--objects {most}: the node tracks at most {settings['max_objects']}: {way_out}")
    if settings["num_threads"]:
        torch.set_num_threads(settings["num_threads"])
    model = load_model(
        settings["model"],
        settings["checkpoint"] or None,
        image_size=settings["image_size"] or None,
        device=settings["device"],
        precision=settings["precision"],
    )
    size = model.config.image_size
    print(
        f"{processor()}, {os.cpu_count()} cores; {settings['model']} at {size}, {precision_name(model)}; "
        f"camera {options.width} x {options.height} at {options.rate:g} images/s",
        flush=True,
    )
    shape = (options.height, options.width)
    ours = Ours(model)
    bare = {}
    for count in options.objects:
        (bare[count],) = measure([ours], count, BARE_FRAMES, shape, (ours.trunk(), size))
    camera = Camera(client, settings["cameras"][0], drifting_pattern(SCENE, shape), options.rate)
    for busy in options.busy:
        for count in options.objects:
            camera.follow(list(grid_of_boxes(count, shape)))
            with _busy_programs(busy):
                client.spin(options.warm_up)
                arrived = camera.record(options.seconds)
            yield _row(count, busy, arrived, camera.threads, bare[count])


@contextmanager
def _busy_programs(count: int) -> Iterator[None]:
    """Programs that never rest, while entered."""
    command = [sys.executable, "-c", "while True: pass"]
    # in a process group of their own: Ctrl-C is not for them
    programs = [subprocess.Popen(command, start_new_session=True) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def _row(objects: int, busy: int, arrived: np.ndarray, threads: str, bare: Timing) -> Row:
    stamps, arrivals, visible = arrived.T
    p50, p95 = np.percentile((arrivals - stamps) * 1e-6, (50, 95))
    gaps = np.diff(arrivals) * 1e-6
    assert bare.trunk is not None
    return Row(
        objects,
        busy,
        frames_per_second=float(1000 / gaps.mean()),
        latency_p50=float(p50),
        latency_p95=float(p95),
        longest_gap=float(gaps.max()),
        visible=float(visible.mean()),
        threads=threads,
        bare=bare.step,
        trunk=bare.trunk,
    )


def _line(row: Row, header: bool) -> str:
    names = (
        "objects  visible  busy programs  frames/s  latency p50  p95 (ms)  longest gap (ms)  threads  "
        "step alone (ms)  trunk (ms)  frame/trunk"
    )
    line = (
        f"{row.objects:7}  {row.visible:7.1f}  {row.busy:13}  {row.frames_per_second:8.1f}  "
        f"{row.latency_p50:11.0f}  {row.latency_p95:8.0f}  {row.longest_gap:16.0f}  {row.threads:>7}  "
        f"{row.bare:15.1f}  {row.trunk:10.1f}  {row.passes:11.2f}"
    )
    return f"{names}\n{line}" if header else line


def _from_zero(text: str) -> list[int]:
    """Whole numbers from 0 on, with commas between them."""
    return [from_zero(part) for part in text.split(",")]


def _above_zero(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0")
    return value
