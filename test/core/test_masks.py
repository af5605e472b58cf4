"""Masks become boxes, id images, overlays, run-length codes and PNGs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from sam2_core import masks


@dataclass
class FakeTrack:
    object_id: int
    mask: np.ndarray
    mask_logits: np.ndarray


def rectangle(
    x_min: int, y_min: int, x_max: int, y_max: int, shape: tuple[int, int] = (40, 60)
) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[y_min:y_max, x_min:x_max] = True
    return mask


def track(object_id: int, mask: np.ndarray, logit: float) -> FakeTrack:
    return FakeTrack(object_id, mask, np.full((10, 10), logit, np.float32))


def test_a_box_holds_the_mask_and_its_maxima_are_exclusive() -> None:
    assert masks.mask_to_box(rectangle(3, 5, 20, 9)).tolist() == [3, 5, 20, 9]
    assert masks.mask_to_box(rectangle(59, 39, 60, 40)).tolist() == [59, 39, 60, 40]
    assert masks.mask_to_box(rectangle(3, 5, 20, 9)[:, ::-1].T).tolist() == [5, 40, 9, 57]


def test_an_empty_mask_has_no_box_and_no_area() -> None:
    assert masks.mask_to_box(np.zeros((4, 4), bool)) is None
    assert masks.area(np.zeros((4, 4), bool)) == 0
    assert masks.area(rectangle(3, 5, 20, 9)) == 17 * 4


def test_where_masks_overlap_the_higher_logit_wins() -> None:
    tracks = [track(7, rectangle(0, 0, 30, 40), 1.0), track(2, rectangle(20, 0, 60, 40), 3.0)]
    ids = masks.composite(tracks, (40, 60))
    assert (ids[:, :20] == 7).all()
    assert (ids[:, 20:] == 2).all()


def test_the_contest_is_decided_pixel_by_pixel() -> None:
    ramp = np.tile(np.linspace(-8, 8, 10, dtype=np.float32), (10, 1))
    everywhere = np.ones((40, 60), bool)
    ids = masks.composite([FakeTrack(1, everywhere, ramp), FakeTrack(2, everywhere, -ramp)], (40, 60))
    assert (ids[:, :28] == 2).all()
    assert (ids[:, 32:] == 1).all()


def test_a_high_logit_outside_its_own_mask_wins_nothing() -> None:
    tracks = [
        track(1, rectangle(0, 0, 30, 40), 1.0),
        track(2, rectangle(20, 0, 60, 40), 2.0),
        track(3, np.zeros((40, 60), bool), 99.0),
    ]
    assert set(np.unique(masks.composite(tracks, (40, 60)))) == {1, 2}


def test_no_tracks_make_an_empty_id_image() -> None:
    assert not masks.composite([], (40, 60)).any()


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="object 5"):
        masks.composite([track(5, rectangle(0, 0, 3, 3), 1.0)], (41, 60))


def test_the_overlay_colours_the_object_and_nothing_else() -> None:
    image = np.full((40, 60, 3), 100, np.uint8)
    mask = rectangle(10, 10, 30, 30)
    picture = masks.overlay(image, [track(1, mask, 1.0)], alpha=0.5)
    assert (picture[~mask] == 100).all()
    assert picture[20, 20].tolist() == [114, 50, 50]
    assert picture[10, 20].tolist() == masks.PALETTE[1].tolist(), "the outline has the full colour"
    assert (image == 100).all(), "the image itself is left alone"
    assert (picture == masks.overlay(image, mask.astype(np.uint8), alpha=0.5)).all()


def test_the_palette_is_that_of_davis() -> None:
    assert masks.PALETTE[:4].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert masks.PALETTE[22].tolist() == [0, 192, 128]
    assert masks.PALETTE[255].tolist() == [224, 224, 192]
    assert len({tuple(colour) for colour in masks.PALETTE.tolist()}) == 256


def test_run_lengths_survive_json() -> None:
    mask = np.random.default_rng(0).random((37, 53)) > 0.6
    code = json.loads(json.dumps(masks.encode_rle(mask)))
    assert code["size"] == [37, 53]
    assert (masks.decode_rle(code) == mask).all()


def test_uncompressed_run_lengths_are_understood() -> None:
    # COCO counts down the columns, beginning with background.
    mask = masks.decode_rle({"size": [3, 2], "counts": [1, 3, 2]})
    assert mask.tolist() == [[False, True], [True, False], [True, False]]


@pytest.mark.parametrize("counts", ["", "0", "p", "~", "é", [], [1, 3], [1, 3, 2, 1], [7, -1], [10**13]])
def test_a_damaged_run_length_code_is_refused(counts: object) -> None:
    with pytest.raises(ValueError, match="run"):
        masks.decode_rle({"size": [3, 2], "counts": counts})


def test_run_lengths_are_those_of_pycocotools() -> None:
    random = np.random.default_rng(1)
    for share in (0.0, 0.02, 0.5, 1.0):
        mask = random.random((61, 47)) < share
        assert (masks.decode_rle(coco.encode(np.asfortranarray(mask, np.uint8))) == mask).all()


def test_an_id_image_survives_a_palette_png(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 256, (20, 30), np.uint8)
    masks.save_palette_png(tmp_path / "ids.png", ids)
    assert (masks.load_id_image(tmp_path / "ids.png") == ids).all()
    with Image.open(tmp_path / "ids.png") as picture:
        assert picture.mode == "P"
        assert picture.getpalette()[3:6] == [128, 0, 0]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1"])
def test_in_a_picture_without_palette_what_is_not_black_is_the_object(tmp_path: Path, mode: str) -> None:
    mask = rectangle(3, 5, 20, 9)
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(tmp_path / "mask.png")
    assert (masks.load_id_image(tmp_path / "mask.png") == mask).all()


def test_a_file_that_is_no_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"mask.png: not a readable mask"):
        masks.load_id_image(tmp_path / "mask.png")


def test_small_pieces_of_a_mask_stop_counting_and_large_ones_stay() -> None:
    logits = np.full((40, 40), -3.0, np.float32)
    logits[2:22, 2:22], logits[25:37, 25:37], logits[2:5, 35:38] = 4.0, 5.0, 6.0
    before = logits.copy()
    shown = masks.without_small_pieces(logits, 0.25)
    assert (shown[2:22, 2:22] == 4).all() and (shown[25:37, 25:37] == 5).all()
    assert (shown[2:5, 35:38] == -6).all()
    assert np.array_equal(logits, before)
    assert masks.without_small_pieces(logits, 0.0) is logits
