"""`sam2 image`: segment objects in a picture."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image_predictor import ImagePredictor
from ..masks import BoolMask, area, composite, encode_rle, mask_to_box, overlay, save_palette_png
from ..paths import expanded
from ..prompt_script import add_prompt_options, files_read, script_from_options
from ..prompts import Prompt
from ..sources import read_picture
from .common import (
    CommandError,
    add_model_options,
    check_outputs,
    check_picture,
    load,
    write_json,
    write_picture,
)


@dataclass(frozen=True, eq=False)
class Segment:
    """One object in the picture.

    Attributes:
        object_id: 1 to 255.
        label: its name, or empty.
        mask: bool (H, W).
        score: predicted IoU.
        mask_logits: float32 (h, w), low resolution.
    """

    object_id: int
    label: str
    mask: BoolMask
    score: float
    mask_logits: NDArray[np.float32]


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "image",
        help="segment objects in a picture",
        description="Segment objects in a picture, shown by points, a box or a rough mask. Without any of "
        "these a window opens in which one clicks on them.",
        epilog="example: sam2 image photo.jpg --point 320,240 --point 20,20,0 -o out.png",
    )
    parser.add_argument("photo", type=expanded, metavar="PHOTO", help="a picture file")
    add_prompt_options(parser, video=False)
    outputs = parser.add_argument_group("outputs", "without any: the picture, as NAME_sam2.png")
    outputs.add_argument(
        "-o", "--output", type=expanded, metavar="FILE", help="the picture with the masks over it"
    )
    outputs.add_argument("--show", action="store_true", help="show it in a window")
    outputs.add_argument("--ids", type=expanded, metavar="FILE", help="the objects' ids as an indexed PNG")
    outputs.add_argument(
        "--json", type=expanded, metavar="FILE", help="masks as COCO run-length codes, with boxes"
    )
    outputs.add_argument(
        "--alpha", type=float, default=0.5, help="weight of the overlay's colours; default: %(default)s"
    )
    add_model_options(parser)
    parser.set_defaults(run=run, script=None)


def run(options: argparse.Namespace) -> None:
    """Segments what the prompts show and writes, shows and prints the result."""
    from ..window import WITHOUT_PROMPTS, WITHOUT_SHOW, ask_prompts, require_display, show

    prompts = script_from_options(options.script).get(0, [])
    if options.show or not prompts:
        require_display(WITHOUT_SHOW if prompts else WITHOUT_PROMPTS)
    if not 0 <= options.alpha <= 1:
        raise CommandError(f"--alpha {options.alpha} is not between 0 and 1")
    if options.output is None and not (options.show or options.ids or options.json):
        options.output = Path(f"{options.photo.stem}_sam2.png")
    files = {"--output": options.output, "--ids": options.ids, "--json": options.json}
    check_outputs(files, inputs=[options.photo, *files_read(options)])
    check_picture("--output", options.output)
    if options.ids is not None and options.ids.suffix.lower() != ".png":
        raise CommandError(f"--ids {options.ids}: give a name that ends in .png")
    image = read_picture(options.photo)
    for prompt in prompts:
        prompt.check_against(*image.shape[:2])
    predictor = ImagePredictor(load(options))
    begin = time.perf_counter()
    predictor.set_image(image)
    encoding = time.perf_counter() - begin
    if not prompts:
        prompts = ask_prompts(
            image, options.photo.name, lambda given: overlay(image, segment(predictor, given), options.alpha)
        )
    if not prompts:
        raise CommandError("no object was shown")
    segments = segment(predictor, prompts)
    for found in segments:
        box = mask_to_box(found.mask)
        place = (
            "empty" if box is None else f"{area(found.mask)} pixels in {', '.join(map(str, box.tolist()))}"
        )
        print(f"object {found.object_id} {found.label}".rstrip() + f": {place}, score {found.score:.3f}")
    print(f"image encoded in {encoding:.2f} s, all in {time.perf_counter() - begin:.2f} s")
    picture = overlay(image, segments, options.alpha)
    _write(options, picture, segments)
    if options.show:
        show(picture, options.photo.name)


def segment(predictor: ImagePredictor, prompts: Iterable[Prompt]) -> list[Segment]:
    """The best mask for every prompt; a single click is answered by the best of three, where the model has
    them for that.

    Args:
        predictor: its image is set.
        prompts: one per object. A mask is taken as a rough one and refined.
    """
    segments = []
    for number, prompt in enumerate(prompts):
        rough = (
            None if prompt.mask is None else rough_logits(prompt.mask, predictor.model.config.image_size // 4)
        )
        one_click = prompt.points is not None and len(prompt.points) == 1 and prompt.box is None
        several = one_click and predictor.model.wants_candidates(1, begins=True)
        masks, scores, logits = predictor.predict(prompt.points, prompt.labels, prompt.box, rough, several)
        best = int(scores.argmax())
        object_id = prompt.object_id if prompt.object_id is not None else number + 1
        segments.append(Segment(object_id, prompt.label, masks[best], float(scores[best]), logits[best]))
    return segments


def rough_logits(mask: BoolMask, side: int) -> NDArray[np.float32]:
    """A mask (H, W) as low-resolution logits (side, side) of -10 to 10."""
    share = cv2.resize(mask.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(20 * share - 10, np.float32)


def _write(options: argparse.Namespace, picture: NDArray[np.uint8], segments: list[Segment]) -> None:
    if options.output:
        write_picture(options.output, picture)
    if options.ids:
        options.ids.parent.mkdir(parents=True, exist_ok=True)
        save_palette_png(options.ids, composite(segments, picture.shape[:2]))
    if options.json:
        entries = []
        for found in segments:
            box = mask_to_box(found.mask)
            entries.append(
                {
                    "category_id": found.object_id,
                    "label": found.label,
                    "segmentation": encode_rle(found.mask),
                    "bbox": None if box is None else [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "area": area(found.mask),
                    "score": round(found.score, 4),
                }
            )
        write_json(options.json, entries, indent=1)
