"""Small made-up training data: coloured shapes on noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from training.photos import Photo, Video, write_list

SIDE = 96

cv2.setNumThreads(1)  # OpenCV's own threads do not survive a fork


@pytest.fixture(autouse=True)
def one_thread(two_threads: None) -> None:
    """What is trained here is tiny: threads would only wait for one another."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of forty pictures with one or two shapes each."""
    folder = tmp_path_factory.mktemp("prepared")
    rng = np.random.default_rng(0)
    images, labels, photos = [], [], []
    for number in range(40):
        coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        label = np.zeros((SIDE, SIDE), np.uint8)
        for shape in range(1 + number % 2):
            centre = tuple(int(v) for v in rng.integers(25, 71, 2))
            colour = tuple(int(v) for v in rng.integers(0, 256, 3))
            cv2.circle(image, centre, 18, colour, -1)
            cv2.circle(label, centre, 18, shape + 1, -1)
        shares = (np.bincount(label.ravel(), minlength=2)[1:] / label.size).tolist()
        images.append(image)
        labels.append(label)
        photos.append(Photo("regions" if number % 2 else "duts", 1.0, shares))
    np.save(folder / "images.npy", np.stack(images))
    np.save(folder / "labels.npy", np.stack(labels))
    write_list(folder / "photos.json", photos)
    videos = [Video(f"video{n}", 10 * n, 10 * n + 10, labelled=n < 9) for n in range(10)]
    np.save(folder / "frames.npy", np.stack(images * 3)[:100])
    np.save(folder / "frame_labels.npy", (np.stack(labels * 3)[:100] > 0).astype(np.uint8))
    write_list(folder / "videos.json", videos)
    return folder
