"""What a person can put right ends in one line and exit code 2, and costs nothing that was there before."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
from cli_disk import COMMAND, ENVIRONMENT, picture, sam2, write_folder, write_video

from sam2_core.masks import save_palette_png


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["track", "nowhere.mp4", "--point", "1,2"], "nowhere.mp4: no such file or folder"),
        (["track", "{clip}"], "there is no display to open a window on"),
        (["image", "nowhere.png", "--point", "1,2"], "nowhere.png: no such file"),
        (["image", "{photo}"], "give the prompt on the command line, with --point"),
        (["image", "{photo}", "--point", "500,2"], "point (500, 2) lies outside"),
        (["image", "{photo}", "--point", "1,2", "--show"], "save the picture with -o FILE"),
        (["image", "{photo}", "--point", "1,2", "-o", "x.xyz"], "--output x.xyz: give a name that ends"),
        (["image", "{photo}", "--point", "1,2", "-o", "x.exr"], "--output x.exr: give a name that ends"),
        (["image", "{photo}", "--point", "1,2", "--ids", "x.jpg"], "--ids x.jpg: give a name that ends in"),
        (["image", "photo.png", "--mask", "photo_sam2.png"], "--output photo_sam2.png is what is read"),
        (["image", "~nobody-here/x.png", "--point", "1,2"], "~nobody-here/x.png: no such file"),
        (["track", "http://[bad", "--point", "1,2"], "http://[bad: not an address"),
        (["track", "{clip}", "--prompts", "deep.json"], "deep.json: not JSON"),
        (["track", "{clip}", "--point", "1,2", "--memory-frames", "10"], "memory_frames 10 is more than"),
        (["track", "{clip}", "--point", "-1,2"], "point (-1, 2) lies outside"),
        (["track", "{clip}", "--point", "1,2", "--masks", "{photo}"], "photo.png is a file: give a folder"),
        (["track", "{clip}", "--mask", "photo_sam2.png", "--masks", "."], "holds photo_sam2.png, which"),
        (["track", "{clip}", "--prompts", "mask.json", "--masks", "."], "holds photo_sam2.png, which"),
        (["track", "{clip}", "--prompts", "twice.json"], "frame 1: object 1 has two prompts in one image"),
        (["track", "{clip}", "--object", "5", "--mask", "two.png"], "two.png: holds the objects 3, 7"),
        (["everything", "{clip}"], "clip.mp4: not a readable picture"),
        (["track", "nowhere.mp4", "--box", "9,9,1,1"], "x_min >= x_max"),
        (["track", "{clip}", "--point", "1,2", "--checkpoint", "gone.pt"], "gone.pt: no such file"),
        (["track", "{clip}", "--point", "1,2", "--checkpoint", "{clip}"], "clip.mp4: "),
        (["track", "{clip}", "--point", "1,2", "--image-size", "100"], "image size 100 is not a multiple"),
        (["track", "{clip}", "--point", "1,2", "--device", "toaster"], "toaster"),
        (["track", "{clip}", "--point", "1,2", "--frame", "4", "--point", "500,2"], "frame 4: point (500"),
        (["track", "{clip}", "--point", "1,2", "-o", "{clip}"], "is what is read: give another place"),
        (["track", "{clip}", "--point", "1,2", "--json", "{clip}"], "--json {clip} is what is read"),
        (["track", "{clip}", "--point", "1,2", "--json", "a", "--boxes", "a"], "--boxes a is where --json"),
        (["track", "{clip}", "--point", "1,2", "--json", "."], "--json . is a folder: give a file's name"),
        (["track", "{clip}", "--mask", "{photo}", "--boxes", "{photo}"], "photo.png is what is read"),
        (["track", "999999999999", "--point", "1,2"], "camera 999999999999: there is none of this number"),
        (["image", "{photo}", "--point", "1,2", "-o", "{photo}"], "--output {photo} is what is read"),
        (["everything", "{photo}", "--json", "{photo}"], "--json {photo} is what is read"),
        (["track", "{clip}", "--point", "1,2", "--fps", "0"], "--fps 0 is not between 0.1 and 1000"),
        (["track", "{clip}", "--point", "1,2", "--fps", "inf"], "--fps inf is not between 0.1 and 1000"),
        (["track", "{clip}", "--point", "1,2", "-o", "x.gif"], "x.gif: unknown kind of video; give one of"),
        (["track", "{clip}", "--point", "1,2", "--alpha", "7"], "--alpha 7.0 is not between 0 and 1"),
        (["evaluate", "nowhere"], "nowhere: no such folder"),
    ],
)  # fmt: skip
def test_an_error_is_one_clear_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt.switch_backend("agg")
    clip, photo = write_video(tmp_path / "clip.mp4", 2), tmp_path / "photo.png"
    cv2.imwrite(str(photo), picture(0)[0][..., ::-1])
    cv2.imwrite("photo_sam2.png", picture(0)[1].astype(np.uint8) * 255)
    save_palette_png(Path("two.png"), np.repeat(np.uint8([[0, 3, 7]]), 4, axis=0))
    Path("deep.json").write_text("[" * 100_000)
    Path("mask.json").write_text('[{"mask": "photo_sam2.png"}]')
    entry = '{"frame": 1, "points": [[1, 2]]}'
    Path("twice.json").write_text(f"[{entry}, {entry}]")
    assert sam2(*(argument.format(clip=clip, photo=photo) for argument in arguments)) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("sam2 ")]
    assert len(errors) == 1
    assert message.format(clip=clip, photo=photo) in errors[0]


@pytest.mark.parametrize(
    "refused", [["--point", "500,2"], ["--object", "1", "--frame", "1", "--box", "500,1,501,2"]]
)
def test_a_refused_prompt_leaves_earlier_results_alone(refused: list[str], tmp_path: Path) -> None:
    clip, results = write_video(tmp_path / "clip.mp4", 2), tmp_path / "results.json"
    write_folder(tmp_path / "frames", 2)
    results.write_text("[]")
    for source in (clip, tmp_path / "frames"):
        assert sam2("track", str(source), *refused, "--json", str(results)) == 2
        assert results.read_text() == "[]"


def test_a_foreign_checkpoint_ends_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "foreign.pt").write_bytes(b"PK\x03\x04" + bytes(100))
    write_folder(tmp_path / "frames", 1)
    command = [*COMMAND, "track", "frames", "--point", "1,2", "--checkpoint", "foreign.pt"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT, check=False)
    assert done.returncode == 2
    assert "foreign.pt: truncated, damaged or no file of weights" in done.stderr
    assert "Traceback" not in done.stderr
