"""The prepared training photographs and videos: decoded once, kept in memory maps, drawn by weight."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

SMALLEST_SHARE = 0.008
"""An instance must cover this share of its photo to be an object of a clip."""

FIGURES = ("duts", "ecssd", "humans", "clothing")
"""Sources whose numbers may be parts of one figure."""


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

    @property
    def instances(self) -> list[int]:
        """Numbers of the instances that are large enough to be pointed at."""
        return [number for number, share in enumerate(self.shares, start=1) if share >= SMALLEST_SHARE]

    @property
    def is_scene(self) -> bool:
        """Whether several objects are known."""
        return len(self.instances) > 1 and self.source not in FIGURES


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
        scenes = weights * [photo.is_scene for photo in self.photos]
        self._cumulative_scenes = np.cumsum(scenes / max(scenes.sum(), 1e-9))
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

    def draw_scene(self, rng: np.random.Generator) -> int:
        """Position of a photo in which several objects are known, drawn by weight; of any if none is."""
        if not self._cumulative_scenes[-1]:
            return self.draw(rng)
        return min(int(np.searchsorted(self._cumulative_scenes, rng.random())), len(self.photos) - 1)

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
        if not photo.instances or (photo.source in FIGURES and rng.random() < 0.6):
            return (labels > 0).astype(np.uint8)
        return (labels == self._choose(photo, 1, rng)[0]).astype(np.uint8)

    def object_masks(self, position: int, most: int, rng: np.random.Generator) -> np.ndarray:
        """Choose several instances of a photo.

        Returns:
            uint8 (size, size), 1 on the first, 2 on the second, up to `most`.
        """
        photo, labels = self.photos[position], self.labels(position)
        numbers = np.zeros(256, np.uint8)
        chosen = self._choose(photo, most, rng)
        numbers[chosen] = np.arange(1, len(chosen) + 1)
        return numbers[labels]

    @staticmethod
    def _choose(photo: Photo, most: int, rng: np.random.Generator) -> np.ndarray:
        chances = np.sqrt([photo.shares[number - 1] for number in photo.instances])
        count = min(most, len(photo.instances))
        return rng.choice(photo.instances, count, replace=False, p=chances / chances.sum())


def write_list(path: Path, entries: Sequence[Photo] | Sequence[Video]) -> None:
    """Store what is known of the photos or videos beside their pixels."""
    path.write_text(json.dumps([asdict(entry) for entry in entries]))
