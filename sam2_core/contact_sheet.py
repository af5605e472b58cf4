"""One picture of a whole evaluation: rows are sequences, columns frames, outlines tell right from wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .datasets import VideoSequence
from .evaluation import make_prompt, read_frame
from .evaluation_results import SequenceResult
from .masks import BoolMask, RgbImage
from .metrics import region_similarity

TRUTH, PREDICTION, PROMPT = (0, 230, 0), (255, 0, 200), (255, 230, 0)
"""Colours (RGB) of the annotation's outline, of the predicted one with its tint, and of the box or click."""

COLUMNS, WIDTH, MARGIN = 8, 240, 150
"""How many frames are shown, how wide each, and how wide the margin is; pixels."""

TINT = 0.35
HEADER = 28
FONT = cv2.FONT_HERSHEY_SIMPLEX


def contact_sheet(rows: Sequence[RgbImage], title: str) -> RgbImage:
    """The rows below one another, under a legend: uint8 RGB.

    Args:
        rows: from `sheet_row`.
        title: what was evaluated.
    """
    header = np.full((HEADER, rows[0].shape[1], 3), 255, np.uint8)
    x = _write(header, title, 8, (0, 0, 0)) + 24
    for text, colour in (("annotation", TRUTH), ("prediction", PREDICTION), ("prompt", PROMPT)):
        cv2.rectangle(header, (x, 8), (x + 14, 20), colour, -1)
        x = _write(header, text, x + 20, (0, 0, 0)) + 18
    return np.vstack([header, *rows])


def sheet_row(sequence: VideoSequence, folder: Path, result: SequenceResult, prompt: str | None) -> RgbImage:
    """One sequence: its name and J&F in the margin, then frames spread evenly from the first annotated one.

    Args:
        sequence: see `find_sequences`.
        folder: with the sequence's predicted masks, as `VideoSequence.save` writes them.
        result: of the sequence.
        prompt: what was shown of the objects, see `make_prompt`: it is drawn where they begin; None: nothing.
    """
    names = sequence.annotated
    if len(names) < 2:  # only what was shown is annotated
        names = [path.stem for path in sequence.frames]
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, COLUMNS).round().astype(int)]
    paths = {path.stem: path for path in sequence.frames}
    cells = [
        _cell(
            paths[name],
            sequence.masks(name),
            sequence.saved_masks(folder, name),
            prompt if name == names[0] else None,
        )
        for name in chosen
    ]
    height = max(cell.shape[0] for cell in cells)  # frames may differ in shape
    cells = [np.pad(c, ((0, height - len(c)), (0, 0), (0, 0)), constant_values=255) for c in cells]
    margin = np.full((height, MARGIN, 3), 255, np.uint8)
    _write(margin, sequence.name, 8, (0, 0, 0), 24)
    if result.objects:
        _write(margin, f"J&F {100 * result.score.jf:.1f}", 8, (0, 0, 0), 48)
    return np.hstack([margin, *cells])


def _cell(path: Path, truth: dict[int, BoolMask], found: dict[int, BoolMask], prompt: str | None) -> RgbImage:
    """One frame, scaled down, with the masks over it."""
    image = read_frame(path)
    scale = WIDTH / image.shape[1]
    size = (WIDTH, round(image.shape[0] * scale))
    cell = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    for mask in found.values():
        inside = _scaled(mask, size)
        cell[inside] = ((1 - TINT) * cell[inside] + TINT * np.array(PREDICTION)).astype(np.uint8)
    for masks, colour in ((truth, TRUTH), (found, PREDICTION)):
        for mask in masks.values():
            contours, _ = cv2.findContours(
                _scaled(mask, size).view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE
            )
            cv2.drawContours(cell, contours, -1, colour, 1)
    if prompt is not None:
        for number, mask in truth.items():
            _draw_prompt(cell, number, mask, prompt, scale)
    scores = [region_similarity(found[i], mask) for i, mask in truth.items() if i in found]
    text = f"{path.stem}  J {100 * np.mean(scores):.0f}" if scores else path.stem
    _write(cell, text, 4, (255, 255, 255), size[1] - 6, shadow=True)
    return cell


def _scaled(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    """A mask in the size (width, height) of a cell; a pixel is inside where half of what it covers is."""
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5


def _draw_prompt(cell: RgbImage, number: int, mask: BoolMask, kind: str, scale: float) -> None:
    if not mask.any():
        return
    prompt = make_prompt(number, mask, kind)
    if prompt.box is not None:
        x_min, y_min, x_max, y_max = (int(side * scale) for side in prompt.box)
        cv2.rectangle(cell, (x_min, y_min), (x_max, y_max), PROMPT, 1)
    if prompt.points is not None:
        for x, y in prompt.points * scale:
            cv2.circle(cell, (int(x), int(y)), 4, (0, 0, 0), -1)
            cv2.circle(cell, (int(x), int(y)), 3, PROMPT, -1)


def _write(
    picture: RgbImage, text: str, x: int, colour: tuple[int, int, int], y: int = 19, shadow: bool = False
) -> int:
    """Writes a line of text from (x, y) on. Returns: where it ends."""
    if shadow:
        cv2.putText(picture, text, (x, y), FONT, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (x, y), FONT, 0.42, colour, 1, cv2.LINE_AA)
    return x + cv2.getTextSize(text, FONT, 0.42, 1)[0][0]
