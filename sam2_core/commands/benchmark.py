"""`sam2 benchmark`: how long a step takes on this machine, and which part of the model takes it."""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..model import SAM2
from ..prompts import Prompt
from ..tracker import Tracker
from . import absences, late_clicks
from .common import CommandError, add_model_options, load, positive

STAGES = {
    "encode_image": "image encoder",
    "condition_on_memory": "memory attention",
    "decode": "mask decoder",
    "encode_memory": "memory encoder",
}
"""Methods of the model and what they are called; the rest of a step is resizing and bookkeeping."""


@dataclass(frozen=True)
class Timing:
    """One row of the table: medians over the measured frames.

    Attributes:
        objects: how many were tracked.
        step: milliseconds of `Tracker.step`.
        stages: milliseconds by name of the stage.
    """

    objects: int
    step: float
    stages: dict[str, float]


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "benchmark",
        help="milliseconds per frame and stage on this machine",
        description="Time Tracker.step with full memory, for several numbers of objects (medians).",
    )
    parser.add_argument(
        "--objects",
        nargs="+",
        type=positive,
        default=[1, 2, 4, 8, 16],
        metavar="N",
        help="default: 1 2 4 8 16",
    )
    parser.add_argument("--frames", type=positive, default=20, help="measured frames; default: %(default)s")
    parser.add_argument(
        "--warm-up", type=positive, metavar="N", help="frames before; default: until memory is full"
    )
    parser.add_argument(
        "--width", type=positive, default=640, help="of the camera image; default: %(default)s"
    )
    parser.add_argument(
        "--height", type=positive, default=480, help="of the camera image; default: %(default)s"
    )
    parser.add_argument(
        "--untrained", action="store_true", help="random weights: the times are the same, no file needed"
    )
    add_model_options(parser)
    parser.set_defaults(run=run)
    accuracy = parser.add_subparsers(title="instead of times", metavar="BENCHMARK")
    for benchmark in (late_clicks, absences):
        benchmark.add(accuracy)


def run(options: argparse.Namespace) -> None:
    """Prints the table."""
    if max(options.objects) > 64:
        raise CommandError(f"--objects {max(options.objects)}: give at most 64")
    model = load(options, untrained=options.untrained)
    size = model.config.image_size
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(
        f"{options.model}  {parameters / 1e6:.1f} M parameters  input {size} x {size}  "
        f"camera {options.width} x {options.height}  {_device_name(model.device)}"
    )
    names = [*STAGES.values(), "other"]
    print("objects  frames/s  ms/frame  " + "  ".join(names))
    for count in options.objects:
        timing = measure(model, count, options.frames, options.warm_up, (options.height, options.width))
        other = timing.step - sum(timing.stages.values())
        columns = [*(timing.stages.get(name, 0.0) for name in STAGES.values()), max(other, 0.0)]
        print(
            f"{count:7}  {1000 / timing.step:8.1f}  {timing.step:8.1f}  "
            + "  ".join(f"{value:{len(name)}.1f}" for name, value in zip(names, columns, strict=True)),
            flush=True,
        )
    print(f"peak memory {_peak_memory(model.device) / 2**20:.0f} MiB")


def measure(
    model: SAM2, objects: int, frames: int, warm_up: int | None = None, shape: tuple[int, int] = (480, 640)
) -> Timing:
    """Times `Tracker.step` on a drifting synthetic image.

    Args:
        model: from `load_model`.
        objects: how many to track.
        frames: how many steps to measure.
        warm_up: steps before; None: as many as it takes to fill the memory.
        shape: (H, W) of the image.
    """
    tracker = Tracker(model)
    if warm_up is None:
        warm_up = max(model.config.memory.object_pointers, model.config.memory.memory_frames) + 1
    prompts = [Prompt(i + 1, box=box) for i, box in enumerate(_grid_of_boxes(objects, shape))]
    totals: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    with _timed_stages(model) as spent:
        for index, image in enumerate(_images(1 + warm_up + frames, shape)):
            spent.clear()
            begin = _now(model.device)
            tracker.step(image, prompts if index == 0 else ())
            if index > warm_up:
                totals.append(_now(model.device) - begin)
                for name in STAGES.values():
                    stages[name].append(spent.get(name, 0.0))
    return Timing(
        objects,
        1000 * float(np.median(totals)),
        {name: 1000 * float(np.median(values)) for name, values in stages.items()},
    )


@contextmanager
def _timed_stages(model: SAM2) -> Iterator[dict[str, float]]:
    """Adds up the seconds spent in each stage of the model."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, method: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = _now(model.device)
            result = method(*arguments, **options)
            spent[name] += _now(model.device) - begin
            return result

        return call

    for attribute, name in STAGES.items():
        setattr(model, attribute, timed(name, getattr(model, attribute)))
    try:
        yield spent
    finally:
        for attribute in STAGES:
            delattr(model, attribute)  # the class's own method shows again


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _images(count: int, shape: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
    """A smooth random pattern that drifts by a pixel per frame."""
    height, width = shape
    coarse = np.random.default_rng(0).integers(0, 256, (12, 16, 3), np.uint8)
    pattern = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    for index in range(count):
        yield np.ascontiguousarray(np.roll(pattern, index, axis=1))


def _grid_of_boxes(count: int, shape: tuple[int, int]) -> Iterator[list[float]]:
    """Boxes side by side in a square grid."""
    height, width = shape
    side = int(np.ceil(np.sqrt(count)))
    for index in range(count):
        row, column = divmod(index, side)
        x, y, w, h = column * width / side, row * height / side, width / side, height / side
        yield [x + 0.2 * w, y + 0.2 * h, x + 0.8 * w, y + 0.8 * h]


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def _peak_memory(device: torch.device) -> int:
    """Bytes: of the device where it has its own memory, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
