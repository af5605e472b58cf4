"""Every mask of a picture: a grid of points is asked, good and stable answers are kept, duplicates are
dropped.

The options, their defaults and the results are those of SAM's automatic mask generator (Kirillov et al.,
"Segment Anything", 2023, appendix B).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .checks import check_number
from .crops import Crop, build_point_grid, crops_of
from .masks import BoolMask, RunLengths, decode_rle, encode_rle, mask_to_box, run_lengths
from .model import SAM2, VisionFeatures
from .preprocessing import check_image, enlarge, preprocess
from .prompts import as_numbers
from .tracker import PREVIOUS_LOGIT_LIMIT

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")
RANGES: tuple[tuple[str, float, float, bool], ...] = (
    ("points_per_side", 1, inf, True),
    ("points_per_batch", 1, inf, True),
    ("pred_iou_thresh", 0, 1, False),
    ("stability_score_thresh", 0, 1, False),
    ("stability_score_offset", 0, inf, False),
    ("mask_threshold", -inf, inf, False),
    ("box_nms_thresh", 0, 1, False),
    ("crop_n_layers", 0, inf, True),
    ("crop_nms_thresh", 0, 1, False),
    ("crop_overlap_ratio", 0, 1, False),
    ("crop_n_points_downscale_factor", 1, inf, True),
    ("min_mask_region_area", 0, inf, True),
)
"""The generator's options that are numbers: name, least, most, whether it is a whole one."""
FILLED_LOGIT = 10.0
"""How far beyond the threshold filled holes and removed specks are put (SAM 2's constant)."""


@dataclass(frozen=True)
class Candidate:
    """A mask that passed the filters.

    Attributes:
        code: its uncompressed run lengths, in the whole picture.
        area: pixels.
        box: x_min, y_min, x_max, y_max in pixels; the maxima are the last pixels, as in SAM.
        predicted_iou: the model's own estimate of the mask's quality.
        stability: IoU of the masks at a higher and a lower threshold.
        point: x, y in pixels, the point that was asked.
        crop: where in the picture it was looked for.
    """

    code: RunLengths
    area: int
    box: tuple[int, int, int, int]
    predicted_iou: float
    stability: float
    point: tuple[float, float]
    crop: Crop


OWN: Any = None
"""Default of an option that the model sets."""


@dataclass
class MaskGenerator:
    """Finds the masks of everything in a picture.

    Options that are not given are SAM's, but for those marked *: these are the model's own, from
    `SAM2Config.everything`, for scores mean different things. An official model's own are SAM's.

    Attributes:
        model: from `load_model`.
        points_per_side*: the grid has its square of points; None where `point_grids` are given.
        points_per_batch: how many points the decoder takes at once: more is faster and takes more memory.
        pred_iou_thresh*: masks whose predicted IoU is not above this are dropped; 0 keeps all.
        stability_score_thresh*: masks less stable than this are dropped; 0 keeps all.
        stability_score_offset: how far the thresholds of the stability score lie from `mask_threshold`.
        mask_threshold: logits above it belong to the mask.
        box_nms_thresh: of masks whose boxes overlap more than this, the best stays.
        crop_n_layers: layer i looks at (2 ** i) ** 2 overlapping crops of the picture, beside the whole one.
        crop_nms_thresh: like `box_nms_thresh`, between crops; the smaller crop wins.
        crop_overlap_ratio: how far the first layer's crops overlap, as a share of the shorter side.
        crop_n_points_downscale_factor: points per side are divided by this from layer to layer.
        point_grids: points (N, 2) per layer, in 0..1 of the crop, instead of `points_per_side`.
        min_mask_region_area: holes and specks up to so many pixels of the low-resolution mask are removed;
            0: none.
        output_mode: form of `segmentation`: `binary_mask`, `uncompressed_rle` or `coco_rle`.
        use_m2m: ask once more with each mask as the prompt.
        multimask_output*: three masks per point instead of one.

    Raises:
        ValueError: an option is out of its range.
    """

    model: SAM2
    points_per_side: int | None = None
    points_per_batch: int = 64
    pred_iou_thresh: float = OWN
    stability_score_thresh: float = OWN
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[NDArray[np.floating[Any]]] | None = None
    min_mask_region_area: int = 0
    output_mode: str = "binary_mask"
    use_m2m: bool = False
    multimask_output: bool = OWN
    _grids: list[NDArray[np.floating[Any]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.points_per_side is not None and self.point_grids is not None:
            raise ValueError("give either points_per_side or point_grids")
        for name, value in asdict(self.model.config.everything).items():
            if getattr(self, name) is None and (name != "points_per_side" or self.point_grids is None):
                setattr(self, name, value)
        if self.output_mode not in OUTPUT_MODES:
            raise ValueError(
                f"output_mode {self.output_mode!r} is unknown: give one of {', '.join(OUTPUT_MODES)}"
            )
        for name, least, most, whole in RANGES:
            if name != "points_per_side" or self.point_grids is None:
                check_number(name, getattr(self, name), least, most, whole)
        if self.point_grids is not None:
            self._grids = [_grid(points) for points in self.point_grids]
        else:
            layers = range(self.crop_n_layers + 1)
            scale = self.crop_n_points_downscale_factor
            self._grids = [
                build_point_grid(max(1, int((self.points_per_side or 1) / scale**layer))) for layer in layers
            ]
        if len(self._grids) <= self.crop_n_layers:
            raise ValueError(
                f"{len(self._grids)} point_grids are too few for {self.crop_n_layers} layers of crops"
            )

    def generate(self, image: NDArray[np.uint8]) -> list[dict[str, Any]]:
        """Finds the masks.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            One dict per mask, the best first: `segmentation` (bool (H, W), or run lengths), `area` in
            pixels, `bbox` x, y, width, height, `predicted_iou`, `point_coords` [[x, y]], `stability_score`,
            `crop_box` x, y, width, height. Widths and heights are SAM's: last pixel minus first.

        Raises:
            ValueError: the image is not uint8 RGB.
        """
        masks: list[dict[str, Any]] = []

        def collect() -> Iterator[None]:
            masks.extend((yield from self.generate_in_pieces(image)))

        for _ in collect():
            pass
        return masks

    @torch.inference_mode()
    def generate_in_pieces(self, image: NDArray[np.uint8]) -> Generator[None, None, list[dict[str, Any]]]:
        """`generate`, with a pause after every batch of points: other work can be done in between."""
        check_image(image)
        crops = crops_of(image.shape[:2], self.crop_n_layers, self.crop_overlap_ratio)
        found: list[Candidate] = []
        for crop in crops:
            inside: list[Candidate] = []
            for batch in self._masks_of_crop(image, crop):
                inside += batch
                yield
            found += _without_duplicates(inside, [one.predicted_iou for one in inside], self.box_nms_thresh)
        if len(crops) > 1:  # masks from smaller crops are finer
            found = _without_duplicates(found, [1 / one.crop.area for one in found], self.crop_nms_thresh)
        return [self._record(candidate) for candidate in found]

    def _record(self, candidate: Candidate) -> dict[str, Any]:
        segmentation: Any = candidate.code
        if self.output_mode != "uncompressed_rle":
            mask = decode_rle(candidate.code)
            segmentation = mask if self.output_mode == "binary_mask" else encode_rle(mask)
        return {
            "segmentation": segmentation,
            "area": candidate.area,
            "bbox": _corner_and_size(candidate.box),
            "predicted_iou": candidate.predicted_iou,
            "point_coords": [list(candidate.point)],
            "stability_score": candidate.stability,
            "crop_box": _corner_and_size(candidate.crop.box),
        }

    def _masks_of_crop(self, image: NDArray[np.uint8], crop: Crop) -> Iterator[list[Candidate]]:
        config = self.model.config
        piece = np.ascontiguousarray(image[crop.y_min : crop.y_max, crop.x_min : crop.x_max])
        vision = self.model.encode_image(
            preprocess(piece, config.image_size, config.preprocessing, self.model.device)
        )
        points = (self._grids[crop.layer] * (piece.shape[1], piece.shape[0])).astype(np.float32)
        for start in range(0, len(points), self.points_per_batch):
            batch = points[start : start + self.points_per_batch]
            candidates = [
                self._candidate(*answer, crop, image.shape[:2])
                for answer in self._ask(vision, batch, piece.shape[:2])
            ]
            yield [candidate for candidate in candidates if candidate is not None]

    def _ask(
        self, vision: VisionFeatures, points: NDArray[np.float32], shape: tuple[int, ...]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], float]]:
        """Yields point (2,), logits (h, w) and predicted IoU of every mask that is good enough."""
        size = self.model.config.image_size
        scaled = torch.from_numpy(points / np.array([shape[1], shape[0]], np.float32) * np.float32(size))
        scaled = scaled[:, None].to(self.model.device)
        logits, quality = self._decode(vision, scaled, None, self.multimask_output)
        answers = logits.shape[1]
        if self.use_m2m:
            previous = logits.flatten(0, 1)[:, None].clamp(-PREVIOUS_LOGIT_LIMIT, PREVIOUS_LOGIT_LIMIT)
            again = scaled.repeat_interleave(answers, dim=0)
            refined = [
                self._decode(
                    vision,
                    again[i : i + self.points_per_batch],
                    previous[i : i + self.points_per_batch],
                    False,
                )
                for i in range(0, len(again), self.points_per_batch)
            ]
            logits, quality = (torch.cat(parts) for parts in zip(*refined, strict=True))
        every = np.repeat(points, answers, axis=0)
        for point, mask, iou in zip(
            every, logits.flatten(0, 1).float().cpu().numpy(), quality.flatten().tolist(), strict=True
        ):
            if self.pred_iou_thresh <= 0 or iou > self.pred_iou_thresh:
                yield point, mask, iou

    def _decode(
        self, vision: VisionFeatures, points: Tensor, previous: Tensor | None, several: bool
    ) -> tuple[Tensor, Tensor]:
        """Points (B, 1, 2) -> logits (B, K, h, w) and predicted IoU (B, K)."""
        labels = torch.ones(points.shape[:2], dtype=torch.int32, device=points.device)
        embedding = self.model.begin(vision, points, labels).expand(len(points), -1, -1, -1)
        decoded = self.model.raw_masks(embedding, vision.high_resolution, points, labels, previous)
        return self.model.choose(decoded, several)

    def _candidate(
        self,
        point: NDArray[np.float32],
        logits: NDArray[np.float32],
        quality: float,
        crop: Crop,
        shape: tuple[int, ...],
    ) -> Candidate | None:
        """One answer in the whole picture; None if it is unstable, or cut off by the crop's edge."""
        if self.min_mask_region_area > 0:
            logits = without_small_regions(logits, self.min_mask_region_area)
        height, width = crop.y_max - crop.y_min, crop.x_max - crop.x_min
        large = enlarge(logits, height, width, self.model.config.preprocessing)
        stability = self._stability(large)
        if self.stability_score_thresh > 0 and not stability >= self.stability_score_thresh:
            return None
        inside = large > self.mask_threshold
        box = mask_to_box(inside)
        x_min, y_min, x_max, y_max = (0, 0, 1, 1) if box is None else box.tolist()
        placed = (x_min + crop.x_min, y_min + crop.y_min, x_max - 1 + crop.x_min, y_max - 1 + crop.y_min)
        if crop.cuts(placed, shape):
            return None
        mask: BoolMask = np.zeros(shape, bool)
        mask[crop.y_min : crop.y_max, crop.x_min : crop.x_max] = inside
        where = (float(point[0]) + crop.x_min, float(point[1]) + crop.y_min)
        return Candidate(
            run_lengths(mask), int(np.count_nonzero(mask)), placed, quality, stability, where, crop
        )

    def _stability(self, logits: NDArray[np.float32]) -> float:
        strict = np.count_nonzero(logits > self.mask_threshold + self.stability_score_offset)
        generous = np.count_nonzero(logits > self.mask_threshold - self.stability_score_offset)
        return float(strict / generous) if generous else float("nan")


def _grid(points: Any) -> NDArray[np.float64]:
    """A layer's points (N, 2), checked."""
    form = "points (N, 2) in 0..1 for every layer"
    grid = as_numbers(points, "point_grids", form)
    if grid.ndim != 2 or grid.shape[1] != 2:
        raise ValueError(f"point_grids have shape {grid.shape} in a layer: give {form}")
    outside = grid[(grid < 0) | (grid > 1)]
    if outside.size:
        raise ValueError(f"point_grids hold {outside[0]:g}: give {form}")
    return grid


def without_small_regions(logits: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """Fills holes and clears specks of at most so many pixels; their logits become 10 and -10.

    Args:
        logits: (h, w); above 0 is the mask.
        largest: area in pixels of these logits.
    """
    cleaned = logits.copy()
    for regions, value in ((logits <= 0, FILLED_LOGIT), (logits > 0, -FILLED_LOGIT)):
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(regions.astype(np.uint8), connectivity=8)
        small = statistics[:, cv2.CC_STAT_AREA] <= largest
        small[0] = False  # label 0 is everything outside these regions
        cleaned[small[labels]] = value
    return cleaned


def _without_duplicates(
    candidates: list[Candidate], scores: list[float], threshold: float
) -> list[Candidate]:
    """Non-maximum suppression by boxes. Returns: those that stay, the highest score first."""
    ranked = [candidates[index] for index in np.argsort(-np.asarray(scores), kind="stable")]
    boxes = [_corner_and_size(candidate.box) for candidate in ranked]
    # A box without area (one row, one column, no pixel) overlaps nothing; OpenCV takes all of them for one.
    flat = {index for index, (_, _, width, height) in enumerate(boxes) if not width * height}
    solid = [index for index in range(len(ranked)) if index not in flat]
    # OpenCV takes positive scores only: places from the last to the first serve as well, and settle ties.
    places = [float(len(ranked) - index) for index in solid]
    # Boxes that overlap by just the threshold both stay; OpenCV, in single precision, would waver there.
    kept = cv2.dnn.NMSBoxes([boxes[index] for index in solid], places, 0.0, threshold + 1e-6)
    stay = flat | {solid[int(index)] for index in np.asarray(kept).ravel()}
    return [ranked[index] for index in sorted(stay)]


def _corner_and_size(box: tuple[int, int, int, int]) -> list[int]:
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]
