"""Memory: what is kept of an object's past.

A memory is a tuple of immutable entries, so that a snapshot of it is the tuple itself. What a policy for
streams keeps is bounded, whatever their length.
"""

from __future__ import annotations

from collections.abc import Iterable

from .configs import MemoryConfig, SAM2Config
from .memory_entry import Entries, MemoryEntry, Selection
from .memory_policies import fitting, policy_named
from .motion import MOTION_BYTES


class MemoryBank:
    """The memory of one object.

    Args:
        config: how much is kept, and by which policy.
        entries: a snapshot to start from.

    Raises:
        ValueError: the policy is unknown.
    """

    def __init__(self, config: MemoryConfig, entries: Entries = ()) -> None:
        self.config = config
        self.policy = policy_named(config.policy)
        self.entries = entries

    def with_entry(self, entry: MemoryEntry) -> MemoryBank:
        """The bank after an image; this one stays as it is."""
        return MemoryBank(self.config, self.policy.keep(self.entries, entry, self.config))

    def with_prompted(self, entries: Iterable[MemoryEntry]) -> MemoryBank:
        """The bank with prompted images from elsewhere, as many as fit."""
        others = tuple(entry for entry in self.entries if not entry.prompted)
        prompted = sorted((*(e for e in self.entries if e.prompted), *entries), key=lambda entry: entry.index)
        return MemoryBank(self.config, (*fitting(prompted, self.config), *others))

    def select(self, index: int, reverse: bool = False) -> Selection:
        """What image number `index` sees of the past."""
        return self.policy.select(self.entries, index, self.config, reverse)


def most_bytes(config: SAM2Config, memory: MemoryConfig) -> int:
    """Bytes that the memory of one object occupies at most, whatever the stream and the policy.

    Features are float32. Appearance keys belong to the image: several objects share them.

    Args:
        config: of the model.
        memory: how much is kept.
    """
    height, width = config.grid
    spatial = height * width * config.memory_channels * (2 if config.appearance_keys else 1)
    seen = memory.prompted_frames + memory.memory_frames
    pointers = seen + max(memory.object_pointers - 1, 0)
    logits = 4 * height * 4 * width
    return 4 * (seen * spatial + pointers * config.channels + logits) + MOTION_BYTES
