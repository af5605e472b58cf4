"""What is known of a clip and its objects between the calls of `VideoPredictor`."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .clip import Clip
from .memory import MemoryBank
from .memory_entry import MemoryEntry
from .memory_policies import CLIP_POLICIES
from .prompts import Prompt
from .tracker import ImageFeatures, Tracker


@dataclass(frozen=True, eq=False)
class Answer:
    """What a prompt was answered with, until the next propagation makes it part of the memory."""

    entry: MemoryEntry
    logits: Tensor
    in_sight: bool


@dataclass(eq=False)
class ClipObject:
    """All that is known of one object in a clip.

    Attributes:
        key: its id in the tracker.
        bank: its memory: an entry for every frame that it was tracked into or prompted in.
        logits: per frame (1, 1, h, w) low-resolution mask logits, of the entries in the bank.
        answers: of prompts since the last propagation, by frame.
        prompts: what has been said, by frame.
        directions: the frames it was tracked into, and whether backwards.
        out_of_sight: the frames it was tracked into, but is not to be seen in, see `SightConfig`.
    """

    key: int
    bank: MemoryBank
    logits: dict[int, Tensor] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    prompts: dict[int, Prompt] = field(default_factory=dict)
    directions: dict[int, bool] = field(default_factory=dict)
    out_of_sight: set[int] = field(default_factory=set)

    @property
    def prompted(self) -> set[int]:
        """The frames that the memory holds as prompted ones."""
        return {entry.index for entry in self.bank.entries if entry.prompted}

    def take(self, frame: int, answer: Answer) -> None:
        """Makes an answer part of what is known."""
        self.bank = self.bank.with_entry(answer.entry)
        self.logits[frame] = answer.logits
        (self.out_of_sight.discard if answer.in_sight else self.out_of_sight.add)(frame)

    def in_sight(self, frame: int) -> bool:
        """Whether it is to be seen in a frame that it was tracked into or prompted in."""
        return frame in self.answers or frame not in self.out_of_sight

    def newest_logits(self, frame: int) -> Tensor | None:
        """Mask logits in a frame, the last answer first."""
        answer = self.answers.get(frame)
        return answer.logits if answer is not None else self.logits.get(frame)


@dataclass(eq=False)
class ClipState:
    """A clip and all that is known of its objects, made by `VideoPredictor.init_state`.

    Attributes:
        clip: the frames.
        tracker: does the work; between calls it knows no object.
        storage: where memories and masks lie between calls.
        objects: by the caller's ids, in the order in which they came.
        encoded: the frame that was encoded last, and its features.
    """

    clip: Clip
    tracker: Tracker
    storage: torch.device
    objects: dict[Hashable, ClipObject] = field(default_factory=dict)
    encoded: tuple[int, ImageFeatures] | None = None

    @property
    def obj_ids(self) -> list[Hashable]:
        return list(self.objects)


class ClipTracker(Tracker):
    """In a finished clip, whose end is known, everything may be kept, and a correction also looks up what its
    own frame left in the memory before.
    """

    policies = tuple(CLIP_POLICIES)

    def _past(self, bank: MemoryBank, now: int) -> MemoryBank:
        return bank
