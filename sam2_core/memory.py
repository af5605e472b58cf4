"""Memory: what is kept of an object's past, and which of it an image gets to see.

A memory is a tuple of immutable entries, so that a snapshot of it is the tuple itself. What a policy keeps
is bounded, whatever the length of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from torch import Tensor

from .configs import MemoryConfig


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
    """

    index: int
    prompted: bool
    pointer: Tensor
    features: Tensor | None
    appearance: Tensor | None
    quality: float
    presence: float

    def pointer_only(self) -> MemoryEntry:
        """The entry without its spatial memory."""
        return replace(self, features=None, appearance=None) if self.features is not None else self

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


class MemoryPolicy(Protocol):
    """Chooses what is kept of an object's past and what an image sees of it."""

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        """The entries after a new one came in; their number is bounded by the configuration."""

    def select(self, entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
        """What image number `index` sees; `reverse` when the stream runs backwards."""


class Fifo:
    """SAM 2's own rule: the prompted images, and the most recent of the others by their distance.

    A prompted image keeps its own slot, so among the recent ones its place stays empty. Ravi et al., SAM 2,
    2024, section 4; the numbers are those of the official configurations.
    """

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        # a new entry replaces one of the same image, but what a person said stays
        others = [e for e in entries if e.index != new.index or (e.prompted and not new.prompted)]
        prompted = [entry for entry in others if entry.prompted]
        recent = [entry for entry in others if not entry.prompted]
        (prompted if new.prompted else recent).append(new)
        if len(prompted) > config.prompted_frames:
            del prompted[min(1, config.prompted_frames - 1)]
        reach = max(config.memory_frames, config.object_pointers - 1)
        kept = []
        for entry in recent:
            age = abs(new.index - entry.index)
            if age < reach:
                kept.append(entry if age < config.memory_frames else entry.pointer_only())
        return (*prompted, *kept)

    def select(self, entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
        sign = -1 if reverse else 1
        selection = Selection([], [])
        for entry in entries:
            distance = sign * (index - entry.index)
            if entry.prompted:
                selection.spatial.append((0, entry))
                if distance >= 0 and config.object_pointers:
                    selection.pointers.append((distance, entry))
                continue
            if 1 <= distance <= config.memory_frames and entry.features is not None:
                selection.spatial.append((distance, entry))
            if 1 <= distance < config.object_pointers:
                selection.pointers.append((distance, entry))
        return selection


POLICIES: dict[str, MemoryPolicy] = {"fifo": Fifo()}
"""Policies by name; they hold no state of their own."""


class MemoryBank:
    """The memory of one object.

    Args:
        config: how much is kept, and by which policy.
        entries: a snapshot to start from.

    Raises:
        ValueError: the policy is unknown.
    """

    def __init__(self, config: MemoryConfig, entries: Entries = ()) -> None:
        if config.policy not in POLICIES:
            raise ValueError(f"memory policy {config.policy!r} is unknown: choose from {', '.join(POLICIES)}")
        self.config = config
        self.entries = entries

    def with_entry(self, entry: MemoryEntry) -> MemoryBank:
        """The bank after an image; this one stays as it is."""
        return MemoryBank(self.config, POLICIES[self.config.policy].keep(self.entries, entry, self.config))

    def with_prompted(self, entries: Iterable[MemoryEntry]) -> MemoryBank:
        """The bank with prompted images from elsewhere; where they are too many, the oldest but the first
        go.
        """
        others = tuple(entry for entry in self.entries if not entry.prompted)
        prompted = sorted((*(e for e in self.entries if e.prompted), *entries), key=lambda entry: entry.index)
        excess = max(len(prompted) - self.config.prompted_frames, 0)
        return MemoryBank(self.config, (*prompted[:1], *prompted[1 + excess :], *others))

    def select(self, index: int, reverse: bool = False) -> Selection:
        """What image number `index` sees of the past."""
        return POLICIES[self.config.policy].select(self.entries, index, self.config, reverse)


def unique_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes that these tensors occupy together; what they share counts once."""
    storages = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())
