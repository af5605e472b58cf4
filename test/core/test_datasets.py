"""Annotated videos are found in the layouts of DAVIS, MOSE and SA-V."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_core.datasets import DatasetError, find_sequences
from sam2_core.masks import load_id_image, save_palette_png

SHAPE = (24, 32)


def write_frames(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        Image.fromarray(np.full((*SHAPE, 3), 10 * index, np.uint8)).save(folder / f"{index:05d}.jpg")


def ids(*objects: int) -> np.ndarray:
    picture = np.zeros(SHAPE, np.uint8)
    for column, object_id in enumerate(objects):
        picture[4:12, 8 * column : 8 * column + 6] = object_id
    return picture


@pytest.fixture
def davis2016(tmp_path: Path) -> Path:
    write_frames(tmp_path / "JPEGImages/480p/dog", 4)
    folder = tmp_path / "Annotations/480p/dog"
    folder.mkdir(parents=True)
    for index in range(3):
        Image.fromarray(ids(255)).save(folder / f"{index:05d}.png")
    Image.fromarray(ids(255)).convert("RGB").save(folder / "00003.png")
    return tmp_path


@pytest.fixture
def mose(tmp_path: Path) -> Path:
    write_frames(tmp_path / "JPEGImages/zoo", 4)
    folder = tmp_path / "Annotations/zoo"
    folder.mkdir(parents=True)
    for index, objects in enumerate(((1,), (1,), (1, 2), (1, 2))):
        save_palette_png(folder / f"{index:05d}.png", ids(*objects))
    return tmp_path


@pytest.fixture
def sav(tmp_path: Path) -> Path:
    write_frames(tmp_path / "JPEGImages_24fps/sav_1", 13)
    for group, first in (("000", 0), ("001", 4)):
        folder = tmp_path / "Annotations_6fps/sav_1" / group
        folder.mkdir(parents=True)
        for index in range(first, 13, 4):
            save_palette_png(folder / f"{index:05d}.png", (ids(1, 1) if group == "000" else ids(1)))
    return tmp_path


def test_davis_2016_has_one_object_also_in_three_channel_pictures(davis2016: Path) -> None:
    (sequence,) = find_sequences(davis2016)
    assert sequence.name == "dog"
    assert [path.name for path in sequence.frames] == ["00000.jpg", "00001.jpg", "00002.jpg", "00003.jpg"]
    for frame in ("00000", "00003"):
        assert list(sequence.masks(frame)) == [1]
        assert (sequence.masks(frame)[1] == (ids(1) > 0)).all()


def test_the_first_and_the_last_annotated_frame_do_not_count(davis2016: Path) -> None:
    (sequence,) = find_sequences(davis2016)
    assert [sequence.scored(f"{index:05d}") for index in range(4)] == [set(), None, None, set()]


def test_an_annotation_whose_picture_is_missing_does_not_count(sav: Path) -> None:
    (sav / "JPEGImages_24fps/sav_1/00004.jpg").unlink()
    (sequence,) = find_sequences(sav)
    assert [sequence.scored(f"{index:05d}") for index in (0, 4, 8, 12)] == [set(), set(), {1}, set()]


def test_frames_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("9", "10", "11", "100"):
        for part, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
            (tmp_path / part / "dog").mkdir(parents=True, exist_ok=True)
            Image.fromarray(ids(1)).save(tmp_path / part / f"dog/{name}.{ending}")
    (sequence,) = find_sequences(tmp_path)
    assert [path.stem for path in sequence.frames] == ["9", "10", "11", "100"]
    assert [sequence.scored(path.stem) for path in sequence.frames] == [set(), None, None, set()]


def test_what_other_programs_leave_behind_is_passed_over(mose: Path) -> None:
    (mose / "Annotations/.ipynb_checkpoints").mkdir()
    (mose / "Annotations/notes").mkdir()
    (mose / "JPEGImages/zoo/._00000.jpg").write_bytes(b"what macOS leaves beside a file")
    (mose / "Annotations/zoo/._00000.png").write_bytes(b"what macOS leaves beside a file")
    (sequence,) = find_sequences(mose)
    assert len(sequence.frames) == len(sequence.annotated) == 4


def test_two_frames_of_one_name_are_refused(mose: Path) -> None:
    Image.fromarray(ids(1)).save(mose / "JPEGImages/zoo/00002.png")
    with pytest.raises(DatasetError, match="several frames called 00002"):
        find_sequences(mose)


def test_an_indexed_png_holds_several_objects(mose: Path) -> None:
    (sequence,) = find_sequences(mose)
    assert list(sequence.masks("00000")) == [1]
    assert list(sequence.masks("00002")) == [1, 2]
    assert not sequence.per_object


def test_several_objects_can_be_taken_together(mose: Path) -> None:
    (sequence,) = find_sequences(mose, single_object=True)
    assert (sequence.masks("00003")[1] == (ids(1, 2) > 0)).all()


def test_sav_has_a_folder_per_object_and_annotates_every_fourth_frame(sav: Path) -> None:
    (sequence,) = find_sequences(sav)
    assert sequence.per_object
    assert len(sequence.frames) == 13
    assert list(sequence.masks("00000")) == [1]
    assert list(sequence.masks("00004")) == [1, 2]
    assert (sequence.masks("00004")[1] & sequence.masks("00004")[2]).any(), "objects may overlap"
    assert sequence.masks("00005") == {}
    assert [sequence.scored(f"{index:05d}") for index in (0, 4, 8, 12)] == [set(), {1}, {1, 2}, set()]


@pytest.mark.parametrize("layout", ["davis2016", "mose", "sav"])
def test_predictions_are_saved_in_the_layout_of_the_annotations(
    layout: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (sequence,) = find_sequences(request.getfixturevalue(layout))
    saved = tmp_path_factory.mktemp("saved")
    frame = "00008" if layout == "sav" else "00002"
    sequence.save(saved, frame, sequence.masks(frame), SHAPE)
    for group, files in sequence.annotations.items():
        written = saved / group / f"{frame}.png"
        assert (load_id_image(written) == load_id_image(files[frame])).all()
        with Image.open(written) as picture, Image.open(files[frame]) as annotation:
            assert (np.array(picture) == np.array(annotation)).all()


def test_only_named_sequences_are_taken(davis2016: Path) -> None:
    write_frames(davis2016 / "JPEGImages/480p/cat", 1)
    (davis2016 / "Annotations/480p/cat").mkdir()
    Image.fromarray(ids(255)).save(davis2016 / "Annotations/480p/cat/00000.png")
    assert [sequence.name for sequence in find_sequences(davis2016)] == ["cat", "dog"]
    assert [sequence.name for sequence in find_sequences(davis2016, ["dog"])] == ["dog"]
    with pytest.raises(DatasetError, match="no sequence 'cow'; there are cat, dog"):
        find_sequences(davis2016, ["cow"])
    with pytest.raises(DatasetError, match="no sequence is named; there are cat, dog"):
        find_sequences(davis2016, [])
    assert [sequence.name for sequence in find_sequences(davis2016, ["dog", "cat", "dog"])] == ["dog", "cat"]


def test_annotations_that_belong_to_no_frame_are_named(davis2016: Path) -> None:
    for path in (davis2016 / "Annotations/480p/dog").iterdir():
        path.rename(path.with_name(f"mask_{path.name}"))
    with pytest.raises(DatasetError, match=r"none of its files has the name of a picture"):
        find_sequences(davis2016)


def test_a_folder_of_another_kind_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no annotations in any of Annotations/480p.*SEQUENCE/00000.png"):
        find_sequences(tmp_path)
    with pytest.raises(DatasetError, match="no such folder"):
        find_sequences(tmp_path / "nowhere")


def test_annotations_without_frames_are_named(davis2016: Path) -> None:
    for path in (davis2016 / "JPEGImages/480p/dog").iterdir():
        path.unlink()
    with pytest.raises(DatasetError, match=r"dog: no .jpg or .png frames"):
        find_sequences(davis2016)


def test_objects_of_an_indexed_png_are_called_by_their_index(mose: Path) -> None:
    (sequence,) = find_sequences(mose)
    assert sequence.object_name(2) == "2"


def test_objects_with_folders_are_called_by_them(sav: Path) -> None:
    (sequence,) = find_sequences(sav)
    assert [sequence.object_name(number) for number in (1, 2)] == ["000", "001"]
    assert sequence.annotated == ["00000", "00004", "00008", "00012"]


def test_more_objects_than_ids_are_refused(sav: Path) -> None:
    (sav / "Annotations_6fps/sav_1/001").rename(sav / "Annotations_6fps/sav_1/255")
    with pytest.raises(DatasetError, match="object 255 is out of range: name folders 000 to 254"):
        find_sequences(sav)


def test_an_unreadable_annotation_is_named(mose: Path) -> None:
    (mose / "Annotations/zoo/00002.png").write_bytes(b"broken")
    (sequence,) = find_sequences(mose)
    with pytest.raises(DatasetError, match=r"00002.png: not a readable mask image"):
        sequence.masks("00002")


def test_saving_leaves_nothing_but_the_finished_file(
    sav: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (sequence,) = find_sequences(sav)
    saved = tmp_path_factory.mktemp("saved")
    sequence.save(saved, "00004", sequence.masks("00004"), SHAPE)
    assert sorted(str(path.relative_to(saved)) for path in saved.rglob("*.*")) == [
        "000/00004.png",
        "001/00004.png",
    ]
    again = sequence.saved_masks(saved, "00004")
    assert all((again[i] == mask).all() for i, mask in sequence.masks("00004").items())
