"""The pages' pictures are there, small, and made by the commands that stand above them."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import cv2

ROOT = Path(__file__).parents[1]


def test_the_pictures_of_the_commands_are_made_by_the_commands_shown() -> None:
    commands = runpy.run_path(str(ROOT / "scripts" / "make_pictures.py"))["commands"]()
    assert list(commands) == ["image", "everything", "track"]
    for name, (program, command, *_) in commands.items():
        assert (program, command) == ("sam2", name)


def test_every_picture_that_a_page_shows_is_there_and_small() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    pictures = [
        page.parent / name
        for page in pages
        for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())
    ]
    assert len(pictures) >= 4
    for path in pictures:
        assert path.is_file() and path.stat().st_size < 150_000, path
        if path.suffix != ".svg":
            picture = cv2.imread(str(path))
            assert picture is not None and picture.std() > 20, path
