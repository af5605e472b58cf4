"""The trainer's state: model, averaged weights, optimiser; saved so that a killed run goes on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sam2_core.configs import MODELS
from sam2_core.model.sam2 import SAM2
from training.recipe import Stage

EMA_DECAY = 0.997
WEIGHT_DECAY = 0.02
Weights = dict[str, Tensor]


def build_model(size: int, weights: Weights) -> SAM2:
    """sam2_nano for square images of `size` pixels, with the given weights, in training mode."""
    model = SAM2(replace(MODELS["sam2_nano"], image_size=size))
    model.load_state_dict(weights)
    return model.to(memory_format=torch.channels_last).train()


def read_weights(path: Path) -> Weights:
    """Weights of a safetensors file, as float32."""
    return {name: tensor.float() for name, tensor in load_file(path).items()}


def write_weights(weights: Weights, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights as safetensors, whole or not at all."""
    part = path.with_suffix(".part")
    save_file({name: tensor.to(dtype).contiguous() for name, tensor in weights.items()}, part)
    part.replace(path)


class TrainerState:
    """Everything that changes while a stage runs."""

    def __init__(self, stage: Stage, weights: Weights, device: torch.device | str = "cpu") -> None:
        """Start a stage from given weights, on a device."""
        self.stage = stage
        self.step = 0
        self.seconds = 0.0
        self.model = build_model(stage.batch.size, weights).to(device)
        trunk = self.model.image_encoder.trunk
        for part in (trunk.stem, *trunk.blocks[: stage.frozen_blocks]):
            part.requires_grad_(False)
        if stage.only:
            for name, parameter in self.model.named_parameters():
                parameter.requires_grad_(name.startswith(stage.only))
        trunk_parameters = [p for p in trunk.parameters() if p.requires_grad]
        known = {id(p) for p in trunk.parameters()}
        other = [p for p in self.model.parameters() if p.requires_grad and id(p) not in known]
        self.parameters = trunk_parameters + other
        self.optimizer = torch.optim.AdamW(
            [{"params": trunk_parameters, "rate": stage.trunk_rate}, {"params": other, "rate": stage.rate}],
            lr=0.0,
            betas=(0.9, 0.99),
            weight_decay=WEIGHT_DECAY,
        )
        self.ema: Weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}

    def set_rate(self, progress: float) -> None:
        """Set the learning rates of the next step."""
        factor = self.stage.rate_factor(self.step, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * group["rate"]

    @torch.no_grad()
    def average_weights(self) -> None:
        """Move the averaged weights a little towards the present ones."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.ema.values()), list(self.model.state_dict().values()), 1 - decay)

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all."""
        part = path.with_suffix(".part")
        content = {
            "stage": self.stage.name,
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(content, part)
        part.replace(path)

    def restore(self, content: dict) -> None:
        """Go on from what `save` wrote (loaded with `weights_only`)."""
        self.step, self.seconds = content["step"], content["seconds"]
        self.model.load_state_dict(content["model"])
        for name, tensor in self.ema.items():
            tensor.copy_(content["ema"][name])
        self.optimizer.load_state_dict(content["optimizer"])
