"""The prepared training photographs and videos: decoded once, kept in memory maps, drawn by weight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Photo:
    """What is known of one prepared photograph.

    Attributes:
        source: Short name of its data set.
        weight: Relative frequency of being drawn.
        shares: Share of the picture that each instance 1, 2, ... covers.
    """

    source: str
    weight: float
    shares: list[float]


@dataclass(frozen=True)
class Video:
    """What is known of one prepared video: its name, its frames, and whether their masks are known."""

    name: str
    start: int
    end: int
    labelled: bool


class PhotoStore:
    """Square photographs with label maps, read from memory maps.

    Every twentieth photo and every tenth labelled video is held out for validation, so that no clip of one
    split shows a photo or a labelled video of the other.
    """

    def __init__(self, folder: Path, split: str = "train") -> None:
        """Open a prepared folder.

        Args:
            folder: Written by `python -m training.prepare`.
            split: `train` or `validation`.

        Raises:
            FileNotFoundError: The folder was not prepared.
        """
        if not (folder / "photos.json").exists():
            raise FileNotFoundError(f"{folder} holds no photos.json: run python -m training.prepare first")
        photos = [Photo(**entry) for entry in json.loads((folder / "photos.json").read_text())]
        self._images = np.load(folder / "images.npy", mmap_mode="r")
        self._labels = np.load(folder / "labels.npy", mmap_mode="r")
        held_out = np.arange(len(photos)) % 20 == 7
        self.indices = np.flatnonzero(held_out if split == "validation" else ~held_out)
        self.photos = [photos[i] for i in self.indices]
        weights = np.array([photo.weight for photo in self.photos])
        self._cumulative = np.cumsum(weights / weights.sum())
        self.videos: list[Video] = []
        self.labelled_videos: list[Video] = []
        if (folder / "frames.npy").exists():
            self._frames = np.load(folder / "frames.npy", mmap_mode="r")
            self._frame_labels = np.load(folder / "frame_labels.npy", mmap_mode="r")
            known = [Video(**entry) for entry in json.loads((folder / "videos.json").read_text())]
            self.videos = [video for video in known if not video.labelled and split == "train"]
            labelled = [video for video in known if video.labelled]
            self.labelled_videos = [
                video for n, video in enumerate(labelled) if (n % 10 == 7) == (split == "validation")
            ]

    @property
    def size(self) -> int:
        """Side of the stored squares in pixels."""
        return self._images.shape[1]

    def draw(self, rng: np.random.Generator) -> int:
        """Position of a photo, drawn by weight."""
        return min(int(np.searchsorted(self._cumulative, rng.random())), len(self.photos) - 1)

    def image(self, position: int) -> np.ndarray:
        """uint8 RGB (size, size, 3)."""
        return np.asarray(self._images[self.indices[position]])

    def labels(self, position: int) -> np.ndarray:
        """uint8 (size, size): the instance a pixel belongs to, 0 for none."""
        return np.asarray(self._labels[self.indices[position]])

    def frame(self, number: int) -> np.ndarray:
        """uint8 RGB (size, size, 3) of a video's frame."""
        return np.asarray(self._frames[number])

    def frame_labels(self, number: int) -> np.ndarray:
        """uint8 (size, size): 1 on the object of a labelled video's frame."""
        return np.asarray(self._frame_labels[number])

    def object_mask(self, position: int, rng: np.random.Generator) -> np.ndarray:
        """Choose an object of a photo: one instance, or all parts of a figure drawn as one.

        Returns:
            uint8 (size, size), 1 on the object.
        """
        photo, labels = self.photos[position], self.labels(position)
        numbers = [n for n, share in enumerate(photo.shares, start=1) if share >= 0.008]
        whole_figure = photo.source in ("duts", "ecssd", "humans", "clothing")
        if not numbers or (whole_figure and rng.random() < 0.6):
            return (labels > 0).astype(np.uint8)
        chances = np.sqrt([photo.shares[n - 1] for n in numbers])
        return (labels == rng.choice(numbers, p=chances / chances.sum())).astype(np.uint8)


def write_list(path: Path, entries: Sequence[Photo] | Sequence[Video]) -> None:
    """Store what is known of the photos or videos beside their pixels."""
    path.write_text(json.dumps([asdict(entry) for entry in entries]))
