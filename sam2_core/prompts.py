"""Prompts: what a person may say of an object. Checked once, here."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import check_number

MAX_OBJECT_ID = 255
MAX_POINTS = 256


class PromptError(ValueError):
    """A request that cannot be followed; the message names the value and the way out. Nothing has changed."""


@dataclass(frozen=True, eq=False)
class Prompt:
    """Points, a box or a mask for one object in one image.

    Attributes:
        object_id: 1 to 255; None: a new object under the smallest free id.
        points: (N, 2) float32 pixels, x right and y down, or None.
        labels: (N,) int32, 1 on the object, 0 on the background; None: all 1.
        box: (4,) float32 x_min, y_min, x_max, y_max in pixels, or None. May come together with points.
        mask: bool (H, W) of the image's size, or None. Excludes points and box.
        label: a name for the object; empty: keep the name it has, which it loses by a restart.
        restart: forget the object first, if it is known.

    Raises:
        PromptError: the prompt can't be right in any image.
    """

    object_id: int | None
    points: Any = None
    labels: Any = None
    box: Any = None
    mask: Any = None
    label: str = ""
    restart: bool = False

    def __post_init__(self) -> None:
        if self.object_id is not None:
            _set(self, "object_id", check_object_id(self.object_id))
        if not isinstance(self.label, str):
            raise PromptError(f"label {self.label!r} is a {type(self.label).__name__}: give a string")
        if not isinstance(self.restart, (bool, np.bool_)):
            raise PromptError(
                f"restart {self.restart!r} is a {type(self.restart).__name__}: give true or false"
            )
        if self.mask is not None and (self.points is not None or self.box is not None):
            raise PromptError("a mask comes alone: give a mask, or points and a box")
        if self.mask is None and self.points is None and self.box is None:
            raise PromptError("the prompt is empty: give points, a box or a mask")
        if self.labels is not None and self.points is None:
            raise PromptError("labels without points: give one point (x, y) for every label")
        if self.points is not None:
            points = _points(self.points)
            _set(self, "points", points)
            _set(self, "labels", _labels(self.labels, len(points)))
        if self.box is not None:
            _set(self, "box", _box(self.box))
        if self.mask is not None:
            _set(self, "mask", _mask(self.mask))

    def check_against(self, height: int, width: int) -> None:
        """Refuse what does not fit an image of this size.

        Raises:
            PromptError: a point outside, a box without overlap, a mask of another size.
        """
        if self.points is not None:
            outside = (self.points < 0).any(axis=1) | (self.points >= (width, height)).any(axis=1)
            if outside.any():
                x, y = self.points[outside][0]
                raise PromptError(
                    f"point ({x:g}, {y:g}) lies outside the image of {width} x {height} pixels: "
                    f"give 0 <= x < {width} and 0 <= y < {height}"
                )
        if self.box is not None:
            x_min, y_min, x_max, y_max = self.box
            if x_min >= width or y_min >= height or x_max <= 0 or y_max <= 0:
                raise PromptError(
                    f"box {_numbers(self.box)} does not touch the image of {width} x {height} pixels: "
                    "give x_min, y_min, x_max, y_max in pixels of this image"
                )
        if self.mask is not None and self.mask.shape != (height, width):
            raise PromptError(
                f"mask of {self.mask.shape[1]} x {self.mask.shape[0]} pixels for an image of "
                f"{width} x {height}: "
                "give a mask of the image's size"
            )

    def as_points(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Box and points as SAM takes them: the box's corners first, under the labels 2 and 3.

        Returns: (P, 2) float32 pixels of the image, the box clipped to it, and (P,) int32.
        """
        points = np.zeros((0, 2), np.float32) if self.points is None else self.points
        labels = np.zeros(0, np.int32) if self.labels is None else self.labels
        if self.box is not None:
            corners = np.clip(self.box.reshape(2, 2), 0, (width, height)).astype(np.float32)
            points = np.concatenate((corners, points))
            labels = np.concatenate((np.array([2, 3], np.int32), labels))
        return points, labels


def _set(prompt: Prompt, name: str, value: Any) -> None:
    object.__setattr__(prompt, name, value)


def _numbers(values: Any) -> str:
    return "(" + ", ".join(f"{v:g}" for v in np.asarray(values, np.float64).ravel()) + ")"


def check_object_id(value: Any) -> int:
    """An object's id as Python's int.

    Raises:
        PromptError: it is no whole number from 1 to 255.
    """
    check_number("object id", value, 1, MAX_OBJECT_ID, whole=True, error=PromptError)
    return int(value)


def as_list(values: Any, what: str, form: str) -> list[Any]:
    """What a caller gave as an iterable, as a list.

    Raises:
        PromptError: it is something else.
    """
    try:
        iterator = iter(values)
    except TypeError:
        raise PromptError(f"{what} {reprlib.repr(values)} are no list: give {form}") from None
    return list(iterator)


def as_array(values: Any, what: str, form: str) -> NDArray[Any]:
    """What a caller gave, as an array; a tensor may lie on any device.

    Raises:
        PromptError: it can't be read.
    """
    try:
        return np.asarray(_on_cpu(values) if isinstance(values, Tensor) else values)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise PromptError(f"{what} can't be read as numbers ({error}): give {form}") from None


def _on_cpu(tensor: Tensor) -> Tensor:
    """Where NumPy can read it; it has no bfloat16."""
    return tensor.detach().cpu().float() if tensor.dtype == torch.bfloat16 else tensor.detach().cpu()


def as_numbers(values: Any, what: str, form: str) -> NDArray[np.float64]:
    """What a caller gave, as an array of numbers that are finite in float32, too.

    Raises:
        PromptError: it can't be read, or one of the numbers is not finite.
    """
    given = as_array(values, what, form)
    try:
        if given.dtype.kind not in "biufO":  # text and complex numbers would be converted, too
            raise TypeError(f"{reprlib.repr(values)} is {given.dtype}")
        array = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PromptError(f"{what} can't be read as numbers ({error}): give {form}") from None
    with np.errstate(over="ignore"):  # too large a number becomes infinite, and is refused as such
        single = array.astype(np.float32)
    if not np.isfinite(single).all():
        shown = shorten(_numbers(single), 120, placeholder=" ...)")
        raise PromptError(f"NaN or infinity in {what} {shown}: give {form}")
    return array


def _points(values: Any) -> NDArray[np.float32]:
    form = "N points (x, y) in pixels"
    points = as_numbers(values, "points", form)
    if points.ndim and len(points) > MAX_POINTS:
        raise PromptError(f"{len(points)} points are too many: give at most {MAX_POINTS}")
    if points.ndim != 2 or points.shape[1] != 2:
        raise PromptError(f"points have shape {points.shape}: give {form}")
    if not len(points):
        raise PromptError(f"there are no points: give {form}")
    single = points.astype(np.float32)
    # rounding must not carry a point into the next pixel, for that may lie outside the image
    return np.where(np.floor(single) > points, np.nextafter(single, np.float32(-np.inf)), single)


def _labels(values: Any, count: int) -> NDArray[np.int32]:
    if values is None:
        return np.ones(count, np.int32)
    labels = as_numbers(values, "labels", "1 for the object or 0 for the background")
    if labels.ndim != 1:
        raise PromptError(f"labels have shape {labels.shape}: give N labels, one for every point")
    if len(labels) != count:
        raise PromptError(f"{len(labels)} labels for {count} points: give one label for every point")
    wrong = labels[(labels != 0) & (labels != 1)]
    if wrong.size:
        raise PromptError(f"label {wrong[0]:g} is unknown: give 1 for the object or 0 for the background")
    return labels.astype(np.int32)


def _box(values: Any) -> NDArray[np.float32]:
    form = "x_min, y_min, x_max, y_max in pixels"
    box = as_numbers(values, "box", form).astype(np.float32)
    if box.shape != (4,):
        raise PromptError(f"box has shape {box.shape}: give {form}")
    for axis, low, high in (("x", box[0], box[2]), ("y", box[1], box[3])):
        if low >= high:
            raise PromptError(f"box {_numbers(box)} has {axis}_min >= {axis}_max: give {form}")
    return box


def _mask(values: Any) -> NDArray[np.bool_]:
    mask = as_array(values, "mask", "bool (H, W)")
    if mask.ndim != 2 or mask.dtype not in (np.bool_, np.uint8):
        raise PromptError(
            f"mask is {mask.dtype} {mask.shape}: give bool (H, W), or uint8 with the object non-zero"
        )
    if not mask.any():
        raise PromptError("the mask is empty: mark at least one pixel of the object")
    return mask != 0
