from __future__ import annotations

import numpy as np
import pytest

from training.cutouts import CutOut, cut_out, look_alike, mirrored, part

SIDE = 40


def _bar(colour: tuple[int, int, int]) -> CutOut:
    """Ten columns wide, twenty rows high, and a row further down in the second picture."""
    images = [np.zeros((SIDE, SIDE, 3), np.uint8) for _ in range(2)]
    masks = [np.zeros((SIDE, SIDE), np.uint8) for _ in range(2)]
    for down, (image, mask) in enumerate(zip(images, masks, strict=True)):
        mask[8 + down : 28 + down, 4:14] = 1
        image[mask == 1] = colour
    return cut_out(images, masks)


def test_a_cut_out_shows_its_object_alone() -> None:
    bar = _bar((200, 30, 30))
    assert bar.boxes[0] == (4 / SIDE, 8 / SIDE, 14 / SIDE, 28 / SIDE)
    assert bar.extent == pytest.approx((10 / SIDE, 20 / SIDE))
    assert (bar.colours == (200, 30, 30)).all()
    for picture in bar.pictures:
        assert not picture[:, 20:, 3].any()


def test_a_mirrored_cut_out_lies_where_its_box_says() -> None:
    likeness = mirrored(_bar((200, 30, 30)))
    columns = np.flatnonzero((likeness.pictures[0][..., 3] > 127).any(0)) / SIDE
    x_min, _, x_max, _ = likeness.boxes[0]
    assert (x_min, x_max) == pytest.approx((26 / SIDE, 36 / SIDE))
    assert x_min <= columns[0]
    assert columns[-1] < x_max


def test_a_part_is_some_of_the_object_in_every_picture() -> None:
    bar = _bar((200, 30, 30))
    for seed in range(20):
        piece = part(np.random.default_rng(seed), bar)
        for whole, some, box in zip(bar.pictures, piece.pictures, piece.boxes, strict=True):
            shown, all_of_it = some[..., 3] > 127, whole[..., 3] > 127
            assert not (shown & ~all_of_it).any()
            assert 0.1 < shown.sum() / all_of_it.sum() < 0.95
            rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
            assert box == (columns[0] / SIDE, rows[0] / SIDE, (columns[-1] + 1) / SIDE, (rows[-1] + 1) / SIDE)


def test_look_alikes_resemble_the_original_and_leave_it_as_it_was() -> None:
    red, blue = _bar((200, 30, 30)), _bar((20, 40, 220))
    before = [picture.copy() for picture in red.pictures]
    reddish = 0
    for seed in range(40):
        likeness = look_alike(np.random.default_rng(seed), red, blue)
        assert len(likeness.pictures) == len(likeness.boxes) == 2
        colour = likeness.colours.mean(0)
        reddish += colour[0] > colour[2]
    assert reddish == 40
    for picture, old in zip(red.pictures, before, strict=True):
        assert np.array_equal(picture, old)
