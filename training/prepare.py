"""Decode the training photographs once: `python -m training.prepare RAW PREPARED`.

RAW holds one folder per public repository (see `training.sources`); PREPARED receives memory maps that
clip synthesis reads without decoding anything. Squares, because the model resizes every image to one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from training.photos import Photo, write_photo_list
from training.sources import SOURCES

FRAMES_PER_VIDEO = 48


def prepare_photos(raw: Path, prepared: Path, size: int) -> int:
    """Write images.npy, labels.npy and photos.json; returns how many photos were kept."""
    present = [source for source in SOURCES if source.folder(raw).is_dir()]
    for source in SOURCES:
        if source not in present:
            print(f"{source.folder(raw)} is missing: training goes on without {source.name}")
    room = 16000
    images = open_memmap(prepared / "images.part.npy", "w+", np.uint8, (room, size, size, 3))
    labels = open_memmap(prepared / "labels.part.npy", "w+", np.uint8, (room, size, size))
    photos: list[Photo] = []
    for source in present:
        for image, label in tqdm(source.read(source.folder(raw)), desc=source.name):
            label = cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST)
            shares = (np.bincount(label.ravel(), minlength=2)[1:] / label.size).round(4).tolist()
            if not float((label > 0).mean()) >= 0.008 or max(shares) < 0.008:
                continue
            images[len(photos)] = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
            labels[len(photos)] = label
            photos.append(Photo(source.name, source.weight, shares))
    for name, array in (("images", images), ("labels", labels)):
        kept = open_memmap(prepared / f"{name}.npy", "w+", np.uint8, (len(photos), *array.shape[1:]))
        for start in range(0, len(photos), 256):
            kept[start : start + 256] = array[start : min(start + 256, len(photos))]
        kept.flush()
        (prepared / f"{name}.part.npy").unlink()
    write_photo_list(prepared, photos)
    return len(photos)


def prepare_videos(videos: list[Path], prepared: Path, size: int) -> int:
    """Write frames.npy and frames.json: real, unlabelled video to paste objects on; returns the number."""
    spans, frames = [], []
    for path in tqdm(videos, desc="videos"):
        capture, start, number = cv2.VideoCapture(str(path)), len(frames), 0
        while len(frames) - start < FRAMES_PER_VIDEO:
            good, frame = capture.read()
            if not good:
                break
            if number % 3 == 0:
                frame = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
                frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            number += 1
        if len(frames) - start >= 12:
            spans.append((start, len(frames)))
        else:
            del frames[start:]
    if frames:
        np.save(prepared / "frames.npy", np.stack(frames))
        (prepared / "frames.json").write_text(json.dumps(spans))
    return len(frames)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder with one folder owner+name per public repository")
    parser.add_argument("prepared", type=Path, help="where the memory maps go (about 8 GB)")
    parser.add_argument(
        "--videos", type=Path, help="folder with unlabelled .mp4 files used as moving backgrounds"
    )
    parser.add_argument(
        "--size", type=int, default=384, help="side of the stored squares, pixels (%(default)s)"
    )
    arguments = parser.parse_args()
    arguments.prepared.mkdir(parents=True, exist_ok=True)
    if arguments.videos:
        videos = sorted(arguments.videos.glob("*.mp4"))
        print(f"{prepare_videos(videos, arguments.prepared, arguments.size)} frames")
    print(f"{prepare_photos(arguments.raw, arguments.prepared, arguments.size)} photos")


if __name__ == "__main__":
    main()
