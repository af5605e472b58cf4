"""The public data sets the embedded model learns from, and how each is read.

A source is a folder below the data root, laid out as its public repository is: the root holds one
folder per repository named `owner+name`. Readers yield photographs with a label map; nothing else of a
data set is used.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
Video = tuple[str, list[Pair]]

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


@dataclass(frozen=True)
class VideoSource:
    """A data set of videos.

    Attributes:
        name: Short name, stored with every video.
        repository: Public repository, `owner/name`.
        terms: Licence or terms of use, as published.
        read: Yields (name, [(image uint8 RGB (H, W, 3), labels uint8 (H, W), 0 for none), ...]).
    """

    name: str
    repository: str
    terms: str
    read: Callable[[Path], Iterator[Video]]

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


def read_coco(folder: Path) -> Iterator[Pair]:
    """Parts of COCO with their instance files; of photos that both parts name, each is read once.

    Crowds, which stand as run lengths, are left out. Small instances lie over large ones.
    """
    read: set[str] = set()
    photos = {path.name: path for path in sorted(folder.rglob("*.jpg"))}
    for listing in sorted(folder.rglob("instances_*2017.json")):
        content = json.loads(listing.read_text())
        polygons = defaultdict(list)
        for annotation in content["annotations"]:
            if isinstance(annotation["segmentation"], list):
                polygons[annotation["image_id"]].append(annotation["segmentation"])
        for entry in content["images"]:
            name = entry["file_name"]
            if name not in photos or name in read or not polygons[entry["id"]]:
                continue
            read.add(name)
            labels = np.zeros((entry["height"], entry["width"]), np.uint8)
            parts = [
                [np.array(part, np.float64).reshape(-1, 2).round().astype(np.int32) for part in instance]
                for instance in polygons[entry["id"]]
            ]
            parts.sort(key=lambda instance: sum(map(cv2.contourArea, instance)), reverse=True)
            for number, instance in enumerate(parts[:MOST_INSTANCES], start=1):
                cv2.fillPoly(labels, instance, number)
            yield _image(photos[name]), labels


def read_davis(folder: Path) -> Iterator[Video]:
    """DAVIS 2016's training sequences, by their names; whatever else lies there is not read."""
    base = folder / "DAVIS"
    for name in DAVIS_TRAIN:
        pairs = []
        for path in sorted((base / "JPEGImages/480p" / name).glob("*.jpg")):
            mask = cv2.imread(
                str(base / "Annotations/480p" / name / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE
            )
            pairs.append((_image(path), (mask > 127).astype(np.uint8)))
        if pairs:
            yield name, pairs


DAVIS_TRAIN = (
    "bear",
    "bmx-bumps",
    "boat",
    "breakdance-flare",
    "bus",
    "car-turn",
    "dance-jump",
    "dog-agility",
    "drift-turn",
    "elephant",
    "flamingo",
    "hike",
    "hockey",
    "horsejump-low",
    "kite-walk",
    "lucia",
    "mallard-fly",
    "mallard-water",
    "motocross-bumps",
    "motorbike",
    "paragliding",
    "rhino",
    "rollerblade",
    "scooter-gray",
    "soccerball",
    "stroller",
    "surf",
    "swing",
    "tennis",
    "train",
)
"""The 30 training sequences of DAVIS 2016; the other 20 are for evaluation, and are never trained on."""

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
    *(
        Source(name, repository, "annotations CC BY 4.0, photos under Flickr terms", weight, read_coco)
        for name, repository, weight in (
            ("coco_mini", "Obmutescence/COCO-MINI", 4.0),
            ("coco_tiny", "zzowenzz/COCO_Tiny", 4.0),
            ("tiny_coco", "enginbozaba/tiny_coco", 4.0),
            ("coco_people", "minto5z/coco_yolo", 0.7),
        )
    ),
)

VIDEO_SOURCES = (
    VideoSource(
        "davis", "xmican10/KNN-project", "CC BY-NC 4.0; three sequences under YouTube's terms", read_davis
    ),
)
