"""Memory: what is kept of an object's past.

A memory is a tuple of immutable entries, so that a snapshot of it is the tuple itself. What a policy for
streams keeps is bounded, whatever their length.
"""

from __future__ import annotations

from collections.abc import Iterable

from .configs import MemoryConfig
from .memory_entry import Entries, MemoryEntry, Selection
from .memory_policies import policy_named


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
        """The bank with prompted images from elsewhere; where they are too many, the oldest but the first
        go.
        """
        others = tuple(entry for entry in self.entries if not entry.prompted)
        prompted = sorted((*(e for e in self.entries if e.prompted), *entries), key=lambda entry: entry.index)
        excess = max(len(prompted) - self.config.prompted_frames, 0)
        return MemoryBank(self.config, (*prompted[:1], *prompted[1 + excess :], *others))

    def select(self, index: int, reverse: bool = False) -> Selection:
        """What image number `index` sees of the past."""
        return self.policy.select(self.entries, index, self.config, reverse)
