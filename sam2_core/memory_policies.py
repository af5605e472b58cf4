"""Policies: which images an object's memory keeps, and which of them a new image gets to see."""

from __future__ import annotations

from typing import Protocol

from .configs import MemoryConfig
from .memory_entry import Entries, MemoryEntry, Selection


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
