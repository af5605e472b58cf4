"""What one image leaves of one object, and what a later image sees of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MemoryEntry:
    """What one image left of one object.

    Attributes:
        index: number of the image among the processed ones.
        prompted: a person said in this image where the object is.
        pointer: (C,) object pointer.
        features: (h w, memory_channels) spatial memory; None once only the pointer is kept.
        appearance: (h w, memory_channels) appearance keys of the image, shared by its objects, or None.
        quality: predicted IoU of the mask, 0 to 1.
        presence: probability that the object is in the image.
        area: pixels of the low-resolution mask; 0, too, where the policy asks for no judgement.
        motion: IoU of the mask's box with the box that the object's motion led to expect; None where the
            policy does not ask or nothing could be expected yet.
        rivalry: smallest IoU of the mask's box with the box that it would have together with something else
            that was taken for the object, see `judgement.rivalry`; 1 where there is nothing.
        anchor: kept, like a prompted image, because a distractor was told apart in it.
    """

    index: int
    prompted: bool
    pointer: Tensor
    features: Tensor | None
    appearance: Tensor | None
    quality: float
    presence: float
    area: int = 0
    motion: float | None = None
    rivalry: float = 1.0
    anchor: bool = False

    def pointer_only(self) -> MemoryEntry:
        """The entry without its spatial memory."""
        return replace(self, features=None, appearance=None) if self.features is not None else self

    def to(self, device: torch.device) -> MemoryEntry:
        """The entry with its tensors on this device."""
        return replace(
            self,
            pointer=self.pointer.to(device),
            features=None if self.features is None else self.features.to(device),
            appearance=None if self.appearance is None else self.appearance.to(device),
        )

    def tensors(self) -> list[Tensor]:
        """Everything that occupies memory."""
        return [t for t in (self.pointer, self.features, self.appearance) if t is not None]


Entries = tuple[MemoryEntry, ...]


class Selection(NamedTuple):
    """What an image sees of the past.

    Attributes:
        spatial: pairs of slot and entry; slot 0 is a prompted image, else how many images ago.
        pointers: pairs of distance and entry; distances in images, not yet divided by anything.
    """

    spatial: list[tuple[int, MemoryEntry]]
    pointers: list[tuple[int, MemoryEntry]]


def unique_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes that these tensors occupy together; what they share counts once."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
