"""Policies: which images an object's memory keeps, and which of them a new image gets to see."""

from __future__ import annotations

from dataclasses import replace
from statistics import median
from typing import Protocol

from .configs import MemoryConfig
from .memory_entry import Entries, MemoryEntry, Selection


class MemoryPolicy(Protocol):
    """Chooses what is kept of an object's past and what an image sees of it.

    Attributes:
        motion_weight: how much the expected box counts when one of several candidate masks is chosen, 0 to 1.
        asks_for_rivals: wants to know of other things that were taken for the object.
    """

    motion_weight: float
    asks_for_rivals: bool

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        """The entries after a new one came in; their number is bounded by the configuration."""

    def select(self, entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
        """What image number `index` sees; `reverse` when the stream runs backwards."""


class Fifo:
    """SAM 2's own rule: the prompted images, and the most recent of the others by their distance.

    A prompted image keeps its own slot, so among the recent ones its place stays empty. Ravi et al., SAM 2,
    2024, section 4; the numbers are those of the official configurations.
    """

    motion_weight = 0.0
    asks_for_rivals = False

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        prompted, recent = _sorted_in(entries, new, config)
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


class Everything(Fifo):
    """For finished clips: shows what `Fifo` shows, and forgets nothing, so that one may go back and run
    backwards. Grows with the clip: not for streams.
    """

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        return (*(entry for entry in entries if entry.index != new.index), new)


class Confident:
    """Only images whose mask is probably good enter the spatial memory.

    Yang et al., SAMURAI, 2024 (arXiv 2411.11922): the mask's predicted IoU is above 0.5, the object is
    there, and where its motion is known it lies where it was expected at all. The slots are filled by rank,
    the newest first, whatever lies between. Among candidate masks the expected box counts (see
    `judgement.prefer_expected`). The constants are those of the authors' configuration for the tiny model
    (for their large one the weight is 0.15). As in the paper, and other than in their code, the image before
    is no exception. Object pointers are kept as `Fifo` keeps them.
    """

    motion_weight = 0.25
    asks_for_rivals = False
    least_quality = 0.5
    least_presence = 0.5
    least_motion = 0.0

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        prompted, recent = _sorted_in(entries, new, config)
        if recent and recent[-1] is new and not self.trusts(new):
            recent[-1] = new.pointer_only()
        return (*prompted, *_newest(recent, new.index, config.memory_frames, config))

    def select(self, entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
        return _by_rank(entries, index, config, reverse)

    def trusts(self, entry: MemoryEntry) -> bool:
        """Whether an image may enter the spatial memory."""
        expected = entry.motion is None or entry.motion > self.least_motion
        return entry.quality > self.least_quality and entry.presence > self.least_presence and expected


class Distractor:
    """Recent images are kept sparsely, and those in which a distractor was told apart stay as anchors.

    Videnovic, Lukezic and Kristan, DAM4SAM, CVPR 2025. The recent part holds the newest image in which the
    object was seen and others at least `spacing` images apart; where it was not seen, nothing is kept, not
    even a pointer. An image becomes an anchor if its mask is
    reliable (predicted IoU above 0.8, area within 20 % of the median of the last ten) while a candidate held
    something else besides (`rivalry` at most 0.7), not sooner than `spacing` images after the last anchor.
    Anchors are seen like prompted images, without a temporal position; they take at most half of the
    spatial memory. The constants are the paper's and its code's. A model that gives a single candidate while
    tracking (sam2_nano) has no rivals to tell apart: for it only the sparse recent part remains.
    """

    motion_weight = 0.0
    asks_for_rivals = True
    spacing = 5
    least_quality = 0.8
    area_tolerance = 0.2
    most_rivalry = 0.7
    typical_of = 10

    def keep(self, entries: Entries, new: MemoryEntry, config: MemoryConfig) -> Entries:
        prompted, recent = _sorted_in(entries, new, config)
        anchors = [entry for entry in recent if entry.anchor]
        recent = [entry for entry in recent if not entry.anchor]
        if recent and recent[-1] is new:
            if self.is_anchor(new, recent[:-1], anchors):
                anchors.append(replace(new, anchor=True))
                recent.pop()
            elif new.area == 0:
                recent.pop()
            else:
                self._thin_out(recent)
        most = config.memory_frames // 2
        anchors = anchors[-most:] if most else []
        kept = _newest(recent, new.index, config.memory_frames - len(anchors), config)
        return (*prompted, *anchors, *kept)

    def select(self, entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
        return _by_rank(entries, index, config, reverse)

    def is_anchor(self, new: MemoryEntry, recent: list[MemoryEntry], anchors: list[MemoryEntry]) -> bool:
        """Whether the object was told from a distractor in this image, and reliably."""
        areas = [entry.area for entry in recent if entry.area][-self.typical_of :]
        if not areas or new.rivalry > self.most_rivalry or new.quality <= self.least_quality:
            return False
        if anchors and abs(new.index - anchors[-1].index) <= self.spacing:
            return False
        return abs(new.area / median(areas) - 1) <= self.area_tolerance

    def _thin_out(self, recent: list[MemoryEntry]) -> None:
        """The image that was the newest until now stays only if it is far enough from the one before it."""
        places = [i for i, entry in enumerate(recent[:-1]) if entry.features is not None]
        if len(places) > 1:
            before, newest = places[-2:]
            if abs(recent[newest].index - recent[before].index) < self.spacing:
                recent[newest] = recent[newest].pointer_only()


def _sorted_in(
    entries: Entries, new: MemoryEntry, config: MemoryConfig
) -> tuple[list[MemoryEntry], list[MemoryEntry]]:
    """Prompted entries that stay and all others, with the new one as the last of its kind.

    A new entry replaces one of the same image, but what a person said stays.
    """
    others = [e for e in entries if e.index != new.index or (e.prompted and not new.prompted)]
    prompted = [entry for entry in others if entry.prompted]
    recent = [entry for entry in others if not entry.prompted]
    (prompted if new.prompted else recent).append(new)
    return fitting(prompted, config), recent


def fitting(prompted: list[MemoryEntry], config: MemoryConfig) -> list[MemoryEntry]:
    """The prompted images that stay: the first and the newest others; where one alone fits, the newest."""
    first = prompted[: 1 if config.prompted_frames > 1 else 0]
    rest = prompted[len(first) :]
    return first + rest[max(len(rest) - (config.prompted_frames - len(first)), 0) :]


def _newest(recent: list[MemoryEntry], now: int, spatial: int, config: MemoryConfig) -> list[MemoryEntry]:
    """The newest `spatial` entries with a spatial memory, and the pointers of the last images."""
    places = [i for i, entry in enumerate(recent) if entry.features is not None]
    held = set(places[len(places) - min(spatial, len(places)) :])
    kept = [entry if i in held else entry.pointer_only() for i, entry in enumerate(recent)]
    reach = config.object_pointers - 1
    return [entry for i, entry in enumerate(kept) if i in held or abs(now - entry.index) < reach]


def _by_rank(entries: Entries, index: int, config: MemoryConfig, reverse: bool) -> Selection:
    """Slots by rank, the newest image first; pointers by distance."""
    sign = -1 if reverse else 1
    selection = Selection([], [])
    recent = []
    for entry in entries:
        distance = sign * (index - entry.index)
        if entry.prompted or entry.anchor:
            selection.spatial.append((0, entry))
        elif distance >= 1 and entry.features is not None:
            recent.append((distance, entry))
        if (entry.prompted and distance >= 0 and config.object_pointers) or (
            1 <= distance < config.object_pointers
        ):
            selection.pointers.append((distance, entry))
    nearest = sorted(recent, key=lambda pair: pair[0])
    selection.spatial.extend((rank, entry) for rank, (_, entry) in enumerate(nearest, 1))
    return selection


POLICIES: dict[str, MemoryPolicy] = {"fifo": Fifo(), "confident": Confident(), "distractor": Distractor()}
"""Policies for streams, by name; what they keep is bounded. They hold no state of their own."""

CLIP_POLICIES: dict[str, MemoryPolicy] = {"everything": Everything()}
"""Policies for finished clips, by name."""


def policy_named(name: str) -> MemoryPolicy:
    """The policy of this name.

    Raises:
        ValueError: there is none.
    """
    policy = {**POLICIES, **CLIP_POLICIES}.get(name)
    if policy is None:
        raise ValueError(f"memory policy {name!r} is unknown: choose from {', '.join(POLICIES)}")
    return policy
