"""Loading a model: the one way from a name to a network that is ready to run."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from .allocator import keep_freed_memory
from .checkpoints import load_weights, require_checkpoint
from .configs import MODELS, EfficientNetConfig
from .model import SAM2

_log = logging.getLogger(__name__)

PRECISIONS = ("auto", "float32", "bfloat16")
"""What `load_model` accepts as precision."""


def load_model(
    name: str,
    checkpoint: str | Path | None = None,
    device: str = "auto",
    image_size: int | None = None,
    precision: str = "auto",
) -> SAM2:
    """Build a model and load its weights.

    Args:
        name: one of `MODELS`: `sam2_nano` comes with the package; official ones (`sam2.1_hiera_tiny`, ...)
            are downloaded on first use.
        checkpoint: a weights file to use instead, as published or as safetensors.
        device: `cpu`, `cuda`, `cuda:1`, `mps`, ...; `auto` takes the accelerator there is, else the CPU.
        image_size: side of the model's square input in pixels, a multiple of 32; None: the model's own.
            Smaller is faster and coarser.
        precision: numbers in which images and memories are encoded and looked up, see
            `SAM2.use_precision`: `float32`, or `bfloat16`, which is faster where the processor computes in
            it; `auto`: bfloat16 for sam2_nano on such a CPU, else float32, for the original's numbers.

    Returns: the model in evaluation mode.

    Raises:
        ValueError: the name, device, image size or precision is not one that there is.
        CheckpointError: the weights are missing, damaged or those of another model.
    """
    if name not in MODELS:
        raise ValueError(f"model {name!r} is unknown: choose from {', '.join(MODELS)}")
    config = MODELS[name] if image_size is None else replace(MODELS[name], image_size=image_size)
    # first, so that what can't be followed is refused before anything is downloaded
    model = make_ready(SAM2(config), device, precision)
    load_weights(model, require_checkpoint(name, checkpoint), name)
    return model


def make_ready(model: SAM2, device: str = "auto", precision: str = "auto") -> SAM2:
    """Put a model where it is to run, in evaluation mode and without gradients.

    On a CPU the process keeps from then on what its images free, see `allocator.keep_freed_memory`.

    Args:
        model: with its weights, or about to get them.
        device: as for `load_model`.
        precision: as for `load_model`.

    Returns: the same model.

    Raises:
        ValueError: the device or precision is not one that there is.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} is unknown: choose from {', '.join(PRECISIONS)}")
    chosen = choose_device(device)
    if chosen.type == "cpu":
        keep_freed_memory()
    if isinstance(model.config.trunk, EfficientNetConfig):
        # the layout in which depthwise convolutions are fastest
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if precision == "auto" and chosen.type == "cpu" and computes_in_bfloat16():
            precision = "bfloat16"
    if precision == "bfloat16":
        if chosen.type == "cpu" and not computes_in_bfloat16():
            _log.warning(
                "precision bfloat16 is many times slower than float32 on a processor that does not multiply "
                "such numbers, and this one is not known to: give auto or float32"
            )
        model.use_precision(torch.bfloat16)
    return model.to(chosen).requires_grad_(False).eval()


def precision_name(model: SAM2) -> str:
    """A model's precision as `load_model` calls it."""
    return str(model.precision).removeprefix("torch.")


def computes_in_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers in hardware (AVX-512 BF16 or AMX).

    Before PyTorch 2.10, which does not tell, it is taken not to.
    """
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


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
