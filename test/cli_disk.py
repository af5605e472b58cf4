"""The command `sam2`, and a bright disk that moves over a dark ground for it to follow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np

from sam2_core.cli import main

FRAMES = 12
COMMAND = (sys.executable, "-m", "sam2_core.cli")
_PATHS = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, _PATHS))}
SHAPE = (96, 128)


def picture(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disk that moves over a dark, textured ground: image (RGB) and mask."""
    random = np.random.default_rng(0)
    image = random.integers(20, 60, (*SHAPE, 3), np.uint8)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mask = (columns - 40 - 3 * index) ** 2 + (rows - 48) ** 2 <= 20**2
    image[mask] = (230, 180, 40)
    return image, mask


def write_folder(folder: Path, count: int = FRAMES) -> Path:
    folder.mkdir(parents=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index:05d}.jpg"), picture(index)[0][..., ::-1])
    return folder


def write_video(path: Path, count: int = FRAMES) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, SHAPE[::-1])
    for index in range(count):
        writer.write(np.ascontiguousarray(picture(index)[0][..., ::-1]))
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    images = []
    while (read := capture.read())[0]:
        images.append(read[1])
    return images


def sam2(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)
