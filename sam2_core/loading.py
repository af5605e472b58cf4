"""Loading a model: the one way from a name to a network that is ready to run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from .checkpoints import load_weights, require_checkpoint
from .configs import MODELS, EfficientNetConfig
from .model import SAM2


def load_model(
    name: str, checkpoint: str | Path | None = None, device: str = "auto", image_size: int | None = None
) -> SAM2:
    """Build a model and load its weights.

    Args:
        name: one of `MODELS`: `sam2_nano` comes with the package; official ones (`sam2.1_hiera_tiny`, ...)
            are downloaded on first use.
        checkpoint: a weights file to use instead, as published or as safetensors.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, ...; `auto` takes the accelerator there is, else the CPU.
        image_size: side of the model's square input in pixels, a multiple of 32; None: the model's own.
            Smaller is faster and coarser.

    Returns: the model in evaluation mode, in float32.

    Raises:
        ValueError: the name, device or image size is not one that there is.
        CheckpointError: the weights are missing, damaged or those of another model.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown: choose from {', '.join(MODELS)}")
    config = MODELS[name] if image_size is None else replace(MODELS[name], image_size=image_size)
    chosen = choose_device(device)
    model = SAM2(config)
    load_weights(model, require_checkpoint(name, checkpoint), name)
    if isinstance(config.trunk, EfficientNetConfig):  # the layout in which depthwise convolutions are fastest
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.to(chosen).requires_grad_(False).eval()


def choose_device(device: str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: there is no such device on this machine.
    """
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        return accelerator if accelerator is not None else torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {device!r} can't be used here ({reason}): give auto, cpu or cuda") from None
    return chosen
