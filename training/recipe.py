"""The stages of training: what `python -m training.train` does, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from sam2_core.configs import MODELS
from training.batches import BatchSettings

OWN_SIZE = MODELS["sam2_nano"].image_size
"""The size that training ends with is the one that the model is used at."""


@dataclass(frozen=True)
class Stage:
    """One stage of training.

    Attributes:
        name: For logs, and to start from.
        batch: Size and mixture of the batches of every process.
        answers: If given, every fourth batch is one of these instead: single frames, for learning which
            object a prompt means, lest following the one that stands out be enough.
        steps: Optimisation steps.
        rate: Highest learning rate of everything but the trunk.
        trunk_rate: Highest learning rate of the trunk.
        only: If given, nothing is trained but the parameters whose names begin with one of these.
        frozen_blocks: So many of the trunk's first blocks, and its stem, stay as they are.
        warm_up: Steps until the highest rate is reached.
        last_rate: Share of the highest rate that is left at the end.
    """

    name: str
    batch: BatchSettings
    steps: int
    rate: float = 6e-4
    trunk_rate: float = 0.9e-4
    frozen_blocks: int = 3
    warm_up: int = 60
    last_rate: float = 0.02
    only: tuple[str, ...] = ()
    answers: BatchSettings | None = None

    @property
    def cycle(self) -> tuple[BatchSettings, ...]:
        """Batches in turn."""
        return (self.batch, self.batch, self.batch, self.answers) if self.answers else (self.batch,)

    def rate_factor(self, step: int, progress: float) -> float:
        """Learning rate at a step, as a share of the highest: a short rise, then half a cosine.

        Args:
            step: Steps taken in this stage.
            progress: Share of the stage that is over, 0 to 1.
        """
        rise = min(1.0, (step + 1) / max(1, self.warm_up))
        fall = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return rise * (self.last_rate + (1 - self.last_rate) * fall)


MASKS_FIRST = (("mask", 0.5), ("box", 0.25), ("point", 0.25))
ANSWERS = BatchSettings(
    clips=5, frames=1, size=256, objects=3, kinds=(("box", 0.5), ("point", 0.5)), crowded=True
)

STAGES = (
    Stage("small", BatchSettings(clips=4, frames=3, size=160, kinds=MASKS_FIRST), 1200),
    Stage("medium", BatchSettings(clips=3, frames=3, size=256, kinds=MASKS_FIRST), 1200, rate=4e-4),
    Stage("long", BatchSettings(clips=2, frames=5, size=256), 4000, 3e-4, 0.6e-4, answers=ANSWERS),
    Stage(
        "finish",
        BatchSettings(clips=2, frames=5, size=OWN_SIZE),
        1200,
        rate=2e-4,
        trunk_rate=0.4e-4,
        answers=replace(ANSWERS, clips=2, size=OWN_SIZE),
    ),
    # answering prompts, on single frames; what tracks stays as it is
    Stage(
        "prompts",
        replace(ANSWERS, size=OWN_SIZE),
        600,
        rate=1e-3,
        only=("sam_prompt_encoder.mask_downscaling", "sam_prompt_encoder.point_embeddings"),
    ),
)
"""From ImageNet's trunk to sam2_nano; batch sizes are those of each of two processes."""

GPU_STAGE = Stage(
    "gpu",
    BatchSettings(clips=8, frames=8, size=OWN_SIZE, objects=3),
    800,
    rate=4e-4,
    trunk_rate=0.8e-4,
    frozen_blocks=0,
    answers=replace(ANSWERS, clips=8, size=OWN_SIZE),
)
"""Longer clips, larger batches, for `--device cuda --processes 3 --workers 5`; carried out only if named."""

NAMES = tuple(stage.name for stage in (*STAGES, GPU_STAGE))


def stages_from(name: str | None) -> tuple[Stage, ...]:
    """The stages from a given one on.

    Raises:
        ValueError: There is no stage of this name.
    """
    if name is None:
        return STAGES
    if name == GPU_STAGE.name:
        return (GPU_STAGE,)
    if name not in NAMES:
        raise ValueError(f"no stage {name!r}: choose from {', '.join(NAMES)}")
    return STAGES[NAMES.index(name) :]
