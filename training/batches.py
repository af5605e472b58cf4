"""Batches of clips, made on demand: the same seed and step give the same batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from training.clips import ClipMaker, ClipSettings
from training.photos import PhotoStore
from training.prompts import draw_prompts
from training.rollout import ClipBatch


@dataclass(frozen=True)
class BatchSettings:
    """Size and mixture of batches.

    Attributes:
        clips: B.
        frames: T.
        size: S, pixels.
        objects: At most so many objects of a clip are followed.
        kinds: Chances of prompt kinds.
        crowded: Clips with many objects, so that it matters which one is meant.
    """

    clips: int = 4
    frames: int = 6
    size: int = 320
    objects: int = 2
    kinds: tuple[tuple[str, float], ...] = (("mask", 0.36), ("box", 0.34), ("point", 0.3))
    crowded: bool = False

    @property
    def clip(self) -> ClipSettings:
        """What its clips are made of."""
        if not self.crowded:
            return ClipSettings(self.frames, self.size)
        return ClipSettings(
            self.frames,
            self.size,
            labelled=0.15,
            whole=0.65,
            scenes=0.75,
            extra=(0.9, 0.7, 0.4),
            joined=0.0,
            copy=0.6,
        )


def make_batch(maker: ClipMaker, settings: BatchSettings, seed: int, kind: str | None = None) -> ClipBatch:
    """Make the batch of a seed.

    Args:
        maker: Makes the clips; its frames and size are those of the settings.
        settings: Size and mixture.
        seed: Determines everything.
        kind: Prompt kind; None draws one.
    """
    rng = np.random.default_rng([seed, 1])
    clips = [maker.make(int(rng.integers(2**62))) for _ in range(settings.clips)]
    followed = [(c, number) for c, clip in enumerate(clips) for number in clip.objects[: settings.objects]]
    masks = np.stack([clips[c].labels == number for c, number in followed])
    if kind is None:
        kinds, chances = zip(*settings.kinds, strict=True)
        kind = str(rng.choice(kinds, p=np.array(chances) / sum(chances)))
    return ClipBatch(
        torch.from_numpy(np.stack([clip.frames for clip in clips])),
        torch.from_numpy(masks),
        torch.tensor([c for c, _ in followed]),
        draw_prompts(masks[:, 0], kind, rng),
        tuple(draw_prompts(masks[:, 0], other, rng) for other in ("box", "point") if other != kind),
    )


class Batches(IterableDataset):
    """An endless stream of batches from a given step on."""

    def __init__(
        self,
        prepared: Path,
        cycle: Sequence[BatchSettings],
        seed: int,
        first_step: int,
        rank: int,
        ranks: int,
    ):
        """Bind the stream; photos are opened by the process that iterates.

        Args:
            prepared: Prepared photos.
            cycle: Settings of the batches, taken in turn.
            seed: Determines every batch.
            first_step: Number of the first batch.
            rank: Number of this process.
            ranks: Number of processes, each of which gets batches of its own.
        """
        self.prepared = prepared
        self.cycle = cycle
        self.seed = seed
        self.step = first_step
        self.rank = rank
        self.ranks = ranks

    def __iter__(self) -> Iterator[ClipBatch]:
        cv2.setNumThreads(1)
        store = PhotoStore(self.prepared)
        makers = [ClipMaker(store, settings.clip) for settings in self.cycle]
        worker = get_worker_info()  # the workers of a loader take turns
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in count(self.step + first, stride):
            turn = step % len(self.cycle)
            number = (self.seed * 1_000_003 + step) * self.ranks + self.rank
            yield make_batch(makers[turn], self.cycle[turn], number)
