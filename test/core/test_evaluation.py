"""Sequences are tracked online and scored as the benchmarks score them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sam2_core import load_model
from sam2_core.datasets import DatasetError, find_sequences
from sam2_core.evaluation import evaluate_sequence, innermost_pixel, make_prompt
from sam2_core.evaluation_results import Summary
from sam2_core.masks import save_palette_png
from sam2_core.model import SAM2

SHAPE = (96, 128)
COUNT = 9


@pytest.fixture(scope="module")
def model() -> SAM2:
    return load_model("sam2_nano", device="cpu")


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Two disks, the second from frame 3 on: image (RGB) and id image."""
    random = np.random.default_rng(0)
    image = random.integers(20, 60, (*SHAPE, 3), np.uint8)
    ids = np.zeros(SHAPE, np.uint8)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for object_id, first, x, colour in ((1, 0, 30, (230, 180, 40)), (2, 3, 90, (60, 90, 220))):
        if index >= first:
            inside = (columns - x - 2 * index) ** 2 + (rows - 48) ** 2 <= 18**2
            image[inside] = colour
            ids[inside] = object_id
    return image, ids


def write_frames(folder: Path) -> None:
    folder.mkdir(parents=True)
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), scene(index)[0][..., ::-1])


@pytest.fixture
def mose(tmp_path: Path) -> Path:
    write_frames(tmp_path / "JPEGImages/disks")
    folder = tmp_path / "Annotations/disks"
    folder.mkdir(parents=True)
    for index in range(COUNT):
        save_palette_png(folder / f"{index:05d}.png", scene(index)[1])
    return tmp_path


@pytest.fixture
def sav(tmp_path: Path) -> Path:
    write_frames(tmp_path / "JPEGImages_24fps/disks")
    for group in (0, 1):
        folder = tmp_path / f"Annotations_6fps/disks/{group:03d}"
        folder.mkdir(parents=True)
        for index in range(0, COUNT, 2):
            save_palette_png(folder / f"{index:05d}.png", (scene(index)[1] == group + 1).astype(np.uint8))
    return tmp_path


def test_objects_that_appear_later_are_prompted_when_they_do(model: SAM2, mose: Path, tmp_path: Path) -> None:
    (sequence,) = find_sequences(mose)
    result = evaluate_sequence(model, sequence, "mask", tmp_path / "saved")
    assert set(result.objects) == {1, 2}
    assert min(score.jf for score in result.objects.values()) > 0.7
    assert result.frames == COUNT
    for index in range(COUNT):
        with Image.open(tmp_path / f"saved/{index:05d}.png") as picture:
            assert set(np.unique(np.array(picture))) <= ({0, 1} if index < 3 else {0, 1, 2})


def test_scores_of_several_objects_are_those_of_vos_benchmark(
    model: SAM2, mose: Path, tmp_path: Path
) -> None:
    benchmark = pytest.importorskip("vos_benchmark.benchmark", reason="vos-benchmark is not installed")
    (sequence,) = find_sequences(mose)
    result = evaluate_sequence(model, sequence, "box", tmp_path / "saved/disks")
    _, j, f = benchmark.VideoEvaluator(str(mose / "Annotations"), str(tmp_path / "saved"))("disks")
    assert {i: 100 * score.j for i, score in result.objects.items()} == pytest.approx(j)
    assert {i: 100 * score.f for i, score in result.objects.items()} == pytest.approx(f)


def test_objects_with_folders_of_their_own_are_scored_apart(model: SAM2, sav: Path, tmp_path: Path) -> None:
    benchmark = pytest.importorskip("vos_benchmark.benchmark", reason="vos-benchmark is not installed")
    (sequence,) = find_sequences(sav)
    result = evaluate_sequence(model, sequence, "mask", tmp_path / "saved")
    for group, object_id in (("000", 1), ("001", 2)):
        theirs = benchmark.VideoEvaluator(str(sav / "Annotations_6fps/disks"), str(tmp_path / "saved"))(group)
        assert 100 * result.objects[object_id].j == pytest.approx(theirs[1][1])
        assert 100 * result.objects[object_id].f == pytest.approx(theirs[2][1])


def test_a_sequence_with_only_its_first_frame_annotated_is_tracked_without_scores(
    model: SAM2, mose: Path, tmp_path: Path
) -> None:
    for path in sorted((mose / "Annotations/disks").iterdir())[1:]:
        path.unlink()
    (sequence,) = find_sequences(mose)
    result = evaluate_sequence(model, sequence, "mask", tmp_path / "saved")
    assert result.objects == {}
    assert len(list((tmp_path / "saved").iterdir())) == COUNT


def test_the_total_is_the_mean_over_objects(model: SAM2, mose: Path) -> None:
    (sequence,) = find_sequences(mose)
    both = evaluate_sequence(model, sequence, "mask")
    (together,) = find_sequences(mose, single_object=True)
    one = evaluate_sequence(model, together, "mask")
    assert set(one.objects) == {1}
    scores = [*both.objects.values(), *one.objects.values()]
    assert Summary.of([both, one]).score.j == pytest.approx(np.mean([score.j for score in scores]))


def test_the_click_lands_on_the_pixel_farthest_from_the_border() -> None:
    mask = np.zeros((50, 80), bool)
    mask[10:31, 20:61] = True
    x, y = innermost_pixel(mask)
    assert y == 20
    assert 30 <= x <= 50


def test_the_edge_of_the_image_is_border() -> None:
    assert innermost_pixel(np.ones((21, 31), bool))[1] == 10


def test_the_box_prompt_is_that_of_the_mask() -> None:
    mask = np.zeros((50, 80), bool)
    mask[10:31, 20:61] = True
    assert make_prompt(3, mask, "box").box.tolist() == [20, 10, 61, 31]


def test_an_annotation_of_another_size_is_named(model: SAM2, mose: Path) -> None:
    save_palette_png(mose / "Annotations/disks/00001.png", np.ones((10, 12), np.uint8))
    (sequence,) = find_sequences(mose)
    with pytest.raises(
        DatasetError, match=r"disks: the annotation of 00001.jpg has 12 x 10 pixels, the frame 128 x 96"
    ):
        evaluate_sequence(model, sequence, "mask")


def test_a_broken_frame_is_named(model: SAM2, mose: Path) -> None:
    (mose / "JPEGImages/disks/00001.jpg").write_bytes(b"broken")
    (sequence,) = find_sequences(mose)
    with pytest.raises(DatasetError, match=r"00001.jpg: not a readable picture"):
        evaluate_sequence(model, sequence, "mask")


def test_the_embedded_model_tracks_a_real_video(model: SAM2) -> None:
    folder = Path(os.environ.get("SAM2_DATA", "")) / "davis2016-dev"
    if not folder.is_dir():
        pytest.skip("SAM2_DATA names no folder with davis2016-dev")
    (sequence,) = find_sequences(folder, ["car-shadow"])
    assert evaluate_sequence(model, sequence, "mask").score.jf > 0.8
