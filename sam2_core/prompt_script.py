"""Prompts for a whole video: which object is shown where in which frame, from the command line or a JSON
file.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .masks import decode_rle, load_id_image
from .paths import expanded
from .prompts import MAX_OBJECT_ID, Prompt, PromptError

Script = dict[int, list[Prompt]]
"""Prompts by the number of their frame, from 0."""

FORM = '[{"frame": 0, "object_id": 1, "points": [[X, Y]], "labels": [1], "box": [X0, Y0, X1, Y1]}]'
FIELDS = {"frame", "object_id", "points", "labels", "box", "mask", "label", "restart"}


def add_prompt_options(parser: argparse.ArgumentParser, video: bool = True) -> None:
    """Declares the options of which `script_from_options` makes prompts; their order on the command line
    counts.

    Args:
        parser: gets the options.
        video: also --frame and --prompts, which a single image has no use for.
    """
    group = parser.add_argument_group(
        "prompts",
        "--object begins the prompts of another object"
        + (", --frame those in another frame" if video else ""),
    )
    options: list[tuple[str, str, str]] = [
        ("--object", "ID", "the following prompts are for this object, 1 to 255; default: 1"),
        ("--point", "X,Y[,0]", "a point on the object, in pixels; with 0: on the background"),
        (
            "--box",
            "X0,Y0,X1,Y1",
            "a box around the object, in pixels; where the object has one, around the next new object",
        ),
        (
            "--mask",
            "FILE",
            "the object's mask as a picture, not black; of an indexed PNG with several objects all, or that "
            "of --object; where the object has one, the mask of the next new object",
        ),
        ("--label", "TEXT", "a name for the object"),
    ]
    if video:
        options.insert(1, ("--frame", "N", "the following prompts are for this frame, from 0; default: 0"))
    for option, form, text in options:
        group.add_argument(option, metavar=form, help=text, dest="script", action=_Record)
    if video:
        group.add_argument("--prompts", metavar="FILE", type=expanded, help=f"JSON: {FORM}")


def files_read(options: argparse.Namespace) -> list[str | Path | None]:
    """The files that prompts and weights are read from.

    Raises:
        PromptError: the file of prompts is missing or can't be understood.
    """
    read: list[str | Path | None] = [text for option, text in options.script or () if option == "mask"]
    file = getattr(options, "prompts", None)
    if file is not None:
        masks = [entry.get("mask") for entry in _entries(file)]
        read += [file, *(file.parent / mask for mask in masks if isinstance(mask, str))]
    return [*read, options.checkpoint]


def attached(arguments: Sequence[str]) -> list[str]:
    """A command line with `--box=-4,0,9,9` for `--box -4,0,9,9`, in which argparse sees two options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--box", "--point") and re.match(r"-[\d.]", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


class _Record(argparse.Action):
    """Collects options of several names in one list, in the order given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        recorded = [*(getattr(namespace, self.dest) or ()), ((option_string or "").lstrip("-"), values)]
        setattr(namespace, self.dest, recorded)


@dataclass
class _Parts:
    """What has been said of one object in one frame so far."""

    points: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: list[float] | None = None
    mask: Any = None
    label: str = ""

    def prompt(self, object_id: int) -> Prompt:
        return Prompt(object_id, self.points or None, self.labels or None, self.box, self.mask, self.label)


def script_from_options(recorded: Sequence[tuple[str, str]] | None, file: Path | None = None) -> Script:
    """The prompts of a command line.

    Args:
        recorded: what `add_prompt_options` left under `script`.
        file: what it left under `prompts`; these prompts come in addition.

    Raises:
        PromptError: an option or the file can't be understood.
    """
    parts: dict[tuple[int, int], _Parts] = defaultdict(_Parts)
    frame, object_id, named = 0, 1, False
    for option, text in recorded or ():
        if option == "object":
            object_id, named = _whole(text, "--object", 1, 255), True
        elif option == "frame":
            frame = _whole(text, "--frame", 0)
        elif option == "point":
            x, y, *label = _numbers(text, "--point", (2, 3), "X,Y or X,Y,0")
            parts[frame, object_id].points.append([x, y])
            parts[frame, object_id].labels.append(int(label[0]) if label else 1)
        elif option == "box":
            if parts[frame, object_id].box is not None:
                object_id = _next(parts)
            parts[frame, object_id].box = _numbers(text, "--box", (4,), "X0,Y0,X1,Y1")
        elif option == "label":
            parts[frame, object_id].label = text
        elif option == "mask":
            if (frame, object_id) in parts and parts[frame, object_id].mask is not None:
                object_id, named = _next(parts), False
            path = expanded(text)
            masks = {object_id: _mask_of_file(path, object_id)} if named else _masks_of_file(path, object_id)
            for found, mask in masks.items():
                if parts[frame, found].mask is not None:
                    raise PromptError(f"--mask {text}: object {found} has a mask already: give one of each")
                parts[frame, found].mask = mask
    script: Script = defaultdict(list)
    for (number, found), part in parts.items():
        script[number].append(part.prompt(found))
    for number, prompts in (script_from_file(file) if file is not None else {}).items():
        script[number] += prompts
    return dict(script)


def _next(parts: dict[tuple[int, int], _Parts]) -> int:
    """The id of a new object."""
    taken = {object_id for _, object_id in parts}
    highest = max(taken)
    if highest < MAX_OBJECT_ID:
        return highest + 1
    free = next((number for number in range(1, MAX_OBJECT_ID) if number not in taken), None)
    if free is None:
        raise PromptError(f"all {MAX_OBJECT_ID} object ids are in use: show fewer objects")
    return free


def script_from_file(path: Path) -> Script:
    """The prompts of a JSON file: a list of objects with the fields of `Prompt` and `frame` (default 0).

    A `mask` is the name of a picture, relative to the file, or a COCO run-length code.

    Raises:
        PromptError: the file is missing or can't be understood; the message names the entry.
    """
    script: Script = defaultdict(list)
    for number, entry in enumerate(_entries(path)):
        try:
            frame, prompts = _entry(entry, path.parent)
        except PromptError as error:
            raise PromptError(f"{path}: entry {number}: {error}") from error
        script[frame] += prompts
    return dict(script)


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError as error:
        raise PromptError(f"{path}: no such file; expected JSON like {FORM}") from error
    except (ValueError, RecursionError) as error:
        raise PromptError(f"{path}: not JSON ({error}); expected {FORM}") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise PromptError(f"{path}: not a list of objects; expected {FORM}")
    return entries


def _entry(entry: dict[str, Any], folder: Path) -> tuple[int, Iterable[Prompt]]:
    if unknown := set(entry) - FIELDS:
        raise PromptError(f"unknown field {sorted(unknown)[0]!r}: give {', '.join(sorted(FIELDS))}")
    frame = entry.get("frame", 0)
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise PromptError(f"frame {frame!r} is not a whole number from 0")
    values = {name: value for name, value in entry.items() if name != "frame"}
    values.setdefault("object_id", 1)
    mask = values.get("mask")
    if isinstance(mask, str):
        values["mask"] = _mask_of_file(folder / mask, values["object_id"])
    elif isinstance(mask, dict):
        try:
            values["mask"] = decode_rle(mask)
        except (KeyError, TypeError, ValueError, OverflowError, MemoryError) as error:
            raise PromptError(f"mask is not a COCO run-length code ({error!r})") from error
    return frame, [Prompt(**values)]


def _mask_of_file(path: Path, object_id: Any) -> np.ndarray:
    """The mask of one object in a picture."""
    masks = _masks_of_file(path, 0)
    if len(masks) == 1:
        return next(iter(masks.values()))
    for found, mask in masks.items():
        if found == object_id:
            return mask
    raise PromptError(
        f"{path}: holds the objects {', '.join(map(str, masks))}: give one of them as object_id"
    )


def _masks_of_file(path: Path, object_id: int) -> dict[int, np.ndarray]:
    """The masks of a picture: by their ids if it is indexed and holds several, else the given object's."""
    try:
        ids = load_id_image(path)
    except (FileNotFoundError, ValueError) as error:
        raise PromptError(str(error) if isinstance(error, ValueError) else f"{path}: no such file") from error
    found = [int(value) for value in np.unique(ids) if value]
    if not found:
        raise PromptError(f"{path}: the mask is empty, all its pixels are black")
    if len(found) == 1:
        return {object_id: ids > 0}
    return {value: ids == value for value in found}


def _numbers(text: str, option: str, counts: tuple[int, ...], form: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise PromptError(f"{option} {text}: give {form} in pixels")
    if option == "--point" and len(numbers) == 3 and numbers[2] not in (0, 1):
        raise PromptError(f"{option} {text}: the label is 1 for the object or 0 for the background")
    return numbers


def _whole(text: str, option: str, least: int, most: int | None = None) -> int:
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        raise PromptError(
            f"{option} {text}: give a whole number from {least}" + (f" to {most}" if most else "")
        )
    return int(text)
