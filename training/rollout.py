"""A differentiable walk through a batch of clips: what the tracker does online, for training.

All objects of a batch begin in frame 0 with the same kind of prompt, so their memories stay equally long
and every step is one call of the model for all of them. Gradients flow through the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sam2_core.model.sam2 import SAM2, MaskOutput, VisionFeatures
from sam2_core.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from sam2_core.tracker import PREVIOUS_LOGIT_LIMIT
from training.prompts import PromptBatch

SLIP_SHARE = 0.25
"""Chance that what is remembered of a frame is wrong in one place, so that mistakes do not breed mistakes."""

SLIP_LOGIT = 8.0


@dataclass(frozen=True)
class ClipBatch:
    """B clips and N objects in them.

    Attributes:
        images: uint8 RGB (B, T, S, S, 3).
        masks: bool (N, T, S, S).
        clip: (N,) which clip an object is in.
        prompts: For frame 0, the ones that are tracked from.
        others: For frame 0, too: boxes and clicks, as far as `prompts` are not such.
    """

    images: Tensor
    masks: Tensor
    clip: Tensor
    prompts: PromptBatch
    others: tuple[PromptBatch, ...]

    def to(self, device: torch.device) -> ClipBatch:
        """The same batch on a device."""
        return ClipBatch(
            self.images.to(device),
            self.masks.to(device),
            self.clip.to(device),
            self.prompts.to(device),
            tuple(prompts.to(device) for prompts in self.others),
        )


@dataclass(frozen=True)
class Remembered:
    """What is kept of one frame: memory and appearance (N, h w, C_memory), pointer (N, C)."""

    memory: Tensor
    appearance: Tensor | None
    pointer: Tensor


def encode_clips(model: SAM2, images: Tensor) -> VisionFeatures:
    """Encode all frames of a batch at once: uint8 RGB (B, T, S, S, 3) -> features of B * T images."""
    pixels = images.flatten(0, 1).float().div_(255)
    normalised = pixels.sub_(pixels.new_tensor(IMAGENET_MEAN)).div_(pixels.new_tensor(IMAGENET_STD))
    return model.encode_image(normalised.movedim(-1, 1))  # channels last already


def pick(features: VisionFeatures, index: Tensor) -> VisionFeatures:
    """Features of the chosen images, one per object."""
    return VisionFeatures(
        features.embedding[index],
        (features.high_resolution[0][index], features.high_resolution[1][index]),
        None if features.appearance is None else features.appearance[index],
    )


def begin(model: SAM2, vision: VisionFeatures, prompts: PromptBatch, masks: Tensor) -> MaskOutput:
    """First frame: answer the prompt.

    Args:
        model: The model.
        vision: Features, one per object.
        prompts: The prompts.
        masks: bool (N, S, S) true masks, which a mask prompt gives.
    """
    if prompts.kind == "mask":
        return model.from_mask(vision, masks[:, None].float())
    embedding = model.begin(vision, prompts.points, prompts.labels)
    several = prompts.several and not model.config.look_up_clicks
    return model.decode(embedding, vision.high_resolution, prompts.points, prompts.labels, several=several)


def correct(model: SAM2, vision: VisionFeatures, output: MaskOutput, prompts: PromptBatch) -> MaskOutput:
    """First frame again: correct a result by further clicks, as the tracker does.

    Args:
        model: The model.
        vision: Features, one per object.
        output: What is to be corrected.
        prompts: Clicks, see `correcting_clicks`.
    """
    previous = output.logits.detach().clamp(-PREVIOUS_LOGIT_LIMIT, PREVIOUS_LOGIT_LIMIT)
    embedding = model.begin(vision, prompts.points, prompts.labels)
    return model.decode(embedding, vision.high_resolution, prompts.points, prompts.labels, previous)


def follow(model: SAM2, vision: VisionFeatures, past: list[Remembered]) -> MaskOutput:
    """A later frame: look up the memory, then decode without a prompt.

    Args:
        model: The model.
        vision: Features, one per object.
        past: Frame 0 first; the slots are filled as `sam2_core.memory` fills them online.
    """
    now = len(past)
    reach = model.config.memory.memory_frames
    distances = [d for d in range(1, reach + 1) if now - d >= 1]
    frames = [0, *(now - d for d in distances)]
    pointing = [0, *(now - d for d in range(1, model.config.memory.object_pointers) if now - d >= 1)]
    pointers = torch.stack([past[t].pointer for t in pointing], dim=1)
    appearance = None
    if vision.appearance is not None:
        appearance = torch.stack([past[t].appearance for t in frames], dim=1)
    embedding = model.condition_on_memory(
        vision,
        torch.stack([past[t].memory for t in frames], dim=1),
        appearance,
        [0, *distances],
        pointers,
        pointers.new_zeros(pointers.shape[:2]),
    )
    return model.decode(embedding, vision.high_resolution)


def slip(logits: Tensor, rng: np.random.Generator) -> Tensor:
    """Masks (N, 1, H, W), some of them with a blotch added or a piece missing, as a tracker's mistakes."""
    count, _, height, width = logits.shape

    def drawn(*shape: int) -> Tensor:
        return torch.from_numpy(rng.random(shape, np.float32)).to(logits.device)

    inside = logits[:, 0] > 0
    missing = (drawn(count) < 0.5) & inside.flatten(1).any(1)
    part = (drawn(count, height, width) * inside).flatten(1).argmax(1)
    place = torch.where(missing, part, (drawn(count) * (height * width)).long())
    radius = 0.05 + 0.2 * drawn(2, count, 1, 1)
    rows = torch.arange(height, device=logits.device)[:, None] - (place // width)[:, None, None]
    columns = torch.arange(width, device=logits.device) - (place % width)[:, None, None]
    blotch = (rows / (radius[0] * height)) ** 2 + (columns / (radius[1] * width)) ** 2 < 1
    slipped = blotch & (drawn(count) < SLIP_SHARE)[:, None, None]
    side = torch.where(missing, -SLIP_LOGIT, SLIP_LOGIT).to(logits.dtype)
    return torch.where(slipped[:, None], side[:, None, None, None], logits)


def roll_out(
    model: SAM2, batch: ClipBatch, features: VisionFeatures, rng: np.random.Generator | None = None
) -> list[MaskOutput]:
    """Track all objects through their clips.

    Args:
        model: The model.
        batch: Clips and prompts.
        features: Of all frames, from `encode_clips`.
        rng: Makes slips in what is remembered after the first frame, see `slip`; None: none.

    Returns: One output per frame.
    """
    frames = batch.images.shape[1]
    past: list[Remembered] = []
    outputs = []
    for t in range(frames):
        vision = pick(features, batch.clip * frames + t)
        if t == 0:
            output = begin(model, vision, batch.prompts, batch.masks[:, 0])
        else:
            output = follow(model, vision, past)
        outputs.append(output)
        if t + 1 < frames:
            shown = slip(output.logits, rng) if rng is not None and t else output.logits
            memory = model.encode_memory(vision, shown, output.presence_logit, binarise=t == 0)
            past.append(Remembered(memory, vision.appearance, output.pointer))
    return outputs
