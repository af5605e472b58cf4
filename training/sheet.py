"""A contact sheet of clips, to see what the model is shown: `python -m training.sheet PREPARED sheet.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from training.clips import Clip, ClipMaker, ClipSettings
from training.photos import PhotoStore

COLOURS = np.array(
    [[0, 0, 0], [255, 40, 40], [40, 220, 40], [60, 100, 255], [250, 220, 0], [255, 0, 255]], np.uint8
)


def clip_row(clip: Clip) -> np.ndarray:
    """The frames of a clip side by side, followed objects outlined and tinted: uint8 RGB (S, T * S, 3)."""
    shown = []
    for frame, labels in zip(clip.frames, clip.labels, strict=True):
        followed = np.where(np.isin(labels, clip.objects), labels, 0)
        tinted = np.where(followed[..., None] > 0, (frame // 2 + COLOURS[followed % 6] // 2), frame)
        shown.append(tinted.astype(np.uint8))
    return np.concatenate(shown, axis=1)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prepared", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--clips", type=int, default=10)
    parser.add_argument("--frames", type=int, default=7)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    maker = ClipMaker(PhotoStore(arguments.prepared), ClipSettings(arguments.frames, arguments.size))
    rows = [clip_row(maker.make(arguments.seed + i)) for i in range(arguments.clips)]
    cv2.imwrite(str(arguments.picture), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
