"""`make figures` fills the page with what the commands say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).parents[1]
SHAPE = (96, 128)


def write_sequence(root: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Four frames of a disk that moves to the right."""
    frames, masks = (root / f"davis2016-dev/{part}/480p/{name}" for part in ("JPEGImages", "Annotations"))
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for folder in (frames, masks):
        folder.mkdir(parents=True)
    for index in range(4):
        inside = (columns - 50 - 2 * index) ** 2 + (rows - 48) ** 2 <= 18**2
        image = np.full((*SHAPE, 3), 40, np.uint8)
        image[inside] = colour
        cv2.imwrite(str(frames / f"{index:05d}.jpg"), image)
        cv2.imwrite(str(masks / f"{index:05d}.png"), inside.astype(np.uint8) * 255)


def test_tables_plot_and_sheets_are_made_anew(tmp_path: Path) -> None:
    write_sequence(tmp_path, "ball", (60, 90, 220))
    write_sequence(tmp_path, "coin", (20, 200, 230))
    page = tmp_path / "nano.md"
    blocks = ("results", "baseline", "calibration")
    page.write_text("begin\n" + "".join(f"<!-- figures: {name} -->\nold\n<!-- end -->\n" for name in blocks))
    command = (sys.executable, ROOT / "scripts/figures.py", tmp_path, "--page", page)
    options = ("--output", tmp_path / "out", "--without-speed", "--image-size", "128")
    subprocess.run([*map(str, (*command, *options))], check=True, capture_output=True, cwd=ROOT)
    text = page.read_text()
    assert text.startswith("begin\n<!-- figures: results -->\n| prompt | J&F | J | F | ball | coin |\n")
    assert "\nold\n" not in text
    assert text.count("<!-- end -->") == len(blocks)
    for row in ("| one click | ", "| CSRT | ", "| frames with the object | "):
        assert row in text
    # Two videos: the two frames of each that count, and those after its cut but for the last.
    frames_without = next(line for line in text.splitlines() if line.startswith("| frames without"))
    assert frames_without.split("|")[2:6] == [" 0 ", " 0 ", " 0 ", f" {2 * 3} "]
    assert cv2.imread(str(tmp_path / "calibration.png")) is not None
    for name in ("mask", "box", "point", "cuts"):
        assert (tmp_path / f"out/contact_sheet_{name}.png").is_file()
