"""`sam2 benchmark`: how long a step takes on this machine, which part takes it, and beside the original."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from ..benchmark import (
    Contestant,
    Original,
    OriginalMissingError,
    Ours,
    Timing,
    measure,
    processor,
    require_original,
)
from ..benchmark.contestant import STAGES, Clock
from ..benchmark.operations import operations, peak
from ..compiling import compile_model
from ..configs import MODELS, EfficientNetConfig
from ..loading import precision_name
from ..model import SAM2
from ..paths import expanded
from . import absences, late_clicks
from .common import CommandError, add_model_options, check_outputs, load, numbers, positive, write_json

OFFICIAL_SIZES = (1024, 512)


@dataclass(frozen=True)
class Row:
    """One line of the table: a model, at an input size, with some objects."""

    model: str
    parameters: int
    input: int
    timing: Timing


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "benchmark",
        help="milliseconds per frame and stage on this machine",
        description="Time a step of the tracker with full memory (medians over the measured images).",
    )
    parser.add_argument(
        "--objects", nargs="+", type=numbers, default=[[1, 4]], metavar="N", help="default: 1,4"
    )
    parser.add_argument("--frames", type=positive, default=10, help="measured images; default: %(default)s")
    parser.add_argument(
        "--width", type=positive, default=640, help="of the camera image; default: %(default)s"
    )
    parser.add_argument(
        "--height", type=positive, default=480, help="of the camera image; default: %(default)s"
    )
    parser.add_argument(
        "--against",
        choices=["sam2"],
        help="run the original package beside it, image by image in turn; needs `make original`",
    )
    parser.add_argument(
        "--trunk", action="store_true", help="also time a bare forward pass of the trunk, in turn"
    )
    parser.add_argument(
        "--untrained", action="store_true", help="random weights: the times are the same, no file needed"
    )
    parser.add_argument(
        "--compile",
        choices=["image_encoder", "all"],
        help="compile that part of our model, or all parts, first",
    )
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="the processor's time instead of the clock's, on one thread: what other programs do counts less",
    )
    parser.add_argument(
        "--operations",
        action="store_true",
        help="also tell how near the machine's matrix products each stage of ours comes",
    )
    parser.add_argument("--json", type=expanded, metavar="FILE", help="write figures; -: to stdout, alone")
    add_model_options(parser, everyone=True)
    parser.set_defaults(run=run)
    accuracy = parser.add_subparsers(title="instead of times", metavar="BENCHMARK")
    for benchmark in (late_clicks, absences):
        benchmark.add(accuracy)


def run(options: argparse.Namespace) -> None:
    """Prints the table."""
    counts = [count for group in options.objects for count in group]
    if max(counts) > 64:
        raise CommandError(f"--objects {max(counts)}: give at most 64")
    if options.against and options.model == "sam2_nano":
        raise CommandError("--against sam2: the original has no sam2_nano; give an official --model")
    if options.against:
        try:
            require_original()
        except OriginalMissingError as error:
            raise CommandError(str(error)) from error
    check_outputs({"--json": None if str(options.json) == "-" else options.json}, inputs=[options.checkpoint])
    out = sys.stderr if str(options.json) == "-" else sys.stdout
    if options.processor_time:
        options.threads = 1
    rows: list[Row] = []
    for name, size in _wanted(options):
        options.model, options.image_size = name, size
        model = load(options, untrained=options.untrained)
        if not rows:
            camera = f"camera {options.width} x {options.height}"
            print(f"{_machine(model.device)}; {precision_name(model)}; {camera}", file=out)
        if options.compile:
            seconds = compile_model(model, everything=options.compile == "all")
            print(f"{name} at {size}: compiled in {seconds:.0f} s", file=out, flush=True)
        for count in counts:
            new = list(_measured(model, count, options))
            for line in _lines(new, header=not rows):
                print(line, file=out, flush=True)
            if options.operations:
                print(_operations(model, new[0].timing, options), file=out, flush=True)
            rows += new
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"peak memory of the whole process {process / 2**20:.0f} MiB", file=out)
    if options.json is not None:
        measured = [asdict(row) for row in rows]
        figures = {"machine": _machine(model.device), "precision": precision_name(model), "rows": measured}
        if str(options.json) == "-":
            print(json.dumps(figures))
        else:
            write_json(options.json, figures, indent=1)


def _wanted(options: argparse.Namespace) -> Iterator[tuple[str, int]]:
    """Models and the sides of their inputs."""
    for name in MODELS if options.model == "all" else [options.model]:
        config = MODELS[name]
        if options.against and isinstance(config.trunk, EfficientNetConfig):
            continue
        if options.image_size:
            yield name, options.image_size
        elif isinstance(config.trunk, EfficientNetConfig):
            yield name, config.image_size
        else:
            yield from ((name, size) for size in OFFICIAL_SIZES)


def _measured(model: SAM2, count: int, options: argparse.Namespace) -> Iterator[Row]:
    """Our row, and the original's if it is wanted."""
    ours = Ours(model)
    contestants: list[Contestant] = [ours]
    if options.against:
        contestants.append(Original(options.model, model))
    trunk = (ours.trunk(), model.config.image_size) if options.trunk else None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    shape = (options.height, options.width)
    for timing in measure(contestants, count, options.frames, shape, trunk, _clock(options)):
        yield Row(options.model, parameters, model.config.image_size, timing)


def _lines(rows: list[Row], header: bool) -> Iterator[str]:
    """The table's lines for one model, size and number of objects."""
    trunk = any(row.timing.trunk is not None for row in rows)
    if header:
        names = "  ".join((*STAGES, "other"))
        end = "  trunk  step/trunk" if trunk else ""
        yield f"{'model':22}  {'run by':15}  params  input  objects  frames/s  ms/frame  {names}  MiB{end}"
    for row in rows:
        timing = row.timing
        columns = [(name, timing.stages[name]) for name in STAGES] + [("other", timing.other)]
        memory = "-" if timing.memory is None else f"{timing.memory / 2**20:.0f}"
        line = (
            f"{row.model:22}  {timing.name:15}  {row.parameters / 1e6:5.1f}M  {row.input:5}  "
            f"{timing.objects:7}  {1000 / timing.step:8.2f}  {timing.step:8.1f}  "
            + "  ".join(f"{value:{len(name)}.1f}" for name, value in columns)
            + f"  {memory:>4}"
        )
        if timing.trunk is not None:
            line += f"  {timing.trunk:5.1f}  {timing.step / timing.trunk:10.2f}"
        yield line
    if len(rows) == 2:
        yield _ratios(*(row.timing for row in rows))


def _ratios(ours: Timing, original: Timing) -> str:
    """How many times as fast as the original: in all, and by stage."""
    stages = "  ".join(
        f"{name} {original.stages[name] / ours.stages[name]:.2f}" for name in STAGES if ours.stages[name]
    )
    return f"    {original.step / ours.step:.2f} times the original's frame rate; by stage: {stages}"


def _operations(model: SAM2, timing: Timing, options: argparse.Namespace) -> str:
    """Arithmetic by stage, its speed, and the share of the machine's best."""
    counts = operations(Ours(model), timing.objects, (options.height, options.width))
    best = peak(model.device, model.precision, _clock(options))
    parts = []
    for name in STAGES:
        speed = counts[name] / (timing.stages[name] / 1000)
        parts.append(f"{name} {counts[name] / 1e9:.1f} GFLOP, {speed / 1e9:.0f} GFLOP/s, {speed / best:.0%}")
    return f"    matrix products (machine {best / 1e9:.0f} GFLOP/s): " + "; ".join(parts)


def _clock(options: argparse.Namespace) -> Clock:
    return time.thread_time if options.processor_time else time.perf_counter


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}; torch {torch.__version__}"
    return f"{processor()}, threads: {torch.get_num_threads()}; torch {torch.__version__}"
