"""Prompts for a whole video come from the command line or a JSON file."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam2_core.masks import encode_rle, save_palette_png
from sam2_core.prompt_script import Script, add_prompt_options, script_from_file, script_from_options
from sam2_core.prompts import PromptError


def script(*arguments: str) -> Script:
    parser = argparse.ArgumentParser()
    add_prompt_options(parser)
    options = parser.parse_args(arguments)
    return script_from_options(options.script, options.prompts)


def write(path: Path, entries: object) -> Path:
    path.write_text(json.dumps(entries))
    return path


def test_points_of_one_object_make_one_prompt() -> None:
    ((prompt,),) = script("--point", "10,20", "--point", "30,40.5,0").values()
    assert prompt.object_id == 1
    assert prompt.points.tolist() == [[10, 20], [30, 40.5]]
    assert prompt.labels.tolist() == [1, 0]


def test_object_and_frame_hold_until_the_next_one() -> None:
    made = script(
        *("--object", "3", "--point", "1,2", "--label", "cup", "--object", "5", "--box", "1,2,30,40"),
        *("--frame", "40", "--object", "3", "--point", "7,8,0", "--box", "5,5,9,9"),
    )
    assert {frame: [prompt.object_id for prompt in prompts] for frame, prompts in made.items()} == {
        0: [3, 5],
        40: [3],
    }
    assert made[0][0].label == "cup"
    assert made[0][1].box.tolist() == [1, 2, 30, 40]
    assert made[40][0].labels.tolist() == [0]
    assert made[40][0].box.tolist() == [5, 5, 9, 9]


def test_a_second_box_begins_the_next_object() -> None:
    ((first, second, third),) = script(
        *("--box", "1,2,30,40", "--point", "9,9", "--object", "7", "--box", "5,5,9,9", "--box", "6,6,8,8"),
        *("--point", "7,7"),
    ).values()
    assert [prompt.object_id for prompt in (first, second, third)] == [1, 7, 8]
    assert first.points.tolist() == [[9, 9]]
    assert second.points is None
    assert (third.box.tolist(), third.points.tolist()) == ([6, 6, 8, 8], [[7, 7]])


def test_after_the_highest_id_the_next_object_gets_a_free_one() -> None:
    given = script("--object", "255", "--box", "1,2,3,4", "--box", "5,6,7,8")
    assert [prompt.object_id for prompt in given[0]] == [255, 1]


def test_nothing_said_makes_no_prompts() -> None:
    assert script() == {}


def test_a_mask_comes_from_a_picture(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), np.uint8)
    mask[2:4, 3:5] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    ((prompt,),) = script("--object", "4", "--mask", str(tmp_path / "mask.png")).values()
    assert prompt.object_id == 4
    assert (prompt.mask == (mask > 0)).all()


def test_an_indexed_picture_holds_the_masks_of_several_objects(tmp_path: Path) -> None:
    ids = np.repeat(np.array([[0, 2, 7]], np.uint8), 4, axis=0)
    save_palette_png(tmp_path / "ids.png", ids)
    (prompts,) = script("--mask", str(tmp_path / "ids.png")).values()
    assert {prompt.object_id: prompt.mask.sum() for prompt in prompts} == {2: 4, 7: 4}


def test_a_named_object_is_the_one_of_its_id_and_a_second_mask_the_next_object(tmp_path: Path) -> None:
    path = tmp_path / "ids.png"
    save_palette_png(path, np.repeat(np.uint8([[0, 3, 3, 7]]), 4, axis=0))
    [prompt] = script("--object", "7", "--mask", str(path))[0]
    assert prompt.object_id == 7 and prompt.mask is not None and prompt.mask.sum() == 4
    single = tmp_path / "mask.png"
    Image.fromarray(np.uint8([[0, 255]])).save(single)
    assert [prompt.object_id for prompt in script("--mask", str(single), "--mask", str(single))[0]] == [1, 2]


@pytest.mark.parametrize("colour", [0, 255])
def test_what_is_transparent_is_not_the_object(colour: int, tmp_path: Path) -> None:
    picture = np.full((2, 3, 4), colour, np.uint8)
    picture[..., 3] = [[0, 255, 0], [0, 0, 0]]
    Image.fromarray(picture).save(tmp_path / "mask.png")
    [prompt] = script("--mask", str(tmp_path / "mask.png"))[0]
    assert prompt.mask is not None and prompt.mask.tolist() == [[False, True, False], [False] * 3]


def test_a_json_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text('[{"box": [1, 2, 3, 4]}]', "utf-8-sig")
    assert script_from_file(path)[0][0].box is not None


def test_a_json_file_says_the_same(tmp_path: Path) -> None:
    mask = np.zeros((8, 9), bool)
    mask[2:4, 3:5] = True
    save_palette_png(tmp_path / "mask.png", mask.astype(np.uint8))
    path = write(
        tmp_path / "prompts.json",
        [
            {"object_id": 1, "points": [[1, 2], [3, 4]], "labels": [1, 0], "label": "cup"},
            {"frame": 12, "object_id": 2, "mask": "mask.png"},
            {"frame": 12, "object_id": 3, "mask": encode_rle(mask), "restart": True},
        ],
    )
    made = script("--prompts", str(path), "--frame", "12", "--object", "9", "--point", "5,5")
    assert made[0][0].points.tolist() == [[1, 2], [3, 4]]
    assert sorted(prompt.object_id for prompt in made[12]) == [2, 3, 9]
    by_id = {prompt.object_id: prompt for prompt in made[12]}
    assert (by_id[2].mask == mask).all()
    assert (by_id[3].mask == mask).all()
    assert by_id[3].restart


def test_a_json_entry_takes_its_own_object_of_a_picture_that_holds_several(tmp_path: Path) -> None:
    ids = np.repeat(np.array([[0, 2, 7]], np.uint8), 4, axis=0)
    save_palette_png(tmp_path / "ids.png", ids)
    ((prompt,),) = script_from_file(
        write(tmp_path / "prompts.json", [{"object_id": 7, "mask": "ids.png"}])
    ).values()
    assert (prompt.mask == (ids == 7)).all()
    with pytest.raises(PromptError, match=r"ids.png: holds the objects 2, 7: give one of them as object_id"):
        script_from_file(write(tmp_path / "prompts.json", [{"object_id": 3, "mask": "ids.png"}]))
    with pytest.raises(PromptError, match="holds the objects"):
        script_from_file(write(tmp_path / "prompts.json", [{"object_id": [7], "mask": "ids.png"}]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--point", "10"), "--point 10: give X,Y or X,Y,0"),
        (("--point", "a,b"), "--point a,b: give X,Y"),
        (("--point", "1,2,3"), "--point 1,2,3: the label is 1"),
        (("--point", "nan,3"), "NaN"),
        (("--box", "1,2,3"), "--box 1,2,3: give X0,Y0,X1,Y1"),
        (("--box", "30,2,3,9"), "x_min >= x_max"),
        (("--object", "0", "--point", "1,2"), "--object 0: give a whole number from 1 to 255"),
        (("--frame", "-1"), "--frame -1: give a whole number from 0"),
        (("--mask", "nowhere.png"), "nowhere.png: no such file"),
        (("--prompts", "nowhere.json"), "nowhere.json: no such file; expected JSON"),
    ],
)
def test_what_can_not_be_understood_is_named(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        script(*(f"--frame={arguments[1]}",) if arguments[0] == "--frame" else arguments)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"frame": 0}, "not a list of objects"),
        ([{"object_id": 1, "point": [1, 2]}], "entry 0: unknown field 'point'"),
        (
            [{"object_id": 1, "points": [[1, 2]]}, {"object_id": 300, "points": [[1, 2]]}],
            "entry 1: object id 300",
        ),
        ([{"frame": -3, "points": [[1, 2]]}], "entry 0: frame -3 is not a whole number"),
        ([{"object_id": 1}], "entry 0: the prompt is empty"),
        ([{"object_id": 1, "mask": {"size": [2, 2]}}], "entry 0: mask is not a COCO run-length code"),
        ([{"mask": {"size": [2, 2], "counts": [10**400]}}], "entry 0: mask is not a COCO run-length code"),
    ],
)
def test_a_wrong_entry_of_the_file_is_named(entries: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=message):
        script_from_file(write(tmp_path / "prompts.json", entries))


def test_an_empty_mask_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(PromptError, match=r"black.png: the mask is empty"):
        script("--mask", str(tmp_path / "black.png"))
