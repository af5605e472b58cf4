"""What several commands share: choosing a model, and refusing wrong arguments."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ..configs import MODELS, MemoryConfig
from ..datasets import LAYOUTS, VideoSequence, find_sequences
from ..evaluation import PROMPTS
from ..loading import PRECISIONS, load_model, make_ready
from ..memory_policies import POLICIES
from ..model import SAM2
from ..paths import expanded
from ..sources import PICTURES
from ..tracker import Tracker

MOST_THREADS = 1024


class CommandError(Exception):
    """The command can't be followed; the message names the value and the way out."""


def add_model_options(parser: argparse.ArgumentParser, everyone: bool = False) -> None:
    """Declares the options that `load` reads.

    Args:
        parser: of the command.
        everyone: `--model all` is allowed, too; the command replaces it by names.
    """
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default="sam2_nano",
        choices=["all", *MODELS] if everyone else list(MODELS),
        help=("a name, or all; " if everyone else "") + "default: %(default)s",
        metavar="NAME",
    )
    group.add_argument("--checkpoint", metavar="FILE", help="weights to use instead of the model's own")
    group.add_argument(
        "--image-size",
        type=positive,
        metavar="N",
        help="side of the model's square input, pixels; default: its own",
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps; default: %(default)s")
    group.add_argument(
        "--precision", default="auto", choices=PRECISIONS, help="numbers computed in; default: %(default)s"
    )
    group.add_argument("--threads", type=threads, metavar="N", help="CPU threads; default: PyTorch's choice")


def add_dataset_options(parser: argparse.ArgumentParser, prompt: str) -> None:
    """Declares what `sequences_of` reads, and the prompt.

    Args:
        parser: of the command.
        prompt: the default.
    """
    parser.add_argument(
        "folder", type=expanded, metavar="FOLDER", help="laid out like DAVIS 2016 or 2017, MOSE or SA-V"
    )
    parser.add_argument(
        "--prompt", default=prompt, choices=PROMPTS, help="what is shown of an object; default: %(default)s"
    )
    parser.add_argument(
        "--sequences", nargs="+", metavar="NAME", help="only these; a .txt file: those it names, one a line"
    )


def sequences_of(options: argparse.Namespace, single_object: bool = False) -> list[VideoSequence]:
    """The videos that the options name, see `find_sequences`.

    Raises:
        DatasetError: there are none, or one is missing.
        OSError, CommandError: a list of names can't be read.
    """
    names: list[str] | None = None
    if options.sequences is not None:
        names = []
        for name in options.sequences:
            names += _names_in(Path(name)) if name.endswith(".txt") else [name]
    return find_sequences(options.folder, names, single_object)


def _names_in(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split()
    except UnicodeDecodeError as error:
        raise CommandError(f"--sequences {path}: not a text ({error.reason})") from error


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    """Declares the options that `memory_config` reads."""
    group = parser.add_argument_group(
        "memory", "what a tracker keeps of an object's past; default: the model's own"
    )
    group.add_argument("--memory-policy", choices=list(POLICIES), help="which images are kept")
    for name, what in (
        ("prompted-frames", "prompted images that are kept"),
        ("memory-frames", "how many others"),
        ("object-pointers", "how far back object pointers reach, in images"),
    ):
        group.add_argument(f"--{name}", type=int, metavar="N", help=what)


def memory_config(options: argparse.Namespace, model: SAM2) -> MemoryConfig:
    """The model's own memory settings, changed as the options say.

    Raises:
        CommandError: a number is out of range, or does not fit the model.
    """
    given = {
        "policy": options.memory_policy,
        "prompted_frames": options.prompted_frames,
        "memory_frames": options.memory_frames,
        "object_pointers": options.object_pointers,
    }
    try:
        config = replace(model.config.memory, **{k: v for k, v in given.items() if v is not None})
        Tracker(model, config)  # refuses what the model was not made for
        return config
    except ValueError as error:
        raise CommandError(str(error)) from error


def load(options: argparse.Namespace, untrained: bool = False) -> SAM2:
    """The model that the options name.

    Args:
        options: with what `add_model_options` declared.
        untrained: leave the weights as they are initialised.

    Raises:
        CheckpointError: its weights can't be had.
        CommandError: another option does not fit it.
    """
    if options.threads:
        torch.set_num_threads(options.threads)
        cv2.setNumThreads(options.threads)
    try:
        if untrained:
            size = {} if options.image_size is None else {"image_size": options.image_size}
            model = SAM2(replace(MODELS[options.model], **size))
            return make_ready(model, options.device, options.precision)
        return load_model(
            options.model, options.checkpoint, options.device, options.image_size, options.precision
        )
    except ValueError as error:
        raise CommandError(str(error)) from error


def check_outputs(
    files: Mapping[str, Path | None],
    folders: Mapping[str, Path | None] | None = None,
    inputs: Iterable[str | Path | None] = (),
    dataset: Path | None = None,
) -> None:
    """Refuses, before anything is computed, what would destroy something or could not be written in the end.

    Args:
        files: to be written, by the options that name them.
        folders: likewise.
        inputs: files and folders that are read.
        dataset: a folder of annotated videos that is read.

    Raises:
        CommandError: an output is read from, lies in the dataset, is written twice, is a folder instead of a
            file or the other way round, or is a folder of which a file is read.
    """
    read = {expanded(path).resolve() for path in inputs if path is not None}
    videos = set() if dataset is None else {(dataset / part).resolve() for pair in LAYOUTS for part in pair}
    taken: dict[Path, str] = {}
    for option, path in {**files, **(folders or {})}.items():
        if path is None:
            continue
        place = path.resolve()
        if place in read:
            raise CommandError(f"{option} {path} is what is read: give another place")
        is_dataset = option not in files and dataset is not None and place == dataset.resolve()
        if is_dataset or videos & {place, *place.parents}:
            raise CommandError(f"{option} {path} lies in the dataset: give another place")
        if place in taken:
            raise CommandError(f"{option} {path} is where {taken[place]} goes: give each a place of its own")
        if option in files and path.is_dir():
            raise CommandError(f"{option} {path} is a folder: give a file's name")
        if option not in files and path.exists() and not path.is_dir():
            raise CommandError(f"{option} {path} is a file: give a folder")
        masks = [] if option in files else [f.name for f in read if f.parent == place and f.suffix == ".png"]
        if masks:
            raise CommandError(f"{option} {path} holds {masks[0]}, which is read: give another place")
        taken[place] = option


def check_picture(option: str, path: Path | None) -> None:
    """Refuses a name that does not end like a picture's.

    Raises:
        CommandError: OpenCV writes no such pictures in colour.
    """
    if path is not None and path.suffix.lower() not in PICTURES:
        raise CommandError(f"{option} {path}: give a name that ends in .png or .jpg")


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes uint8 RGB (H, W, 3) as the kind of picture that the path's ending names.

    Raises:
        CommandError: it can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise CommandError(f"{path}: can't be written as a picture")


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Writes JSON, in a folder that is made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=indent) + "\n")


def from_zero(text: str) -> int:
    """An argument that is a whole number from 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is below 0")
    return value


def threads(text: str) -> int:
    """An argument that is a number of threads: OpenMP dies of too many."""
    value = positive(text)
    if value > MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{value} is above {MOST_THREADS}")
    return value


def positive(text: str) -> int:
    """An argument that is a whole number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def numbers(text: str) -> list[int]:
    """An argument that is whole numbers above 0, with commas between them."""
    return [positive(part) for part in text.split(",")]
