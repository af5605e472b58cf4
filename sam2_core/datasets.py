"""Folders of annotated videos: DAVIS 2016 and 2017, MOSE (also YouTube-VOS and LVOS), SA-V.

    DAVIS   JPEGImages/480p/SEQ/00000.jpg      Annotations/480p/SEQ/00000.png          one PNG, all objects
    MOSE    JPEGImages/SEQ/00000.jpg           Annotations/SEQ/00000.png               one PNG, all objects
    SA-V    JPEGImages_24fps/SEQ/00000.jpg     Annotations_6fps/SEQ/000/00000.png      one folder per object

An indexed PNG holds several objects, its indices are their ids; in any other what is not black is the one
object. Predicted masks are written and read in the layout of the annotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .masks import BoolMask, is_indexed, load_id_image, save_mask_png, save_palette_png
from .prompts import MAX_OBJECT_ID
from .sources import files_by_number, repeated_name

LAYOUTS = (
    ("JPEGImages/480p", "Annotations/480p"),
    ("JPEGImages/Full-Resolution", "Annotations/Full-Resolution"),
    ("JPEGImages_24fps", "Annotations_6fps"),
    ("JPEGImages", "Annotations"),
)
"""Where frames and annotations may lie, tried in this order."""

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")


class DatasetError(ValueError):
    """A folder is not laid out as expected, or a file in it is unusable; the message names it."""


@dataclass(frozen=True)
class VideoSequence:
    """One video and its annotations.

    Attributes:
        name: the folder's name.
        frames: the pictures in order.
        annotations: per group of objects the annotation files by frame name (`00012`). One group named ""
            where one PNG holds all objects, else one group per object's folder (`000`, `001`).
        single_object: objects of an indexed PNG are taken together as one.
    """

    name: str
    frames: tuple[Path, ...]
    annotations: dict[str, dict[str, Path]]
    single_object: bool = False

    @property
    def per_object(self) -> bool:
        """Whether every object has a folder of its own, so that objects may overlap."""
        return "" not in self.annotations

    @property
    def annotated(self) -> list[str]:
        """Names of the frames with an annotation, in order."""
        names = {frame for files in self.annotations.values() for frame in files}
        return [path.stem for path in self.frames if path.stem in names]

    def object_name(self, number: int) -> str:
        """What the dataset calls an object: its folder, or its index in the PNG."""
        return {object_id(group): group for group in self.annotations if group}.get(number, str(number))

    def masks(self, frame: str) -> dict[int, BoolMask]:
        """The annotated masks of a frame by object id; empty where the frame has no annotation.

        Raises:
            DatasetError: a file is not a readable picture.
        """
        return self._read({group: files.get(frame) for group, files in self.annotations.items()})

    def saved_masks(self, folder: Path, frame: str) -> dict[int, BoolMask]:
        """Predicted masks as `save` wrote them, by object id.

        Raises:
            DatasetError: a file is missing or not a readable picture.
        """
        return self._read({group: folder / group / f"{frame}.png" for group in self.annotations})

    def is_saved(self, folder: Path) -> bool:
        """Whether `save` has written every frame there."""
        places = [folder / group for group in self.annotations]
        return all((place / f"{frame.stem}.png").is_file() for place in places for frame in self.frames)

    def scored(self, frame: str) -> set[int] | None:
        """Which objects count in a frame, None for all; none in the first and last annotated frame.

        Objects with folders of their own each have their own first and last frame.
        """
        groups = {group for group, frames in self._counted.items() if frame in frames}
        if not self.per_object:
            return None if groups else set()
        return {object_id(group) for group in groups}

    def save(self, folder: Path, frame: str, masks: dict[int, BoolMask], shape: tuple[int, int]) -> None:
        """Writes predicted masks in the layout of the annotations; no file is ever there in part.

        Args:
            folder: this sequence's folder.
            frame: the frame's name.
            masks: (H, W) by object id.
            shape: (H, W).
        """
        nothing = np.zeros(shape, bool)
        if self.per_object:
            for group in self.annotations:
                mask = masks.get(object_id(group), nothing)
                _write(folder / group / f"{frame}.png", mask.astype(np.uint8), save_palette_png)
        elif self.single_object or not self._indexed:
            _write(folder / f"{frame}.png", masks.get(1, nothing), save_mask_png)
        else:
            ids = np.zeros(shape, np.uint8)
            for number, mask in masks.items():
                ids[mask] = number
            _write(folder / f"{frame}.png", ids, save_palette_png)

    def _read(self, files: Mapping[str, Path | None]) -> dict[int, BoolMask]:
        found: dict[int, BoolMask] = {}
        for group, path in files.items():
            if path is None:
                continue
            try:
                ids = load_id_image(path)
            except FileNotFoundError as error:
                raise DatasetError(f"{path}: no such file") from error
            except ValueError as error:
                raise DatasetError(str(error)) from error
            if group:
                found[object_id(group)] = ids > 0
            elif self.single_object:
                found[1] = ids > 0
            else:
                found |= {int(value): ids == value for value in np.unique(ids) if value}
        return found

    @cached_property
    def _counted(self) -> dict[str, set[str]]:
        """Per group the frames that count; an annotation without its picture is none."""
        shown = [path.stem for path in self.frames]
        return {
            group: {*[name for name in shown if name in files][1:-1]}
            for group, files in self.annotations.items()
        }

    @cached_property
    def _indexed(self) -> bool:
        return is_indexed(next(iter(self.annotations[""].values())))


def _write(path: Path, pixels: NDArray[Any], save: Callable[[Path, Any], None]) -> None:
    """Writes a PNG beside its place, then moves it there: a killed process leaves no half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    save(partial, pixels)
    partial.replace(path)


def object_id(folder: str) -> int:
    """SA-V counts its objects from 000; ids begin at 1."""
    return int(folder) + 1


def find_sequences(
    root: str | Path, names: list[str] | None = None, single_object: bool = False
) -> list[VideoSequence]:
    """The annotated videos below a folder, by name.

    Args:
        root: laid out like DAVIS, MOSE or SA-V.
        names: only these sequences; None: all that have annotations.
        single_object: take all objects of a PNG together, as DAVIS 2016 does with the annotations of 2017.

    Raises:
        DatasetError: no known layout, an unknown name, a sequence without frames or annotations.
    """
    root = Path(root)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; expected one laid out like DAVIS, MOSE or SA-V")
    for frames, annotated in LAYOUTS:
        frame_root, annotation_root = root / frames, root / annotated
        if any(annotation_root.glob("*/*.png")) or any(annotation_root.glob("*/*/*.png")):
            break
    else:
        tried = ", ".join(annotated for _, annotated in LAYOUTS)
        raise DatasetError(
            f"{root}: no annotations in any of {tried} below it; expected SEQUENCE/00000.png there"
        )
    known = [
        folder.name
        for folder in _folders(annotation_root)
        if any(folder.glob("*.png")) or any(folder.glob("*/*.png"))
    ]
    names = known if names is None else list(dict.fromkeys(names))
    if not names:
        raise DatasetError(f"{annotation_root}: no sequence is named; there are {', '.join(known)}")
    for name in names:
        if name not in known:
            raise DatasetError(f"{annotation_root}: has no sequence {name!r}; there are {', '.join(known)}")
    return [_sequence(frame_root / name, annotation_root / name, single_object) for name in names]


def _sequence(frames: Path, annotations: Path, single_object: bool) -> VideoSequence:
    if not frames.is_dir():
        raise DatasetError(f"{frames}: no such folder, although {annotations} has annotations")
    pictures = tuple(files_by_number(frames, FRAME_SUFFIXES))
    if not pictures:
        raise DatasetError(f"{frames}: no .jpg or .png frames")
    if twice := repeated_name(pictures):
        raise DatasetError(f"{frames}: has several frames called {twice}: leave one of them")
    groups = {"": _files(annotations)}
    if not groups[""]:
        groups = {folder.name: _files(folder) for folder in _folders(annotations)}
    if not any(groups.values()) or not all(group.isdecimal() or not group for group in groups):
        raise DatasetError(
            f"{annotations}: expected 00000.png, or a numbered folder per object with 00000.png"
        )
    if not {path.stem for path in pictures} & {frame for files in groups.values() for frame in files}:
        raise DatasetError(
            f"{annotations}: none of its files has the name of a picture in {frames}, "
            f"such as {pictures[0].stem}.png"
        )
    beyond = [group for group in groups if group and object_id(group) > MAX_OBJECT_ID]
    if beyond:
        raise DatasetError(f"{annotations}: object {beyond[0]} is out of range: name folders 000 to 254")
    return VideoSequence(annotations.name, pictures, groups, single_object)


def _folders(folder: Path) -> list[Path]:
    """What a folder holds of folders, by name, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> dict[str, Path]:
    return {path.stem: path for path in files_by_number(folder, (".png",))}
