"""Every mask of a picture is found as SAM's automatic mask generator finds it."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from reference_weights import reference_frame, reference_tensor
from scene import blue_box, draw
from skimage.data import coffee

from sam2_core import MODELS
from sam2_core.crops import build_point_grid, crops_of
from sam2_core.mask_generator import MaskGenerator, without_small_regions
from sam2_core.masks import decode_rle
from sam2_core.model import SAM2

REFERENCE = Path(__file__).parents[1] / "reference"
CUP = (77, 13, 403, 379)  # with its saucer in the picture of coffee: x, y, width, height, read off by eye
LOOSE = {"pred_iou_thresh": 0.0, "stability_score_thresh": 1e-3}  # all but empty masks


@pytest.fixture(scope="module")
def stand_in() -> SAM2:
    shapes = json.loads((REFERENCE / "state_dict_shapes.json").read_text())["sam2.1_hiera_tiny"]
    model = SAM2(MODELS["sam2.1_hiera_tiny"])
    model.load_state_dict(
        {key: torch.from_numpy(reference_tensor(key, tuple(shape))) for key, shape in shapes.items()}
    )
    return model.eval()


@pytest.mark.parametrize(
    ("label", "options"), [("plain", {}), ("refined", {"use_m2m": True, "multimask_output": False})]
)
def test_the_masks_are_those_of_the_original(stand_in: SAM2, label: str, options: dict) -> None:
    # The original (sam2 1.1.0), with these options, on the same stand-in weights and picture: per mask
    # predicted IoU, stability, area, box, point and crop, and every 8th pixel of the mask.
    expected = np.load(REFERENCE / "mask_generator_tiny21.npz")
    generator = MaskGenerator(
        stand_in,
        points_per_side=4,
        pred_iou_thresh=0.36,
        stability_score_thresh=0.2,
        box_nms_thresh=1.0,
        **options,
    )
    found = generator.generate(reference_frame(0, 1024)[:768])
    numbers = expected[f"{label}_numbers"]
    masks = np.unpackbits(expected[f"{label}_masks"], axis=-1).astype(bool)
    assert len(found) == len(numbers)
    for record, row, mask in zip(found, numbers, masks, strict=True):
        assert [record["predicted_iou"], record["stability_score"]] == pytest.approx(row[:2], abs=5e-3)
        assert record["area"] == pytest.approx(row[2], rel=1e-3)
        assert [*record["bbox"], *record["point_coords"][0], *record["crop_box"]] == pytest.approx(row[3:])
        assert np.mean(record["segmentation"][::8, ::8] == mask) > 0.999


def test_of_masks_with_nearly_the_same_box_only_the_best_stays(nano: SAM2) -> None:
    every = MaskGenerator(nano, points_per_side=6, box_nms_thresh=1.0, **LOOSE).generate(draw(0))
    found = MaskGenerator(nano, points_per_side=6, **LOOSE).generate(draw(0))
    assert 0 < len(found) < len(every)
    assert found[0]["predicted_iou"] == max(record["predicted_iou"] for record in every)
    boxes = [record["bbox"] for record in found]
    shared = coco.iou(np.array(boxes, float), np.array(boxes, float), [0] * len(boxes))
    assert np.triu(shared, 1).max() <= 0.7


def test_masks_without_pixels_are_no_duplicates_of_one_another(nano: SAM2) -> None:
    every = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "multimask_output": False}
    generator = MaskGenerator(nano, points_per_side=2, mask_threshold=1000.0, **every)
    assert [record["area"] for record in generator.generate(draw(0))] == [0, 0, 0, 0]


def test_the_embedded_model_finds_the_things_of_a_photo_with_its_own_settings(nano: SAM2) -> None:
    found = MaskGenerator(nano).generate(coffee())
    x, y, width, height = CUP
    there = [record["segmentation"][y : y + height, x : x + width].sum() for record in found]
    assert any(  # parts of it may be found as well
        inside > 0.9 * record["area"] and inside > 0.6 * width * height
        for inside, record in zip(there, found, strict=True)
    )
    assert len(found) > 1
    assert min(record["predicted_iou"] for record in found) > nano.config.everything.pred_iou_thresh
    grid = [np.array([[0.5, 0.5]])]
    assert MaskGenerator(nano, point_grids=grid).points_per_side is None


def test_settings_of_the_caller_s_pytorch_do_not_matter(small_nano: SAM2) -> None:
    torch.set_default_device("meta")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert MaskGenerator(small_nano, points_per_side=2, **LOOSE).generate(draw(0))
    finally:
        torch.set_default_device(None)


def test_the_forms_of_output_say_the_same(nano: SAM2) -> None:
    forms = {
        mode: MaskGenerator(nano, points_per_side=3, output_mode=mode, **LOOSE).generate(draw(0))
        for mode in ("binary_mask", "uncompressed_rle", "coco_rle")
    }
    assert len({len(records) for records in forms.values()}) == 1
    for plain, long, short in zip(*forms.values(), strict=True):
        assert plain["segmentation"].dtype == bool
        assert (decode_rle(long["segmentation"]) == plain["segmentation"]).all()
        assert (decode_rle(json.loads(json.dumps(short))["segmentation"]) == plain["segmentation"]).all()
        assert plain["area"] == plain["segmentation"].sum() == sum(long["segmentation"]["counts"][1::2])
        rows, columns = np.nonzero(plain["segmentation"])
        assert plain["bbox"] == [columns.min(), rows.min(), np.ptp(columns), np.ptp(rows)]


def test_crops_are_searched_and_their_masks_lie_in_the_whole_picture(nano: SAM2) -> None:
    generator = MaskGenerator(
        nano, points_per_side=6, crop_n_layers=1, box_nms_thresh=0.9, crop_nms_thresh=0.9, **LOOSE
    )
    found = generator.generate(draw(10))
    assert len({tuple(record["crop_box"]) for record in found}) > 1
    for record in found:
        assert record["segmentation"].shape == (240, 320)
        x, y, width, height = record["crop_box"]
        assert x <= record["point_coords"][0][0] < x + width
        assert y <= record["point_coords"][0][1] < y + height
        outside = record["segmentation"].copy()
        outside[y : y + height, x : x + width] = False
        assert not outside.any()


def test_a_stricter_generator_finds_a_part_of_what_a_looser_one_finds(nano: SAM2) -> None:
    options = {"points_per_side": 4, "box_nms_thresh": 1.0}
    loose = MaskGenerator(nano, **options, **LOOSE).generate(draw(0))
    qualities = sorted(record["predicted_iou"] for record in loose)
    middle = qualities[len(qualities) // 2]
    strict = MaskGenerator(nano, **options, pred_iou_thresh=middle, stability_score_thresh=0.0).generate(
        draw(0)
    )
    assert 0 < len(strict) < len(loose)
    assert min(record["predicted_iou"] for record in strict) > middle


def test_own_points_are_asked(nano: SAM2) -> None:
    x_min, y_min, x_max, y_max = blue_box(0)
    middle = np.array([[(x_min + x_max) / 2 / 320, (y_min + y_max) / 2 / 240]])
    found = MaskGenerator(nano, points_per_side=None, point_grids=[middle], **LOOSE).generate(draw(0))
    assert {tuple(record["point_coords"][0]) for record in found} == {
        ((x_min + x_max) / 2, (y_min + y_max) / 2)
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points_per_side": 2, "point_grids": [np.ones((1, 2))]}, "either points_per_side or point_grids"),
        ({"output_mode": "png"}, "output_mode 'png' is unknown"),
        ({"points_per_batch": 0}, "points_per_batch 0"),
        ({"points_per_batch": 1.5}, "points_per_batch 1.5 is not a whole number"),
        ({"points_per_side": 2.5}, "points_per_side 2.5 is not a whole number"),
        ({"pred_iou_thresh": 7}, "pred_iou_thresh 7 is out of range: give 0 to 1"),
        ({"stability_score_thresh": np.nan}, "stability_score_thresh nan is out of range: give 0 to 1"),
        ({"stability_score_offset": np.inf}, "stability_score_offset inf is out of range: give 0 or more"),
        ({"mask_threshold": -np.inf}, "mask_threshold -inf is out of range: give a finite number"),
        ({"box_nms_thresh": -0.1}, "box_nms_thresh -0.1 is out of range"),
        ({"crop_nms_thresh": np.nan}, "crop_nms_thresh nan is out of range"),
        ({"crop_n_layers": -1}, "crop_n_layers -1 is out of range: give 0 or more"),
        ({"crop_overlap_ratio": np.inf}, "crop_overlap_ratio inf is out of range: give 0 to 1"),
        ({"point_grids": [[[0.5, np.nan]]]}, "NaN or infinity in point_grids"),
        ({"point_grids": [[[0.5, 1.5]]]}, "point_grids hold 1.5: give points"),
        ({"point_grids": [[0.5, 0.5]]}, r"point_grids have shape \(2,\) in a layer"),
        ({"points_per_side": None, "point_grids": [np.ones((1, 2))], "crop_n_layers": 1}, "too few"),
    ],
)
def test_a_wrong_option_is_named(small_nano: SAM2, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MaskGenerator(small_nano, **options)


def test_small_holes_are_filled_and_specks_removed() -> None:
    logits = np.full((40, 40), -3.0, np.float32)
    cv2.rectangle(logits, (5, 5), (25, 25), 3.0, -1)
    logits[10:12, 10:12] = -3.0  # a hole of 4
    logits[18:22, 10:15] = -3.0  # a hole of 20
    logits[35, 35:38] = 3.0  # a speck of 3
    cleaned = without_small_regions(logits, 4) > 0
    assert cleaned[10:12, 10:12].all()
    assert not cleaned[18:22, 10:15].any()
    assert not cleaned[35].any()
    assert without_small_regions(logits, 2)[35, 36] > 0


def test_the_grid_s_points_stand_in_the_middle_of_equal_cells() -> None:
    assert build_point_grid(2).tolist() == [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]]
    assert len(build_point_grid(32)) == 1024


def test_crops_of_a_layer_overlap_and_cover_the_picture() -> None:
    crops = crops_of((300, 450), 2, 512 / 1500)
    assert [sum(crop.layer == layer for crop in crops) for layer in range(3)] == [1, 4, 16]
    for layer in (1, 2):
        covered = np.zeros((300, 450), int)
        for crop in crops:
            if crop.layer == layer:
                covered[crop.y_min : crop.y_max, crop.x_min : crop.x_max] += 1
        assert covered.min() == 1
        assert covered.max() > 1


def test_a_box_at_the_edge_of_a_crop_is_cut_but_not_at_the_edge_of_the_picture() -> None:
    left = crops_of((300, 450), 1, 512 / 1500)[1]
    assert left.box[:2] == (0, 0)
    assert not left.cuts((0, 0, 100, 100), (300, 450))
    assert left.cuts((0, 0, left.x_max - 1, 100), (300, 450))
