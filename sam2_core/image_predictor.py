"""Still images: set an image once, then ask for masks as often as you like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .model import SAM2, VisionFeatures
from .preprocessing import enlarge, preprocess
from .prompts import Prompt, PromptError, as_numbers
from .tracker import PREVIOUS_LOGIT_LIMIT

Prediction = tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]
_Numbers = NDArray[np.float64] | None


class ImagePredictor:
    """Segments what prompts point at in a still image.

    Args:
        model: from `load_model`.
        mask_threshold: logits above it belong to the mask.
    """

    def __init__(self, model: SAM2, mask_threshold: float = 0.0) -> None:
        self.model = model
        self.mask_threshold = mask_threshold
        self._vision: VisionFeatures | None = None
        self._sizes: list[tuple[int, int]] = []

    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Encode an image; `predict` speaks of it from then on.

        Args:
            image: uint8 RGB (H, W, 3).

        Raises:
            ValueError: the image is not uint8 RGB.
        """
        self.set_images([image])

    @torch.inference_mode()
    def set_images(self, images: Sequence[NDArray[np.uint8]]) -> None:
        """Encode several images as one batch, for `predict(..., image=i)`; they may differ in size.

        Raises:
            ValueError: there is no image, or one is not uint8 RGB.
        """
        images = list(images)
        if not images:
            raise ValueError("there is no image: give at least one uint8 RGB (H, W, 3)")
        config = self.model.config
        batch = [
            preprocess(image, config.image_size, config.preprocessing, self.model.device) for image in images
        ]
        self._vision = self.model.encode_image(torch.cat(batch))
        self._sizes = [(image.shape[0], image.shape[1]) for image in images]

    @torch.inference_mode()
    def predict(
        self,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask_input: Any = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        image: int = 0,
    ) -> Prediction:
        """Masks for one prompt, or for B prompts at once.

        Args:
            points: (N, 2) or (B, N, 2) pixels x, y of the image.
            labels: (N,) or (B, N), 1 on the object, 0 on the background; None: all 1.
            box: (4,) or (B, 4) x_min, y_min, x_max, y_max in pixels.
            mask_input: (h, w), (1, h, w) or (B, 1, h, w) low-resolution logits, from an earlier prediction.
            multimask_output: three candidates; better for one click. False: one mask.
            return_logits: give logits instead of bool masks.
            image: number of the image, after `set_images`.

        Returns: masks (K, H, W) bool, or float32 logits; predicted IoU (K,); low-resolution logits (K, h,
            w), clamped as `mask_input` wants them. K is 3 or 1. For B prompts each has B in front.

        Raises:
            PromptError: the prompt can't be followed.
            RuntimeError: no image has been set.
        """
        if self._vision is None:
            raise RuntimeError("no image is set: call set_image first")
        if not 0 <= image < len(self._sizes):
            raise PromptError(f"image {image} was not set: give 0 to {len(self._sizes) - 1}")
        height, width = self._sizes[image]
        vision = _pick(self._vision, image)
        points = _read(points, "points", "(N, 2) or (B, N, 2) pixels, as many to each prompt")
        labels = _read(labels, "labels", "(N,) or (B, N) of 1 and 0, as many to each prompt")
        box = _read(box, "box", "(4,) or (B, 4) pixels")
        mask_input = _read(mask_input, "mask input", "low-resolution logits of an earlier prediction")
        batched = any((_rows(points, 3), _rows(box, 2), _rows(mask_input, 4)))
        coordinates, kinds = self._points(points, labels, box, height, width)
        mask = self._mask_input(mask_input)
        if mask is not None and coordinates is not None and len(mask) not in (1, len(coordinates)):
            raise PromptError(
                f"{len(mask)} mask inputs beside {len(coordinates)} prompts: give one, or one for each"
            )
        if coordinates is None and mask is None:
            raise PromptError("the prompt is empty: give points, a box or a mask input")
        count = len(coordinates) if coordinates is not None else len(mask) if mask is not None else 1
        embedding = self.model.begin(vision, coordinates, kinds).expand(count, -1, -1, -1)
        decoded = self.model.raw_masks(embedding, vision.high_resolution, coordinates, kinds, mask)
        logits, quality = self.model.choose(decoded, multimask_output)
        low = logits.float().cpu().numpy()
        config = self.model.config.preprocessing
        masks = np.stack(
            [[enlarge(candidate, height, width, config) for candidate in prompt] for prompt in low]
        )
        result = (
            masks if return_logits else masks > self.mask_threshold,
            quality.float().cpu().numpy(),
            low.clip(-PREVIOUS_LOGIT_LIMIT, PREVIOUS_LOGIT_LIMIT),
        )
        return result if batched else (result[0][0], result[1][0], result[2][0])

    def _points(
        self, points: _Numbers, labels: _Numbers, box: _Numbers, height: int, width: int
    ) -> tuple[Tensor | None, Tensor | None]:
        """Points and boxes as the model takes them: (B, P, 2) pixels of its input and (B, P) labels, or
        None.
        """
        if points is None and box is None:
            if labels is not None:
                raise PromptError("labels without points: give one point (x, y) for every label")
            return None, None
        given = {"points": _rows(points, 3), "box": _rows(box, 2), "labels": _rows(labels, 2)}
        count = max(given["points"] or 1, given["box"] or 1)
        for name, own in given.items():
            if own not in (None, count):
                raise PromptError(f"{name} of {own} prompts beside {count}: give as many of each")
        rows = []
        for row in range(count):
            prompt = Prompt(1, _row(points, 3, row), _row(labels, 2, row), _row(box, 2, row))
            prompt.check_against(height, width)
            rows.append(prompt.as_points(height, width))
        coordinates = np.stack([row[0] for row in rows]) / (width, height) * self.model.config.image_size
        kinds = np.stack([row[1] for row in rows])
        device = self.model.device
        return torch.from_numpy(coordinates).float().to(device), torch.from_numpy(kinds).to(device)

    def _mask_input(self, mask_input: _Numbers) -> Tensor | None:
        """Low-resolution logits as the model takes them: (B, 1, h, w)."""
        if mask_input is None:
            return None
        mask = torch.as_tensor(mask_input.astype(np.float32), device=self.model.device)
        while mask.ndim < 4:
            mask = mask[None]
        side = self.model.config.image_size // 4
        if mask.ndim != 4 or mask.shape[1:] != (1, side, side):
            raise PromptError(f"mask input has shape {mask_input.shape}: give logits (1, {side}, {side})")
        return mask


def _pick(vision: VisionFeatures, row: int) -> VisionFeatures:
    """One image of a batch."""
    keep = slice(row, row + 1)
    first, second = vision.high_resolution
    appearance = None if vision.appearance is None else vision.appearance[keep]
    return VisionFeatures(vision.embedding[keep], (first[keep], second[keep]), appearance)


def _read(values: Any, what: str, form: str) -> _Numbers:
    """Numbers for one prompt or several, or None; refuses those for none."""
    if values is None:
        return None
    numbers = as_numbers(values, what, form)
    if not numbers.size:
        raise PromptError(f"nothing in {what} of shape {numbers.shape}: give {form}")
    return numbers


def _rows(values: _Numbers, ndim: int) -> int | None:
    """For how many prompts these values are; None where they are given once for all, or not at all."""
    return len(values) if values is not None and values.ndim == ndim else None


def _row(values: _Numbers, ndim: int, row: int) -> _Numbers:
    """One prompt's part: of values given per prompt its row, of values given once the whole."""
    return values if values is None or values.ndim != ndim else values[row]
