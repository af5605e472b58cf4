"""History: the recent past of a stream, so that a late click can land on the image that the person saw."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .memory_entry import unique_bytes
from .prompts import PromptError
from .tracker import ImageFeatures, ObjectState

HISTORY_BYTES = 256 * 2**20
"""How much the images and features of the past may occupy, per stream."""


@dataclass(eq=False)
class Moment:
    """One image of the past.

    Attributes:
        stamp: nanoseconds of the images' own clock.
        image: uint8 RGB (H, W, 3), kept where the image was never encoded.
        features: the encoded image, or None.
        index: number of the processed image; None if the image was passed over.
        before, after: the states of all objects before and after this image; empty if it was passed over.
        nbytes: bytes that this image brought into memory: pixels or features, and one memory per object.
    """

    stamp: int
    image: NDArray[np.uint8] | None = None
    features: ImageFeatures | None = None
    index: int | None = None
    before: dict[int, ObjectState] = field(default_factory=dict)
    after: dict[int, ObjectState] = field(default_factory=dict)
    nbytes: int = field(init=False)

    def __post_init__(self) -> None:
        entries = [
            entry for s in self.after.values() for entry in s.bank.entries if entry.index == self.index
        ]
        tensors = [*self.tensors(), *(t for e in entries for t in (e.pointer, e.features) if t is not None)]
        pixels = 0 if self.image is None else self.image.nbytes
        self.nbytes = pixels + sum(tensor.nbytes for tensor in tensors)

    def tensors(self) -> list[Tensor]:
        """Tensors of the encoded image."""
        if self.features is None:
            return []
        vision = self.features.vision
        appearance = [] if vision.appearance is None else [vision.appearance]
        return [vision.embedding, *vision.high_resolution, *appearance]


class History:
    """The images of the last seconds, oldest first; bounded in time and in bytes.

    Args:
        seconds: how far back it reaches, by the images' stamps.
        max_bytes: what it may occupy; the oldest go first, the newest always stays.
    """

    def __init__(self, seconds: float, max_bytes: int = HISTORY_BYTES) -> None:
        self._nanoseconds = round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._moments: deque[Moment] = deque()
        self._bytes = 0

    def __iter__(self) -> Iterator[Moment]:
        return iter(self._moments)

    @property
    def newest(self) -> int | None:
        """Stamp of the newest image, or None."""
        return self._moments[-1].stamp if self._moments else None

    def add(self, moment: Moment) -> None:
        """Append the newest image; if its stamp runs backwards, the past is forgotten."""
        if self._moments and moment.stamp < self._moments[-1].stamp:
            self._moments.clear()
            self._bytes = 0
        self._moments.append(moment)
        self._bytes += moment.nbytes
        while len(self._moments) > 1 and (
            moment.stamp - self._moments[0].stamp > self._nanoseconds or self._bytes > self._max_bytes
        ):
            self._bytes -= self._moments.popleft().nbytes

    def at(self, stamp: int) -> Moment:
        """The newest image at or before a stamp.

        Raises:
            PromptError: the history does not reach there.
        """
        if not self._moments:
            raise PromptError("no image has arrived yet: prompt again once the camera publishes")
        oldest, newest = self._moments[0].stamp, self._moments[-1].stamp
        if not oldest <= stamp <= newest:
            raise PromptError(
                f"no image is kept for stamp {stamp / 1e9:.9f} s: the history reaches from "
                f"{oldest / 1e9:.9f} s to {newest / 1e9:.9f} s; "
                "prompt on a newer image, or raise history_seconds"
            )
        return next(moment for moment in reversed(self._moments) if moment.stamp <= stamp)

    def processed(self) -> list[Moment]:
        """The images that the tracker has processed, oldest first."""
        return [moment for moment in self._moments if moment.index is not None]

    def forget(self, object_ids: Iterable[int] | None = None) -> None:
        """Forget the past states of these objects, None: of all: their ids may soon mean other objects."""
        gone = None if object_ids is None else set(object_ids)
        for moment in self._moments:
            moment.before = {i: s for i, s in moment.before.items() if gone is not None and i not in gone}
            moment.after = {i: s for i, s in moment.after.items() if gone is not None and i not in gone}


def held_bytes(moments: Iterable[Moment], states: Iterable[ObjectState]) -> int:
    """Bytes of everything that images of the past and states of objects hold; what they share counts once."""
    moments = list(moments)
    past = [state for moment in moments for state in (*moment.before.values(), *moment.after.values())]
    entries = {id(entry): entry for state in (*past, *states) for entry in state.bank.entries}
    tensors = [tensor for entry in entries.values() for tensor in entry.tensors()]
    logits = {id(state): state.logits for state in (*past, *states)}
    pixels = sum(moment.image.nbytes for moment in moments if moment.image is not None)
    features = [tensor for moment in moments for tensor in moment.tensors()]
    return pixels + unique_bytes([*features, *tensors, *logits.values()])
