"""J and F are DAVIS's numbers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from sam2_core.metrics import ObjectScores, Score, boundary_measure, boundary_pixels, region_similarity


def disk(x: int, y: int, radius: int, shape: tuple[int, int] = (120, 160)) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


NOTHING = np.zeros((120, 160), bool)


def test_region_similarity_is_intersection_over_union() -> None:
    left, right = np.zeros((10, 10), bool), np.zeros((10, 10), bool)
    left[:, :6] = True
    right[:, 4:] = True
    assert region_similarity(left, right) == 0.2
    assert region_similarity(left, left) == 1


@pytest.mark.parametrize("measure", [region_similarity, boundary_measure])
def test_empty_masks_agree_with_each_other_and_with_nothing_else(measure) -> None:
    assert measure(NOTHING, NOTHING) == 1
    assert measure(NOTHING, disk(80, 60, 20)) == 0
    assert measure(disk(80, 60, 20), NOTHING) == 0


def test_a_boundary_within_the_tolerance_matches_and_one_beyond_does_not() -> None:
    # The diagonal of 120 x 160 is 200 pixels, the tolerance 1.6 of them, rounded up: 2.
    columns = np.tile(np.arange(160), (120, 1))
    assert boundary_measure(columns < 80, columns < 82) == 1
    assert boundary_measure(columns < 80, columns < 83) == 0


def test_the_boundary_lies_half_a_pixel_towards_the_origin() -> None:
    mask = np.zeros((6, 6), bool)
    mask[2:4, 2:4] = True
    assert np.argwhere(boundary_pixels(mask)).tolist() == [
        [1, 1], [1, 2], [1, 3], [2, 1], [2, 3], [3, 1], [3, 2], [3, 3],
    ]  # fmt: skip


@pytest.mark.parametrize("measure", [region_similarity, boundary_measure])
def test_what_is_not_zero_is_the_object_and_masks_of_two_shapes_are_refused(measure) -> None:
    mask = disk(60, 50, 20)
    assert measure(mask.astype(np.uint8) * 2, mask.astype(np.uint8)) == 1
    with pytest.raises(ValueError, match="differ in shape"):
        measure(mask, mask[:1])


def test_an_object_counts_from_its_first_appearance_on() -> None:
    scores = ObjectScores()
    scores.add({}, {1: disk(80, 60, 20)})
    scores.add({1: disk(80, 60, 20)}, {1: disk(80, 60, 20), 2: disk(30, 30, 9)})
    scores.add({1: disk(80, 60, 20), 2: disk(30, 30, 9)}, {1: disk(80, 60, 20), 2: disk(30, 30, 9)})
    assert scores.result()[1].j == pytest.approx(2 / 3)
    assert scores.result()[2].j == pytest.approx(1 / 2)


def test_a_frame_counts_only_for_the_objects_it_counts_for() -> None:
    scores = ObjectScores()
    both = {1: disk(80, 60, 20), 2: disk(30, 30, 9)}
    scores.add(both, both)
    scores.add({}, both, counted={2})
    scores.add({}, {}, counted=set())
    assert scores.result() == {1: Score(1.0, 1.0), 2: Score(0.5, 0.5)}


def test_an_object_that_was_never_annotated_has_no_score() -> None:
    scores = ObjectScores()
    scores.add({1: disk(80, 60, 20), 9: disk(30, 30, 9)}, {1: disk(80, 60, 20)})
    assert scores.result() == {1: Score(1.0, 1.0)}


def test_the_numbers_are_those_of_vos_benchmark() -> None:
    evaluator = pytest.importorskip("vos_benchmark.evaluator", reason="vos-benchmark is not installed")
    random = np.random.default_rng(0)

    def ids(height: int, width: int) -> np.ndarray:
        if random.random() < 0.2:
            return np.zeros((height, width), np.uint8)
        coarse = random.normal(size=(5, 6)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        return np.digitize(smooth, [0.3, 1.0]).astype(np.uint8)

    for _ in range(20):
        theirs, ours = evaluator.Evaluator(), ObjectScores()
        shape = random.integers(20, 200, 2)
        for _ in range(5):
            prediction, annotation = ids(*shape), ids(*shape)
            theirs.feed_frame(prediction, annotation)
            ours.add({i: prediction == i for i in (1, 2)}, {i: annotation == i for i in (1, 2)})
        j, f = theirs.conclude()
        assert {i: 100 * score.j for i, score in ours.result().items()} == pytest.approx(j)
        assert {i: 100 * score.f for i, score in ours.result().items()} == pytest.approx(f)
