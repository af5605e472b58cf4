"""`sam2 evaluate`, run as a person runs it, on small videos in every layout."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam2_core.cli import main
from sam2_core.masks import load_id_image, save_mask_png, save_palette_png

SHAPE = (96, 128)
ROOT = Path(__file__).parents[2]
SMALL = ("--image-size", "128")


def scene(index: int, count: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Disks that move to the right, the second from frame 2 on: image (RGB) and id image."""
    image = np.random.default_rng(0).integers(20, 60, (*SHAPE, 3), np.uint8)
    ids = np.zeros(SHAPE, np.uint8)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for number, first, x, colour in ((1, 0, 30, (230, 180, 40)), (2, 2, 80, (60, 90, 220)))[:count]:
        if index >= first:
            inside = (columns - x - 2 * index) ** 2 + (rows - 48) ** 2 <= 18**2
            image[inside], ids[inside] = colour, number
    return image, ids


def write_frames(folder: Path, frames: int, count: int = 2) -> None:
    folder.mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), scene(index, count)[0][..., ::-1])


def davis2016(root: Path, frames: int = 6) -> Path:
    for name in ("one", "two"):
        write_frames(root / "JPEGImages/480p" / name, frames, 1)
        (root / "Annotations/480p" / name).mkdir(parents=True)
        for index in range(frames):
            save_mask_png(root / f"Annotations/480p/{name}/{index:05d}.png", scene(index, 1)[1] > 0)
    return root


def davis2017(root: Path, frames: int = 6) -> Path:
    write_frames(root / "JPEGImages/480p/pair", frames)
    (root / "Annotations/480p/pair").mkdir(parents=True)
    for index in range(frames):
        save_palette_png(root / f"Annotations/480p/pair/{index:05d}.png", scene(index)[1])
    return root


def sav(root: Path, frames: int = 13) -> Path:
    """Every fourth frame annotated, the second object from its first appearance on."""
    write_frames(root / "JPEGImages_24fps/sav_000001", frames)
    for group, first in (("000", 0), ("001", 4)):
        folder = root / "Annotations_6fps/sav_000001" / group
        folder.mkdir(parents=True)
        for index in range(first, frames, 4):
            mask = scene(index)[1] == int(group) + 1
            save_palette_png(folder / f"{index:05d}.png", mask.astype(np.uint8))
    return root


def evaluate(*arguments: object) -> int:
    return main(["evaluate", *map(str, arguments), *SMALL])


def report(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    assert evaluate(*arguments, "--json", "-") == 0
    return json.loads(capsys.readouterr().out)


def test_several_objects_get_a_score_each_under_the_datasets_own_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder, sequence, names in (
        (davis2017(tmp_path / "davis"), "pair", ["1", "2"]),
        (sav(tmp_path / "sav"), "sav_000001", ["000", "001"]),
    ):
        row = report(capsys, folder)["sequences"][sequence]
        assert list(row) == ["J&F", "J", "F", "fps", "objects"]
        assert list(row["objects"]) == names
        assert row["J"] == pytest.approx(np.mean([one["J"] for one in row["objects"].values()]), abs=0.01)
        assert evaluate(folder) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[:2] for line in lines[2:4]] == [["object", name] for name in names]


@pytest.mark.parametrize("layout", [davis2016, davis2017, sav])
def test_saved_masks_score_the_same_when_they_are_given_back(
    layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = layout(tmp_path / "data")
    tracked = report(capsys, folder, "--prompt", "box", "--save-masks", tmp_path / "masks")
    scored = report(capsys, folder, "--masks", tmp_path / "masks")
    assert scored["overall"] == {**tracked["overall"], "fps": None}
    assert list(scored["sequences"]) == list(tracked["sequences"])


@pytest.mark.parametrize("layout", [davis2016, davis2017])
def test_scores_in_the_layouts_of_davis_are_those_of_vos_benchmark(
    layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = pytest.importorskip("vos_benchmark.benchmark", reason="vos-benchmark is not installed")
    folder, masks = layout(tmp_path / "data", 8), tmp_path / "masks"
    ours = report(capsys, folder, "--prompt", "box", "--save-masks", masks)
    theirs = benchmark.VideoEvaluator(str(folder / "Annotations/480p"), str(masks))
    found = {name: theirs(name) for name in ours["sequences"]}
    for name, row in ours["sequences"].items():
        _, j, f = found[name]
        objects = list(row.get("objects", {"1": row}).values())
        assert [one["J"] for one in objects] == pytest.approx(list(j.values()), abs=6e-4)
        assert [one["F"] for one in objects] == pytest.approx(list(f.values()), abs=6e-4)
    everything = [value for _, j, _ in found.values() for value in j.values()]
    assert ours["overall"]["J"] == pytest.approx(np.mean(everything), abs=6e-4)


def test_scores_in_the_layout_of_sav_follow_the_rules_of_its_evaluator(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluator = pytest.importorskip("vos_benchmark.evaluator", reason="vos-benchmark is not installed")
    folder, masks = sav(tmp_path / "data", 25), tmp_path / "masks"
    (row,) = report(capsys, folder, "--save-masks", masks)["sequences"].values()
    for group, ours in row["objects"].items():
        # Each object by itself, in its own annotated frames without their first and last.
        theirs = evaluator.Evaluator()
        files = sorted((folder / "Annotations_6fps/sav_000001" / group).iterdir())[1:-1]
        for path in files:
            found = load_id_image(masks / "sav_000001" / group / path.name)
            theirs.feed_frame(found > 0, load_id_image(path) > 0)
        j, f = theirs.conclude()
        assert (ours["J"], ours["F"]) == pytest.approx((j[True], f[True]), abs=6e-4)
        assert len(list((masks / "sav_000001" / group).iterdir())) == 25, "every frame, also between"


def test_masks_that_are_missing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = davis2016(tmp_path / "data", 3)
    assert evaluate(folder, "--masks", tmp_path / "masks") == 2
    assert f"{tmp_path / 'masks/one/00000.png'}: no such file" in capsys.readouterr().err
    assert evaluate(folder, "--masks", tmp_path, "--against", "csrt") == 2
    assert "--masks tracks nothing" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_leaves_no_half_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, masks = davis2016(tmp_path / "data", 24), tmp_path / "masks"
    command = [sys.executable, "-m", "sam2_core.cli", "evaluate", folder, "--save-masks", masks, *SMALL]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    running = subprocess.Popen([*map(str, command)], env=environment, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not list(masks.glob("two/*.png")) and running.poll() is None:
        assert time.monotonic() < deadline, "the second sequence was never begun"
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL, "it ended before it could be killed"
    for path in masks.glob("*/*.png"):
        assert load_id_image(path).shape == SHAPE
    finished = (masks / "one/00003.png").stat().st_mtime_ns
    resumed = report(capsys, folder, "--save-masks", masks)
    assert (masks / "one/00003.png").stat().st_mtime_ns == finished
    assert sorted(path.name for path in (masks / "two").iterdir()) == [f"{i:05d}.png" for i in range(24)]
    whole = report(capsys, folder)
    for name in ("one", "two"):
        assert resumed["sequences"][name]["J"] == pytest.approx(whole["sequences"][name]["J"], abs=0.2)


def test_masks_of_other_weights_are_not_taken_for_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, masks = davis2016(tmp_path / "data", 3), tmp_path / "masks"
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes((ROOT / "checkpoints/sam2_nano.safetensors").read_bytes())
    assert evaluate(folder, "--save-masks", masks, "--checkpoint", weights) == 0
    changed = bytearray(weights.read_bytes())  # the same size at the same place
    changed[-1] ^= 1
    weights.write_bytes(changed)
    assert evaluate(folder, "--save-masks", masks, "--checkpoint", weights) == 2
    assert "holds masks made with weights" in capsys.readouterr().err


def test_a_sequence_of_which_a_mask_was_removed_is_done_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, masks = davis2016(tmp_path / "data", 3), tmp_path / "masks"
    assert evaluate(folder, "--save-masks", masks) == 0
    (masks / "one/00001.png").unlink()
    assert evaluate(folder, "--save-masks", masks) == 0
    assert len(list((masks / "one").iterdir())) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save-masks", "{root}"], "lies in the dataset: give another place"),
        (["--save-masks", "{root}/Annotations/480p"], "lies in the dataset: give another place"),
        (["--save-masks", "{root}/Annotations/480p/deeper"], "lies in the dataset: give another place"),
        (["--save-masks", "{root}/JPEGImages/480p"], "lies in the dataset: give another place"),
        (["--contact-sheet", "{root}/Annotations/480p/one/00003.png"], "lies in the dataset"),
        (["--sequences", "{root}/none.txt", "--json", "{root}/none.txt"], "is what is read"),
        (["--calibration", "x.xyz"], "--calibration x.xyz: give a name that ends in .png"),
        (["--contact-sheet", "x.xyz"], "--contact-sheet x.xyz: give a name that ends in .png or .jpg"),
        (["--json", "{root}"], "is a folder: give a file's name"),
        (["--sequences", "{root}/none.txt"], "no sequence is named; there are one, two"),
        (["--sequences", "{root}/binary.txt"], "binary.txt: not a text"),
    ],
)
def test_what_would_fail_or_destroy_something_is_refused_before_anything_is_tracked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    root = davis2016(tmp_path)
    (root / "none.txt").write_text("\n")
    (root / "binary.txt").write_bytes(b"\xff\xfe\x00one")
    before = (root / "Annotations/480p/one/00003.png").read_bytes()
    assert evaluate(root, *(argument.format(root=root) for argument in arguments)) == 2
    assert message in capsys.readouterr().err
    assert (root / "Annotations/480p/one/00003.png").read_bytes() == before


def test_masks_of_another_precision_are_not_taken_for_these(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, masks = davis2016(tmp_path / "data"), tmp_path / "masks"
    assert evaluate(root, "--save-masks", masks, "--precision", "float32") == 0
    assert evaluate(root, "--save-masks", masks, "--precision", "bfloat16") == 2
    assert "precision" in capsys.readouterr().err


def test_a_sequence_named_twice_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(report(capsys, davis2016(tmp_path), "--sequences", "one", "one")["sequences"]) == ["one"]


def test_a_broken_record_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, masks = davis2016(tmp_path / "data", 3), tmp_path / "masks"
    masks.mkdir()
    (masks / "evaluation.json").write_text("{}")
    assert evaluate(folder, "--save-masks", masks) == 2
    assert "evaluation.json: not a record of an evaluation" in capsys.readouterr().err


def test_sequences_can_be_listed_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "val.txt").write_text("two\n")
    listed = report(capsys, davis2016(tmp_path / "data", 3), "--sequences", tmp_path / "val.txt")
    assert list(listed["sequences"]) == ["two"]


def test_csrt_runs_beside_it_and_both_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = davis2017(tmp_path / "data", 8)
    with_csrt = report(capsys, folder, "--prompt", "box", "--against", "csrt")
    row = with_csrt["overall"]
    assert row["box"] > 50
    assert row["csrt"]["box"] > 30
    assert row["csrt"]["fps"] > 0
    assert {key: row[key] for key in ("J&F", "J", "F")} == {
        key: report(capsys, folder, "--prompt", "box")["overall"][key] for key in ("J&F", "J", "F")
    }
    assert evaluate(folder, "--prompt", "box", "--against", "csrt") == 0
    header, *_, overall, _, totals = capsys.readouterr().out.splitlines()
    assert header.split() == ["sequence", "J&F", "J", "F", "frames/s", "box", "IoU", "csrt", "frames/s"]
    assert float(overall.split()[5]) == pytest.approx(row["box"], abs=0.06)
    assert totals.startswith("J&F ")


def test_the_contact_sheet_has_a_row_per_sequence_with_both_outlines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = davis2016(tmp_path / "data", 8)
    for name in ("one", "two"):  # annotations that are wrong, so that the two outlines lie apart
        for path in (folder / "Annotations/480p" / name).glob("0000[1-7].png"):
            save_mask_png(path, np.roll(load_id_image(path), 14, axis=0) > 0)
    sheet = tmp_path / "new/sheet.png"
    assert evaluate(folder, "--prompt", "point", "--contact-sheet", sheet) == 0
    picture = cv2.imread(str(sheet))[..., ::-1].astype(int)
    assert picture.shape == (28 + 2 * 180, 150 + 8 * 240, 3)
    for row in (picture[28:208], picture[208:]):
        assert (row[:, :150].min(axis=-1) < 100).any(), "the margin holds name and score"
        for column in range(1, 8):
            cell = row[:, 150 + 240 * column : 390 + 240 * column]
            assert ((cell == (0, 230, 0)).all(axis=-1)).sum() > 50
            assert ((cell == (255, 0, 200)).all(axis=-1)).sum() > 50
        assert (row[:, 150:390] == (255, 230, 0)).all(axis=-1).any(), "the click"


def test_frames_of_different_shapes_have_room_in_one_contact_sheet(tmp_path: Path) -> None:
    root = davis2016(tmp_path / "data")
    frame, truth = (root / f"{kind}/480p/one/00003" for kind in ("JPEGImages", "Annotations"))
    image, ids = scene(3, 1)
    cv2.imwrite(f"{frame}.jpg", image[:64, :, ::-1])
    save_mask_png(f"{truth}.png", ids[:64] > 0)
    assert evaluate(root, "--contact-sheet", tmp_path / "sheet.png") == 0
    assert (tmp_path / "sheet.png").is_file()


def test_the_contact_sheet_lies_in_out_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert evaluate(sav(tmp_path / "data"), "--prompt", "box", "--contact-sheet") == 0
    assert (tmp_path / "out/contact_sheet.png").is_file()


def test_calibration_is_plotted_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = davis2016(tmp_path / "data", 8)
    plot = tmp_path / "new/calibration.png"
    assert evaluate(folder, "--calibration", plot) == 0
    assert cv2.imread(str(plot)) is not None
    first, second, *_, totals = capsys.readouterr().out.splitlines()
    assert first.startswith("predicted IoU: expected calibration error ")
    assert second.startswith("presence: mean ")
    assert totals.startswith("J&F ")
    figures = report(capsys, folder, "--calibration", plot)["calibration"]
    assert figures["frames with the object"] == 2 * 6
    assert figures["frames without"] == 0
    assert figures["mean presence without"] is None
    assert not math.isnan(figures["expected calibration error"])


def test_sequences_without_a_frame_that_counts_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(davis2016(tmp_path, 2), "--sequences", "one") == 0
    assert "not in the totals: one: no annotated object" in capsys.readouterr().err
