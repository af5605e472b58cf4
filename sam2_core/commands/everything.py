"""`sam2 everything`: every mask of a picture."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from ..configs import MODELS, EverythingConfig
from ..mask_generator import MaskGenerator
from ..masks import decode_rle, overlay_all
from ..paths import expanded
from ..sources import read_picture
from .common import (
    CommandError,
    add_model_options,
    check_outputs,
    check_picture,
    load,
    positive,
    write_json,
    write_picture,
)

OPTIONS: tuple[tuple[str, type, str], ...] = (
    ("points_per_side", int, "the grid of points has its square of points"),
    ("points_per_batch", int, "points the decoder takes at once"),
    ("pred_iou_thresh", float, "least predicted IoU of a mask"),
    ("stability_score_thresh", float, "least stability of a mask"),
    ("stability_score_offset", float, "how far the thresholds of the stability lie from --mask-threshold"),
    ("mask_threshold", float, "logits above it belong to the mask"),
    ("box_nms_thresh", float, "IoU of boxes from which on the better mask stays alone"),
    ("crop_n_layers", int, "layers of crops beside the whole picture: finds small things, takes longer"),
    ("crop_nms_thresh", float, "like --box-nms-thresh, between crops"),
    ("crop_overlap_ratio", float, "overlap of the first layer's crops, as a share of the shorter side"),
    ("crop_n_points_downscale_factor", int, "points per side are divided by it from layer to layer"),
    ("min_mask_region_area", int, "holes and specks up to this area are removed"),
)
"""The generator's options that are numbers: name, type, what it means."""


def add(commands: Any) -> None:
    """Declares the command."""
    parser = commands.add_parser(
        "everything",
        help="find every mask of a picture",
        description="Find the masks of everything in a picture, and print their count and the time it took.",
    )
    parser.add_argument("photo", type=expanded, metavar="PHOTO", help="a picture file")
    outputs = parser.add_argument_group("outputs", "without any: the picture, as NAME_everything.png")
    outputs.add_argument(
        "-o", "--output", type=expanded, metavar="FILE", help="the picture with every mask in its colour"
    )
    outputs.add_argument("--show", action="store_true", help="show it in a window")
    outputs.add_argument(
        "--json", type=expanded, metavar="FILE", help="the masks as COCO run-length codes, with SAM's keys"
    )
    outputs.add_argument(
        "--alpha", type=float, default=0.5, help="weight of the colours; default: %(default)s"
    )
    group = parser.add_argument_group("what to look for", "defaults: those of SAM; sam2_nano has some own")
    for name, kind, text in OPTIONS:
        reader: Any = (
            positive if kind is int and name not in ("crop_n_layers", "min_mask_region_area") else kind
        )
        group.add_argument(_flag(name), type=reader, metavar="N", help=f"{text}; {_defaults(name)}")
    group.add_argument("--use-m2m", action="store_true", help="ask once more with each mask as the prompt")
    group.add_argument(
        "--multimask-output",
        action=argparse.BooleanOptionalAction,
        help=f"three masks per point instead of one; {_defaults('multimask_output')}",
    )
    add_model_options(parser)
    parser.set_defaults(run=run)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _defaults(name: str) -> str:
    """SAM's default of an option, and where models have their own, theirs."""
    common = getattr(EverythingConfig if hasattr(EverythingConfig, name) else MaskGenerator, name)
    own = {model: getattr(config.everything, name, common) for model, config in MODELS.items()}
    others = [f"{model} {_text(value)}" for model, value in own.items() if value != common]
    return ", ".join([_text(common), *others])


def _text(value: float | bool) -> str:
    return f"{value:g}" if not isinstance(value, bool) else "yes" if value else "no"


def run(options: argparse.Namespace) -> None:
    """Finds the masks; writes, shows and counts them."""
    from ..window import WITHOUT_SHOW, require_display, show

    if options.show:
        require_display(WITHOUT_SHOW)
    if not 0 <= options.alpha <= 1:
        raise CommandError(f"--alpha {options.alpha} is not between 0 and 1")
    if options.output is None and not (options.show or options.json):
        options.output = Path(f"{options.photo.stem}_everything.png")
    files = {"--output": options.output, "--json": options.json}
    check_outputs(files, inputs=[options.photo, options.checkpoint])
    check_picture("--output", options.output)
    image = read_picture(options.photo)
    names = (*(name for name, _, _ in OPTIONS), "multimask_output", "use_m2m")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    try:
        generator = MaskGenerator(load(options), **given, output_mode="coco_rle")
    except ValueError as error:
        raise CommandError(str(error)) from error
    begin = time.perf_counter()
    found = generator.generate(image)
    print(f"{len(found)} masks in {time.perf_counter() - begin:.2f} s")
    if not found:
        print(
            "sam2 everything: lower --pred-iou-thresh or --stability-score-thresh to see weaker masks, too",
            file=sys.stderr,
        )
    if options.json:
        write_json(options.json, found)
    if not (options.output or options.show):
        return
    picture = overlay_all(image, [decode_rle(entry["segmentation"]) for entry in found], options.alpha)
    if options.output:
        write_picture(options.output, picture)
    if options.show:
        show(picture, options.photo.name)
