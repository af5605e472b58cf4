"""Compiling a model with `torch.compile`: a longer start, and faster images where it finds something."""

from __future__ import annotations

import time

import numpy as np

from .model import SAM2
from .prompts import Prompt
from .tracker import Tracker


def compile_model(model: SAM2, everything: bool = False) -> float:
    """Compile a model in place, now rather than at the first image.

    The image encoder has one form and is compiled once. The other parts meet several: their first images,
    another number of objects, and a memory that fills up each ask for a compilation when they come.

    Args:
        model: from `load_model`.
        everything: not only the image encoder, but memory attention, memory encoder and mask decoder as well.

    Returns: how many seconds it took.

    Raises:
        RuntimeError: it can't be compiled on this machine.
    """
    begin = time.perf_counter()
    model.image_encoder.compile()
    if everything:
        for part in (model.memory_attention, model.memory_encoder, model.sam_mask_decoder):
            part.compile()
    tracker = Tracker(model)
    image = np.zeros((64, 64, 3), np.uint8)
    try:
        tracker.encode(image)
        if everything:
            tracker.step(image, [Prompt(1, box=[16, 16, 48, 48])])
            tracker.step(image)
    except Exception as error:  # compilers fail in many ways
        raise RuntimeError(f"the model can't be compiled on this machine: {error}") from error
    return time.perf_counter() - begin
