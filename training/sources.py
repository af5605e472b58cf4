"""The public data sets the embedded model learns from, and how each is read.

A source is a folder below the data root, laid out as its public repository is: the root holds one
folder per repository named `owner+name`. Readers yield photographs with a label map; nothing else of a
data set is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

Pair = tuple[np.ndarray, np.ndarray]

# Regions smaller than this share of the photo are too small to be followed at the training size.
SMALLEST_SHARE = 0.012
MOST_INSTANCES = 12


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes:
        name: Short name, stored with every photo.
        repository: Public repository, `owner/name`.
        terms: Licence or terms of use, as published.
        weight: How often one of its photos is drawn, relative to 1.
        read: Yields (image uint8 RGB (H, W, 3), labels uint8 (H, W), 0 for none) from the source's folder.
    """

    name: str
    repository: str
    terms: str
    weight: float
    read: Callable[[Path], Iterator[Pair]]

    def folder(self, root: Path) -> Path:
        """Where the source lies below the data root."""
        return root / self.repository.replace("/", "+")


def _image(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not a readable image: check out the repository's files again")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _parts(mask: np.ndarray) -> np.ndarray:
    """Number the connected parts of a binary mask, largest first; specks share the number 1."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    order = np.argsort(-stats[1:, cv2.CC_STAT_AREA])
    table = np.ones(count, np.uint8)
    table[0] = 0
    for rank, part in enumerate(order):
        large = stats[part + 1, cv2.CC_STAT_AREA] >= SMALLEST_SHARE * mask.size
        table[part + 1] = min(rank + 1, MOST_INSTANCES) if large else 1
    return table[labels]


def _binary_pairs(images: Path, masks: Path) -> Iterator[Pair]:
    """Photos and black-and-white masks of the same stem, in two folders."""
    by_stem = {path.stem: path for path in masks.iterdir()}
    for path in sorted(images.glob("*.[jp][pn]g")):
        mask_path = by_stem.get(path.stem)
        if mask_path is None:
            continue
        mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE)
        image = _image(path)
        if mask.shape != image.shape[:2]:
            mask = cv2.resize(mask, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_NEAREST)
        yield image, _parts(mask > 127)


def read_duts(folder: Path) -> Iterator[Pair]:
    """DUTS-TR: salient objects."""
    return _binary_pairs(folder / "DUTS-TR-Image", folder / "DUTS-TR-Mask")


def read_ecssd(folder: Path) -> Iterator[Pair]:
    """ECSSD: salient objects in complex scenes."""
    return _binary_pairs(folder / "data/ECSSD/images", folder / "data/ECSSD/ground_truth_mask")


def read_humans(folder: Path) -> Iterator[Pair]:
    """Photos of people with a binary mask."""
    return _binary_pairs(folder / "Training_Images", folder / "Ground_Truth")


def read_clothing(folder: Path) -> Iterator[Pair]:
    """Clothing co-parsing: everything that is not background is the person."""
    from scipy.io import loadmat

    for path in sorted((folder / "annotations/pixel-level").glob("*.mat")):
        labels = loadmat(path)["groundtruth"]
        yield _image(folder / "photos" / f"{path.stem}.jpg"), (labels > 0).astype(np.uint8)


def read_pedestrians(folder: Path) -> Iterator[Pair]:
    """Penn-Fudan: one number per pedestrian."""
    base = folder / "data/PennFudanPed"
    for path in sorted((base / "PedMasks").glob("*.png")):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        yield _image(base / "PNGImages" / path.name.replace("_mask", "")), labels.astype(np.uint8)


def read_regions(folder: Path) -> Iterator[Pair]:
    """BSDS500: regions drawn by people; of several drawings the one of median detail is taken."""
    from scipy.io import loadmat

    base = folder / "BSDS500/data"
    for path in sorted((base / "groundTruth").glob("*/*.mat")):
        drawings = [d["Segmentation"][0, 0] for d in loadmat(path)["groundTruth"][0]]
        drawing = sorted(drawings, key=lambda d: int(d.max()))[len(drawings) // 2]
        counts = np.bincount(drawing.ravel())
        share = counts / drawing.size
        kept = [r for r in np.argsort(-counts) if 0.015 <= share[r] <= 0.45][:MOST_INSTANCES]
        table = np.zeros(len(counts), np.uint8)
        table[kept] = np.arange(1, len(kept) + 1)
        yield _image(base / "images" / path.parent.name / f"{path.stem}.jpg"), table[drawing]


def read_coco128(folder: Path) -> Iterator[Pair]:
    """COCO128: instance polygons; small instances lie over large ones."""
    for path in sorted((folder / "instance_segmentation/labels").glob("*/*.txt")):
        image = _image(folder / "images" / path.parent.name / f"{path.stem}.jpg")
        height, width = image.shape[:2]
        polygons = []
        for line in path.read_text().splitlines():
            points = np.array(line.split()[1:], np.float64).reshape(-1, 2) * (width, height)
            polygons.append(points.round().astype(np.int32))
        polygons.sort(key=cv2.contourArea, reverse=True)
        labels = np.zeros((height, width), np.uint8)
        for number, points in enumerate(polygons[:MOST_INSTANCES], start=1):
            cv2.fillPoly(labels, [points], number)
        yield image, labels


SOURCES = (
    Source("duts", "aviroshkovan/DUTS-TR", "published for research", 1.0, read_duts),
    Source("ecssd", "total-black/U2Net-ECSSD-Evaluation", "published for research", 1.0, read_ecssd),
    Source("clothing", "bearpaw/clothing-co-parsing", "Apache-2.0", 0.35, read_clothing),
    Source("regions", "BIDS/BSDS500", "non-commercial research and education", 2.0, read_regions),
    Source("humans", "VikramShenoy97/Human-Segmentation-Dataset", "no licence stated", 0.7, read_humans),
    Source(
        "coco128",
        "lightly-ai/coco128_yolo",
        "annotations CC BY 4.0, photos under Flickr terms",
        4.0,
        read_coco128,
    ),
    Source("pedestrians", "gmguarino/PennFudan", "published for research", 2.5, read_pedestrians),
)
