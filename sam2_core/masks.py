"""What is done with a finished mask: box, area, id image, overlay, run-length code, palette PNG.

Masks are `bool (H, W)` arrays, id images `uint8 (H, W)` arrays whose pixel is the object's id (0: none),
images `uint8 (H, W, 3)` arrays in RGB. Pillow and pycocotools are imported where they are needed, so that
importing this module costs nothing but numpy and OpenCV.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]
IdImage = NDArray[np.uint8]
RgbImage = NDArray[np.uint8]
RunLengths = dict[str, Any]


class TrackLike(Protocol):
    """What this module needs of a `Track`."""

    @property
    def object_id(self) -> int: ...

    @property
    def mask(self) -> BoolMask: ...

    @property
    def mask_logits(self) -> NDArray[np.float32]: ...


def _colour_map() -> NDArray[np.uint8]:
    """The PASCAL VOC colour map, which DAVIS uses: the id's bits, three by three, fill R, G and B."""
    ids = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((ids >> (3 * bit + channel)) & 1) << (7 - bit)).astype(np.uint8)
    return colours


PALETTE: NDArray[np.uint8] = _colour_map()
"""Colours of the object ids, RGB, (256, 3); index 0, the background, is black."""
PALETTE.setflags(write=False)


def mask_to_box(mask: BoolMask) -> NDArray[np.int64] | None:
    """Smallest box around the mask's pixels.

    Returns:
        `(x_min, y_min, x_max, y_max)` in pixels, the maxima exclusive, or None for an empty mask.
    """
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask, bool).view(np.uint8))
    if width == 0:
        return None
    return np.array([x, y, x + width, y + height], np.int64)


def area(mask: BoolMask) -> int:
    """Number of the mask's pixels."""
    return int(np.count_nonzero(mask))


def without_small_pieces(logits: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Mask logits in which small pieces of the mask, far from the rest, no longer count.

    Args:
        logits: (h, w) mask logits; they are not changed.
        share: pieces smaller than this share of the largest one change their sign; 0: none does.
    """
    if share == 0:
        return logits
    count, pieces, statistics, _ = cv2.connectedComponentsWithStats((logits > 0).astype(np.uint8))
    if count <= 2:  # the background and at most one piece
        return logits
    areas = statistics[:, cv2.CC_STAT_AREA]
    small = areas < share * areas[1:].max()
    small[0] = False
    return np.where(small[pieces], -logits, logits)


def composite(tracks: Sequence[TrackLike], shape: tuple[int, int]) -> IdImage:
    """Paints the tracks into one id image.

    Where masks overlap, the object with the higher mask logit wins; equal logits go to the smaller id. The
    low-resolution logits are enlarged bilinearly, and only those of objects that overlap another.

    Args:
        tracks: of one image; those with an empty mask paint nothing.
        shape: (H, W) of the image.

    Raises:
        ValueError: a track's mask is not of that shape.
    """
    height, width = shape
    ids = np.zeros((height, width), np.uint8)
    claims = np.zeros((height, width), np.uint8)
    ordered = sorted(tracks, key=lambda track: track.object_id)
    for track in ordered:
        if track.mask.shape != (height, width):
            raise ValueError(
                f"mask of object {track.object_id} has shape {track.mask.shape}, the image {(height, width)}"
            )
        ids[track.mask] = track.object_id
        claims += track.mask
    contested = claims > 1
    if not contested.any():
        return ids
    best = np.full(int(np.count_nonzero(contested)), -np.inf, np.float32)
    winner = np.zeros(best.shape, np.uint8)
    for track in ordered:
        claimed = track.mask[contested]
        if not claimed.any():
            continue
        logits = cv2.resize(track.mask_logits, (width, height), interpolation=cv2.INTER_LINEAR)[contested]
        wins = claimed & (logits > best)
        best[wins] = logits[wins]
        winner[wins] = track.object_id
    ids[contested] = winner
    return ids


def overlay(image: RgbImage, tracks: Sequence[TrackLike] | IdImage, alpha: float = 0.5) -> RgbImage:
    """Draws the masks over the image, each in its palette colour, with an outline in the full colour.

    Args:
        image: uint8 RGB (H, W, 3); it is not changed.
        tracks: the image's tracks, or their id image.
        alpha: weight of the colours inside the masks, 0 (outline only) to 1.
    """
    ids = tracks if isinstance(tracks, np.ndarray) else composite(tracks, image.shape[:2])
    if ids.shape != image.shape[:2]:
        raise ValueError(f"id image has shape {ids.shape}, the image {image.shape[:2]}")
    result = image.copy()
    box = mask_to_box(ids > 0)
    if box is None:
        return result
    # only where something is to be drawn; a margin, because the outline looks at the neighbours
    margin = _outline_width(ids.shape)
    x_min, y_min = np.maximum(box[:2] - margin, 0)
    x_max, y_max = box[2:] + margin
    part = slice(y_min, y_max), slice(x_min, x_max)
    inner, drawn = np.ascontiguousarray(ids[part]), result[part]
    colours = cv2.LUT(cv2.merge((inner, inner, inner)), PALETTE[None])
    blended = cv2.addWeighted(drawn, 1.0 - alpha, colours, alpha, 0.0)
    painted = cv2.copyTo(blended, inner, drawn.copy())
    result[part] = cv2.copyTo(colours, _outline(inner, margin), painted)
    return result


def overlay_all(image: RgbImage, masks: Sequence[BoolMask], alpha: float = 0.5) -> RgbImage:
    """Draws any number of masks over the image, each in a colour of its own with an outline, small ones on
    top.

    Args:
        image: uint8 RGB (H, W, 3); it is not changed.
        masks: bool (H, W); they may overlap.
        alpha: weight of the colours, 0 (outlines only) to 1.
    """
    ids = np.zeros(image.shape[:2], np.uint16)
    order = sorted(range(len(masks)), key=lambda index: -area(masks[index]))
    for index in order:
        ids[masks[index]] = index + 1
    # Hues a golden section apart: neighbours in the list differ, and no hue comes back soon.
    hues = (np.arange(len(masks) + 1) * 0.618034 % 1 * 180).astype(np.uint8)
    wheel = np.stack((hues, np.full_like(hues, 200), np.full_like(hues, 255)), axis=-1)
    colours = cv2.cvtColor(wheel[None], cv2.COLOR_HSV2RGB)[0][ids]
    result = image.copy()
    np.copyto(result, cv2.addWeighted(image, 1.0 - alpha, colours, alpha, 0.0), where=(ids > 0)[..., None])
    return np.asarray(cv2.copyTo(colours, _outline(ids, _outline_width(ids.shape)), result), np.uint8)


def _outline_width(shape: tuple[int, ...]) -> int:
    """Pixels: two from 720 lines on."""
    return max(1, round(min(shape) / 480))


def _outline(ids: NDArray[np.uint8] | NDArray[np.uint16], width: int) -> NDArray[np.uint8]:
    """Where the objects' own pixels lie so close to something else, uint8 (H, W) of 0 and 1."""
    kernel = np.ones((3, 3), np.uint8)
    highest = cv2.dilate(ids, kernel, iterations=width)
    lowest = cv2.erode(ids, kernel, iterations=width)
    return ((ids > 0) & (highest != lowest)).view(np.uint8)


def encode_rle(mask: BoolMask) -> RunLengths:
    """COCO's compressed run-length code.

    Returns:
        `{"size": [H, W], "counts": text}`, ready for JSON.
    """
    from pycocotools import mask as coco  # type: ignore[import-untyped]

    code = coco.encode(np.asfortranarray(mask, np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def run_lengths(mask: BoolMask) -> RunLengths:
    """COCO's uncompressed run-length code.

    Returns:
        `{"size": [H, W], "counts": [...]}`: lengths of the runs down the columns, beginning with background.
    """
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    counts = np.diff(changes, prepend=0, append=pixels.size).tolist()
    return {"size": list(mask.shape), "counts": [0, *counts] if pixels.size and pixels[0] else counts}


def decode_rle(code: RunLengths) -> BoolMask:
    """The mask of a COCO run-length code, compressed (counts: text) or not (counts: a list).

    Raises:
        ValueError: the code is damaged: its runs do not fill the mask.
    """
    # not by pycocotools: a robot's node runs without, and it fills at random what a damaged code leaves out
    height, width = (int(side) for side in code["size"])
    counts = code["counts"]
    if isinstance(counts, bytes):
        counts = counts.decode("ascii")
    runs = _runs_of_text(counts) if isinstance(counts, str) else [int(count) for count in counts]
    if (least := min(height, width, *runs)) < 0:
        raise ValueError(f"a run of {least} pixels")
    if sum(runs) != height * width:
        raise ValueError(f"runs of {sum(runs)} pixels for a mask of {width} x {height}")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape((height, width), order="F")


def _runs_of_text(text: str) -> list[int]:
    """The runs of a compressed code: six bits a character, lowest first, the fourth run and those after it as
    differences from the one before the last (COCO's `maskApi.c`, rleFrString).
    """
    runs: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f"character {character!r} does not belong to a run-length code")
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:  # the number goes on
            continue
        if bits & 16:  # it is negative
            number -= 1 << shift
        runs.append(number + (runs[-2] if len(runs) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError("the run-length code ends within a number")
    return runs


def save_palette_png(path: str | Path, ids: IdImage) -> None:
    """Writes an id image as an indexed PNG in the DAVIS palette."""
    from PIL import Image

    png = Image.fromarray(np.ascontiguousarray(ids, np.uint8))
    png.putpalette(PALETTE.tobytes())
    png.save(path, format="PNG")


def save_mask_png(path: str | Path, mask: BoolMask) -> None:
    """Writes a mask (H, W) as a grey PNG: 255 where the object is."""
    from PIL import Image

    Image.fromarray(np.asarray(mask, np.uint8) * np.uint8(255)).save(path, format="PNG")


def is_indexed(path: str | Path) -> bool:
    """Whether a picture has a palette, so that its values are ids."""
    from PIL import Image

    with Image.open(path) as picture:
        return picture.mode == "P"


def load_id_image(path: str | Path) -> IdImage:
    """Reads an annotation as an id image.

    An indexed PNG's indices are the ids. In any other picture, what is not black is object 1, or, where it is
    transparent in places, what is not.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a readable picture; its path is named.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode == "P":
                return np.array(picture, np.uint8)
            alpha = picture.getchannel("A") if "A" in picture.getbands() else None
            if alpha is not None and alpha.getextrema()[0] < 255:
                values = np.asarray(alpha)
            else:
                values = np.asarray(
                    picture if picture.mode in ("L", "1", "I;16", "I") else picture.convert("RGB")
                )
    except FileNotFoundError:
        raise
    except (
        OSError,
        SyntaxError,
    ) as error:  # Pillow's own errors are OSErrors, its PNG reader's a SyntaxError
        raise ValueError(f"{path}: not a readable mask image ({error}); expected a PNG") from error
    marked = values.any(axis=-1) if values.ndim == 3 else values != 0
    return np.asarray(marked, np.uint8)
