"""What a tracker says of an object in an image, and what it knows of the object afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .memory import MemoryBank
from .memory_entry import unique_bytes
from .model import VisionFeatures
from .motion import MOTION_BYTES, BoxMotion


@dataclass(frozen=True, eq=False)
class Track:
    """One object in one image.

    Attributes:
        object_id: 1 to 255.
        label: the name it was given, or empty.
        mask: bool (H, W), of the image's size.
        box: (4,) int x_min, y_min, x_max, y_max in pixels, the maxima exclusive; None for an empty mask.
        score: predicted IoU of the mask, 0 to 1.
        presence: probability that the object is in the image, 0 to 1.
        visible: the mask is not empty. It is empty where the object is out of sight: where a model that gates
            by presence has presence below 0.5, and where `SightConfig` says so.
        mask_logits: float32 (h, w), a quarter of the model's image size; `ABSENT_LOGIT` everywhere where the
            object is out of sight.
    """

    object_id: int
    label: str
    mask: NDArray[np.bool_]
    box: NDArray[np.int64] | None
    score: float
    presence: float
    visible: bool
    mask_logits: NDArray[np.float32]


@dataclass(frozen=True)
class ImageFeatures:
    """An encoded image: all that `Tracker.advance` needs of it.

    Attributes:
        vision: the model's features, batch 1.
        height, width: of the image, pixels.
    """

    vision: VisionFeatures
    height: int
    width: int


@dataclass(frozen=True)
class ObjectState:
    """Everything known of one object. Immutable: a snapshot is a reference.

    Attributes:
        label: the name it was given, or empty.
        bank: its memory.
        index: number of the image it was last seen to.
        logits: (1, 1, h, w) its mask logits in that image.
        motion: how its box moves, in pixels of the low-resolution mask; None where the policy does not ask.
        in_sight: it was to be seen in that image, see `SightConfig`.
    """

    label: str
    bank: MemoryBank
    index: int
    logits: Tensor
    motion: BoxMotion | None
    in_sight: bool

    def tensors(self) -> list[Tensor]:
        """Everything that occupies memory."""
        return [self.logits, *(tensor for entry in self.bank.entries for tensor in entry.tensors())]

    @property
    def nbytes(self) -> int:
        """Bytes held for this object, at most `memory.most_bytes`; what it shares with others counts, too."""
        return state_bytes([self])

    def shifted(self, offset: int) -> ObjectState:
        """The same state, as if `offset` more images had been processed before all it knows of."""
        if offset == 0:
            return self
        entries = tuple(replace(entry, index=entry.index + offset) for entry in self.bank.entries)
        return replace(self, bank=MemoryBank(self.bank.config, entries), index=self.index + offset)


def state_bytes(states: Iterable[ObjectState]) -> int:
    """Bytes held for these objects together; what they share counts once."""
    states = list(states)
    moving = {id(state.motion) for state in states if state.motion is not None}
    return unique_bytes(t for state in states for t in state.tensors()) + MOTION_BYTES * len(moving)
