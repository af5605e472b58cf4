"""Decode the training photographs and videos once: `python -m training.prepare RAW PREPARED`.

RAW holds one folder per public repository (see `training.sources`); PREPARED receives memory maps that
clip synthesis reads without decoding anything. Squares, because the model resizes every image to one.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.format import open_memmap
from tqdm import tqdm

from training.photos import Photo, Video, write_list
from training.sources import SOURCES, VIDEO_SOURCES

FRAMES_PER_VIDEO = 48
SHORTEST_VIDEO = 12
"""Of a video without masks at most and at least so many frames are kept."""


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
    write_list(prepared / "photos.json", photos)
    return len(photos)


def labelled_videos(raw: Path, size: int) -> Iterator[tuple[Video, np.ndarray, np.ndarray]]:
    """Videos with masks: what is known of each, frames (T, size, size, 3) and labels (T, size, size)."""
    for source in VIDEO_SOURCES:
        if not source.folder(raw).is_dir():
            print(f"{source.folder(raw)} is missing: training goes on without {source.name}")
            continue
        for name, pairs in tqdm(source.read(source.folder(raw)), desc=source.name):
            frames = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image, _ in pairs]
            labels = [cv2.resize(label, (size, size), interpolation=cv2.INTER_NEAREST) for _, label in pairs]
            yield Video(name, 0, len(frames), labelled=True), np.stack(frames), np.stack(labels)


def unlabelled_videos(paths: list[Path], size: int) -> Iterator[tuple[Video, np.ndarray, np.ndarray]]:
    """Every third frame of video files, as `labelled_videos`; the labels are empty."""
    for path in tqdm(paths, desc="videos"):
        capture, frames = cv2.VideoCapture(str(path)), []
        for number in itertools.count():
            good, frame = capture.read()
            if not good or len(frames) == FRAMES_PER_VIDEO:
                break
            if number % 3 == 0:
                frame = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
                frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
        if len(frames) >= SHORTEST_VIDEO:
            video = Video(path.stem, 0, len(frames), labelled=False)
            yield video, np.stack(frames), np.zeros((len(frames), size, size), np.uint8)


def prepare_videos(raw: Path, unlabelled: list[Path], prepared: Path, size: int) -> int:
    """Write frames.npy, frame_labels.npy and videos.json; returns the number of frames."""
    videos: list[Video] = []
    frames, labels, start = [], [], 0
    for video, pictures, masks in (*labelled_videos(raw, size), *unlabelled_videos(unlabelled, size)):
        videos.append(replace(video, start=start, end=start + len(pictures)))
        frames.append(pictures)
        labels.append(masks)
        start += len(pictures)
    if videos:
        np.save(prepared / "frames.npy", np.concatenate(frames))
        np.save(prepared / "frame_labels.npy", np.concatenate(labels))
    write_list(prepared / "videos.json", videos)
    return start


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raw", type=Path, help="folder with one folder owner+name per public repository")
    parser.add_argument("prepared", type=Path, help="where the memory maps go (about 11 GB)")
    parser.add_argument(
        "--videos", type=Path, help="folder with unlabelled .mp4 files used as moving backgrounds"
    )
    parser.add_argument(
        "--size", type=int, default=384, help="side of the stored squares, pixels (%(default)s)"
    )
    arguments = parser.parse_args()
    arguments.prepared.mkdir(parents=True, exist_ok=True)
    unlabelled = sorted(arguments.videos.glob("*.mp4")) if arguments.videos else []
    print(f"{prepare_videos(arguments.raw, unlabelled, arguments.prepared, arguments.size)} frames")
    print(f"{prepare_photos(arguments.raw, arguments.prepared, arguments.size)} photos")


if __name__ == "__main__":
    main()
