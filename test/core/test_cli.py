"""The command `sam2`, run as a person runs it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_disk import (
    COMMAND,
    ENVIRONMENT,
    FRAMES,
    SHAPE,
    overlap,
    picture,
    read_video,
    sam2,
    write_folder,
    write_video,
)

from sam2_core.masks import decode_rle, load_id_image, save_palette_png


def test_track_writes_overlay_masks_run_lengths_and_boxes(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4")
    out = tmp_path / "out"
    files = (
        "-o",
        out / "o.mp4",
        "--masks",
        out / "masks",
        "--json",
        out / "o.json",
        "--boxes",
        out / "o.csv",
    )
    assert sam2("track", source, "--point", "40,48", *files) == 0

    overlay = read_video(out / "o.mp4")
    assert len(overlay) == FRAMES
    assert overlay[0].shape == (*SHAPE, 3)
    names = sorted(path.name for path in (out / "masks").iterdir())
    assert names == [f"{index:05d}.png" for index in range(FRAMES)]
    entries = json.loads((out / "o.json").read_text())
    lines = [line.split(",") for line in (out / "o.csv").read_text().splitlines()]
    assert len(entries) == len(lines) == FRAMES
    for index in range(FRAMES):
        mask = load_id_image(out / "masks" / names[index]) == 1
        assert overlap(mask, picture(index)[1]) > 0.8
        assert entries[index]["image_id"] == index
        assert (decode_rle(entries[index]["segmentation"]) == mask).all()
        assert lines[index][:2] == [str(index + 1), "1"]
        assert [float(number) for number in lines[index][2:6]] == entries[index]["bbox"]
        assert lines[index][7:] == ["-1", "-1", "-1"]


def test_track_follows_several_objects_and_starts_each_in_its_own_frame(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "frames")
    save_palette_png(tmp_path / "first.png", picture(2)[1].astype(np.uint8))
    corner = np.zeros(SHAPE, np.uint8)
    corner[2:20, 2:20] = 1
    save_palette_png(tmp_path / "second.png", corner)
    prompts = ["--frame", 2, "--object", 7, "--mask", tmp_path / "first.png"]
    prompts += ["--frame", 5, "--object", 9, "--mask", tmp_path / "second.png"]
    assert sam2("track", source, "--masks", tmp_path / "masks", "--max-frames", 7, *prompts) == 0
    seen = [set(np.unique(load_id_image(path))) - {0} for path in sorted((tmp_path / "masks").iterdir())]
    assert seen[:2] == [set(), set()], "nothing is tracked before the first prompt"
    assert seen[2] == {7}
    assert 9 not in seen[4]
    assert seen[5] == {7, 9}


def test_a_correction_in_a_later_frame_changes_the_mask_from_there_on(tmp_path: Path) -> None:
    source = write_folder(tmp_path / "frames", 6)
    corner = np.zeros(SHAPE, np.uint8)
    corner[70:, 90:] = 1
    save_palette_png(tmp_path / "corner.png", corner)
    save_palette_png(tmp_path / "disk.png", picture(3)[1].astype(np.uint8))
    prompts = [{"mask": "corner.png"}, {"frame": 3, "mask": "disk.png", "restart": True}]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    assert sam2("track", source, "--prompts", tmp_path / "prompts.json", "--masks", tmp_path / "m") == 0
    overlaps = [overlap(load_id_image(tmp_path / f"m/{i:05d}.png") == 1, picture(i)[1]) for i in range(6)]
    assert overlaps[0] < 0.1
    assert min(overlaps[3:]) > 0.8


def test_without_a_named_output_the_overlay_lands_beside_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_video(tmp_path / "clip.mp4", 3)
    monkeypatch.chdir(tmp_path)
    assert sam2("track", source, "--point", "40,48", "--max-frames", 2) == 0
    assert len(read_video(tmp_path / "clip_sam2.mp4")) == 2


def test_a_prompt_after_the_last_frame_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path / "frames", 2)
    prompts = ("--point", "40,48", "--frame", 50, "--point", "4,4")
    assert sam2("track", source, "--masks", tmp_path / "m", *prompts) == 0
    assert "nothing was shown in frame 50, there were only 2 frames" in capsys.readouterr().err


def test_track_says_so_when_a_video_ends_before_its_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "clip.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(video[: len(video) // 2])
    assert sam2("track", tmp_path / "cut.avi", "--point", "40,48", "--boxes", tmp_path / "b.csv") == 0
    assert f"of {FRAMES} frames: is it damaged?" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_leaves_complete_files(tmp_path: Path, number: int) -> None:
    source = write_folder(tmp_path / "frames", 400)
    command = [*COMMAND, "track", str(source), "--point", "40,48", "-o", "o.mp4", "--masks", "masks"]
    command += ["--json", "o.json", "--boxes", "o.csv"]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),  # who runs the tests may ignore it
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "masks" / "00002.png").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    masks = len(list((tmp_path / "masks").iterdir()))
    assert 3 <= masks < 400
    assert f"stopped after {masks} frames" in errors
    assert len(json.loads((tmp_path / "o.json").read_text())) == masks
    assert len(read_video(tmp_path / "o.mp4")) == masks
    assert len((tmp_path / "o.csv").read_text().splitlines()) == masks


FULL_DISK = """
import resource, signal, sys
from sam2_core.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing on fails then, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", ["o.mp4", "o.avi"])
def test_a_video_that_is_cut_off_by_a_full_disk_is_an_error(tmp_path: Path, name: str) -> None:
    source = write_video(tmp_path / "clip.mp4")
    command = [sys.executable, "-c", FULL_DISK, "track", str(source), "--point", "40,48", "-o", name]
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=tmp_path, env=ENVIRONMENT, check=False
    )
    assert done.returncode == 2
    assert f"sam2 track: {name}: could not be written to its end: is the disk full?" in done.stderr


def test_a_file_may_be_named_from_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    cv2.imwrite(str(tmp_path / "photo.png"), picture(0)[0][..., ::-1])
    assert sam2("image", "~/photo.png", "--point", "40,48", "--output=~/o.png") == 0
    assert (tmp_path / "o.png").is_file()


def test_masks_of_another_run_are_mentioned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, masks = write_video(tmp_path / "clip.mp4", 3), tmp_path / "masks"
    command = ("track", str(clip), "--box", "20,20,60,60", "--masks", str(masks), "--image-size", "64")
    assert sam2(*command) == 0
    assert "masks already" not in capsys.readouterr().err
    assert sam2(*command, "--max-frames", "1") == 0
    assert f"{masks} holds masks already" in capsys.readouterr().err


def test_a_box_may_begin_outside_and_a_name_may_hold_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "12:30.mp4", 2)
    command = ("track", "12:30.mp4", "--box", "-9,-9.5,60,60", "--image-size", "64")
    assert sam2(*command, "-o", "out:1.mp4", "--boxes", "boxes.csv") == 0
    assert Path("out:1.mp4").stat().st_size > 0
    assert Path("boxes.csv").read_text().startswith("1,1,0,0,")


@pytest.fixture
def davis(tmp_path: Path) -> Path:
    root = tmp_path / "davis"
    for name in ("disk", "ring"):
        write_folder(root / "JPEGImages/480p" / name, 6)
        folder = root / "Annotations/480p" / name
        folder.mkdir(parents=True)
        for index in range(6):
            cv2.imwrite(str(folder / f"{index:05d}.png"), picture(index)[1].astype(np.uint8) * 255)
    return root


def test_image_writes_the_picture_the_ids_and_the_run_lengths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, mask = picture(0)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    files = (
        "-o",
        tmp_path / "out.png",
        "--ids",
        tmp_path / "new/ids.png",
        "--json",
        tmp_path / "new/out.json",
    )
    prompts = ("--object", 4, "--label", "ball", "--point", "40,48", "--box", "20,28,61,69")
    assert sam2("image", tmp_path / "photo.png", *prompts, *files) == 0
    ids = load_id_image(tmp_path / "new/ids.png")
    assert overlap(ids == 4, mask) > 0.8
    (entry,) = json.loads((tmp_path / "new/out.json").read_text())
    assert (entry["category_id"], entry["label"]) == (4, "ball")
    assert (decode_rle(entry["segmentation"]) == (ids == 4)).all()
    shown = cv2.imread(str(tmp_path / "out.png"))[..., ::-1]
    assert (shown[ids == 0] == image[ids == 0]).all()
    assert (shown[ids == 4] != image[ids == 4]).any(axis=-1).all()
    assert capsys.readouterr().out.startswith(f"object 4 ball: {entry['area']} pixels in ")


def test_everything_prints_the_count_and_writes_every_mask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, _ = picture(0)
    cv2.imwrite(str(tmp_path / "photo.png"), image[..., ::-1])
    loose = ("--points-per-side", 4, "--pred-iou-thresh", 0, "--stability-score-thresh", 0)
    files = ("-o", tmp_path / "out.png", "--json", tmp_path / "masks.json")
    assert sam2("everything", tmp_path / "photo.png", *loose, *files) == 0
    masks = json.loads((tmp_path / "masks.json").read_text())
    assert re.fullmatch(rf"{len(masks)} masks in \d+\.\d\d s\n", capsys.readouterr().out)
    assert set(masks[0]) == {
        "segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box",
    }  # fmt: skip
    covered = np.any([decode_rle(mask["segmentation"]) for mask in masks], axis=0)
    shown = cv2.imread(str(tmp_path / "out.png"))[..., ::-1]
    assert (shown[~covered] == image[~covered]).all()
    assert (shown[covered] != image[covered]).any(axis=-1).mean() > 0.99


def test_evaluate_ends_with_the_totals(
    davis: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert sam2("evaluate", davis, "--model", "sam2_nano", "--json", tmp_path / "scores.json") == 0
    lines = capsys.readouterr().out.splitlines()
    report = json.loads((tmp_path / "scores.json").read_text())
    assert set(report) == {"sequences", "overall"}
    assert set(report["sequences"]) == {"disk", "ring"}
    total = report["overall"]
    assert set(total) == set(report["sequences"]["disk"]) == {"J&F", "J", "F", "fps"}
    assert total["J"] > 80
    expected = f"J&F {total['J&F']:.1f}  J {total['J']:.1f}  F {total['F']:.1f}  frames/s {total['fps']:.1f}"
    assert lines[-1] == expected
    assert [line.split()[0] for line in lines[:3]] == ["sequence", "disk", "ring"]


def test_evaluate_prints_only_json_when_asked(davis: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sam2("evaluate", davis, "--sequences", "disk", "--prompt", "point", "--json", "-") == 0
    assert set(json.loads(capsys.readouterr().out)["sequences"]) == {"disk"}


def test_evaluate_goes_on_where_it_was_interrupted(
    davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "saved"
    arguments = ("evaluate", davis, "--save-masks", saved, "--json", "-")
    assert sam2(*arguments, "--sequences", "disk") == 0
    first = json.loads(capsys.readouterr().out)["sequences"]["disk"]
    before = (saved / "disk" / "00003.png").stat().st_mtime_ns
    assert sam2(*arguments) == 0
    assert (saved / "disk" / "00003.png").stat().st_mtime_ns == before
    report = json.loads(capsys.readouterr().out)
    assert report["sequences"]["disk"] == first
    assert len(list((saved / "ring").iterdir())) == 6


def test_evaluate_does_not_mix_the_results_of_two_settings(
    davis: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("evaluate", davis, "--save-masks", tmp_path / "saved", "--sequences", "disk")
    assert sam2(*arguments) == 0
    assert sam2(*arguments, "--prompt", "box") == 2
    assert "holds masks made with prompt mask, not box" in capsys.readouterr().err


def test_benchmark_times_every_number_of_objects_and_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = ("--frames", 2, "--width", 160, "--height", 120, "--image-size", 128)
    assert sam2("benchmark", "--objects", "1,3", *short, "--trunk", "--json", tmp_path / "b.json") == 0
    machine, header, *table, process = capsys.readouterr().out.splitlines()
    assert machine.endswith("camera 160 x 120") and "threads: 2" in machine
    assert header.split()[0] == "model" and header.endswith("step/trunk")
    assert [line.split()[4] for line in table] == ["1", "3"]
    peak = int(process.removeprefix("peak memory of the whole process ").removesuffix(" MiB"))
    rows = json.loads((tmp_path / "b.json").read_text())["rows"]
    for row, line in zip(rows, table, strict=True):
        timing = row["timing"]
        assert (row["model"], row["input"], round(row["parameters"] / 1e6, 1)) == ("sam2_nano", 128, 4.3)
        assert len(timing["stages"]) == 4 and min(timing["stages"].values()) > 0
        assert sum(timing["stages"].values()) < timing["step"]
        assert 0 <= timing["memory"] <= (peak + 1) * 2**20 and timing["trunk"] > 0
        assert f"{timing['step']:.1f}" in line


def test_benchmark_counts_the_arithmetic_of_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    assert sam2("benchmark", "--objects", 1, "--frames", 1, "--image-size", 128, "--operations") == 0
    counted = re.findall(r"([\d.]+) GFLOP, (\d+) GFLOP/s, (\d+)%", capsys.readouterr().out)
    assert len(counted) == 4 and all(float(amount) > 0 for amount, *_ in counted[:2])


def test_benchmark_says_how_to_get_the_original(capsys: pytest.CaptureFixture[str]) -> None:
    assert sam2("benchmark", "--against", "sam2") == 2
    assert "the original has no sam2_nano" in capsys.readouterr().err
    assert sam2("benchmark", "--against", "sam2", "--model", "sam2.1_hiera_tiny") == 2
    assert "make original" in capsys.readouterr().err


def test_download_has_nothing_to_do_for_the_embedded_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert sam2("download", "sam2_nano") == 0
    assert "nothing to download" in capsys.readouterr().out


def test_download_offline_tells_how_to_do_it_by_hand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAM2_MIRROR", "http://127.0.0.1:9")
    monkeypatch.setattr("sam2_core.download.time.sleep", lambda seconds: None)
    assert sam2("download", "sam2.1_hiera_tiny", "--to", tmp_path) == 2
    assert f"put it at {tmp_path}/sam2.1_hiera_tiny.pt" in capsys.readouterr().err
