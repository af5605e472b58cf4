"""History: the recent past of a stream, so that a late click can land on the image that the person saw."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .memory_entry import unique_bytes
from .motion import MOTION_BYTES
from .prompts import PromptError
from .tracker import ImageFeatures, ObjectState

HISTORY_BYTES = 256 * 2**20
"""How much the images and features of the past may occupy, per stream."""

PROCESSED_KEPT = 2
"""So many of the last processed images stay however old they are: the one that a person saw and marked, and
the one that took its place on the screen meanwhile. A model may take longer for an image than the history is
long.
"""

AHEAD_NANOSECONDS = 500_000_000
"""A prompt may be about an image newer than the newest that has arrived, by so much: the image was lost on
its way here, or is still coming. The person saw it; the newest one here is nearly the same.
"""


@dataclass(eq=False)
class Moment:
    """One image of the past.

    Attributes:
        stamp: nanoseconds of the images' own clock.
        image: uint8 RGB (H, W, 3), kept until the image has been encoded.
        features: the encoded image, or None.
        index: number of the processed image; None if it waits still, or was passed over.
        before, after: the states of all objects before and after this image; of an image that was not
            processed those of the objects that a late prompt on it was about.
    """

    stamp: int
    image: NDArray[np.uint8] | None = None
    features: ImageFeatures | None = None
    index: int | None = None
    before: dict[int, ObjectState] = field(default_factory=dict)
    after: dict[int, ObjectState] = field(default_factory=dict)

    def tensors(self) -> list[Tensor]:
        """Tensors of the encoded image."""
        if self.features is None:
            return []
        vision = self.features.vision
        appearance = [] if vision.appearance is None else [vision.appearance]
        return [vision.embedding, *vision.high_resolution, *appearance]

    def count_bytes(self) -> int:
        """Bytes that this image brought into memory: pixels or features, and each object's newest memory."""
        changed = [state for i, state in self.after.items() if state is not self.before.get(i)]
        entries = [e for state in changed for e in state.bank.entries if e.index == state.index]
        tensors = [*self.tensors(), *(state.logits for state in changed)]
        tensors += [t for e in entries for t in (e.pointer, e.features) if t is not None]
        return (0 if self.image is None else self.image.nbytes) + sum(tensor.nbytes for tensor in tensors)


class History:
    """The images of the last seconds in the order in which they arrived; bounded in time and in bytes.

    May be used from any thread.

    Args:
        seconds: how far back it reaches from the newest processed image, by the images' stamps.
        max_bytes: what it may occupy; the oldest go first, but the newest, the one that is being processed
            and the last `PROCESSED_KEPT` processed ones always stay.
    """

    def __init__(self, seconds: float, max_bytes: int = HISTORY_BYTES) -> None:
        self._nanoseconds = round(seconds * 1e9)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._moments: deque[Moment] = deque()
        self._bytes: deque[int] = deque()  # of each moment
        self._total = 0
        self._stray: Moment | None = None  # the last to arrive, if its stamp is far from the others
        self._current: Moment | None = None  # is being processed
        self._is_full = False  # whether it would reach farther back, had it more bytes
        self._alive: weakref.WeakSet[Moment] = weakref.WeakSet()  # whoever holds them

    def add(self, moment: Moment) -> None:
        """Append the image that has just arrived.

        One that was overtaken on its way is no harm. If its stamp lies before all that is held, or farther
        after it than the history reaches, the next image tells: either time has begun anew or jumped, and
        the past is forgotten, or that stamp was a stray one, and that image is.
        """
        with self._lock:
            self._settle(moment.stamp)
            stamps = [held.stamp for held in self._moments]
            if stamps and not min(stamps) <= moment.stamp <= max(stamps) + self._nanoseconds:
                self._stray = moment
            self._moments.append(moment)
            self._bytes.append(moment.count_bytes())
            self._total += self._bytes[-1]
            self._alive.add(moment)
            self._keep_within_bounds()

    def begin(self, moment: Moment) -> None:
        """Keep an image that will be processed now, however long that takes."""
        with self._lock:
            self._current = moment

    def update(self, moment: Moment, **changes: Any) -> None:
        """Give attributes of an image other values; it may have been forgotten by now."""
        with self._lock:
            for name, value in changes.items():
                setattr(moment, name, value)
            if moment in self._moments:
                place = self._moments.index(moment)
                self._total -= self._bytes[place]
                self._bytes[place] = moment.count_bytes()
                self._total += self._bytes[place]
                self._keep_within_bounds()

    def at(self, stamp: int) -> Moment:
        """The newest image at or before a stamp, which may lie `AHEAD_NANOSECONDS` after it.

        Raises:
            PromptError: the history does not reach there.
        """
        with self._lock:
            moments, stray, is_full = list(self._moments), self._stray, self._is_full
        if not moments:
            raise PromptError("no image has arrived yet: prompt again once the camera publishes")
        regular = [moment for moment in moments if moment is not stray]
        stamps = [moment.stamp for moment in regular]
        oldest, newest = min(stamps), max(stamps)
        is_among = oldest <= stamp <= newest
        if stray is not None and not is_among and 0 <= stamp - stray.stamp <= AHEAD_NANOSECONDS:
            return stray
        if stamp > newest + AHEAD_NANOSECONDS:
            raise PromptError(
                f"stamp {stamp / 1e9:.9f} s lies {(stamp - newest) / 1e9:.3f} s after the newest image: "
                "give the stamp of an image as its camera stamped it, or none for the newest image"
            )
        if stamp < oldest:
            more = (
                f"let smaller images come: {self._max_bytes // 2**20} MiB hold no more of these"
                if is_full
                else "raise history_seconds"
            )
            raise PromptError(
                f"no image is kept for stamp {stamp / 1e9:.9f} s: the history reaches from "
                f"{oldest / 1e9:.9f} s to {newest / 1e9:.9f} s; prompt on an image in between, "
                f"give no stamp for the newest image, or {more}"
            )
        # of images with one stamp, the last to arrive
        return max((m for m in reversed(regular) if m.stamp <= stamp), key=lambda m: m.stamp)

    def arrived(self, stamp: int) -> Moment | None:
        """The newest image at or before a stamp, if it is kept and one of that stamp or after it is here."""
        with suppress(PromptError):
            moment = self.at(stamp)
            if moment.stamp == stamp or any(later.stamp > stamp for later in self.moments()):
                return moment
        return None

    def moments(self) -> list[Moment]:
        """All images held, the first to arrive first."""
        with self._lock:
            return list(self._moments)

    def around(self, moment: Moment) -> tuple[list[Moment], list[Moment]]:
        """What arrived before an image and what arrived after it; if it has been forgotten, none and all."""
        moments = self.moments()
        if moment not in moments:
            return [], moments
        place = moments.index(moment)
        return moments[:place], moments[place + 1 :]

    def forget(self, object_ids: Iterable[int] | None = None) -> None:
        """Forget the past states of these objects, None: of all: their ids may soon mean other objects.

        So do images that have left the history and that a prompt is still waiting for.
        """
        gone = None if object_ids is None else set(object_ids)
        with self._lock:
            alive = list(self._alive)
        for moment in alive:
            before, after = (
                {i: s for i, s in states.items() if gone is not None and i not in gone}
                for states in (moment.before, moment.after)
            )
            self.update(moment, before=before, after=after)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._clear()

    def _clear(self) -> None:
        self._moments.clear()
        self._bytes.clear()
        self._total = 0
        self._stray, self._current, self._is_full = None, None, False

    def _settle(self, stamp: int) -> None:
        """Decides, by the stamp of the next image, whether the last one was stray or the others are old."""
        stray, self._stray = self._stray, None
        if stray is None or stray not in self._moments:
            return
        gone = [moment for moment in self._moments if moment is not stray]
        if gone and abs(stamp - stray.stamp) >= min(abs(stamp - moment.stamp) for moment in gone):
            gone = [stray]
        for moment in gone:
            self._drop(self._moments.index(moment))

    def _keep_within_bounds(self) -> None:
        regular = [moment for moment in self._moments if moment is not self._stray]
        processed = [moment for moment in regular if moment.index is not None]
        newest = (processed or regular or [self._moments[-1]])[-1].stamp
        kept = [self._moments[-1], self._current, *processed[-PROCESSED_KEPT:]]
        for moment in [moment for moment in self._moments if moment not in kept]:
            is_old = newest - moment.stamp > self._nanoseconds
            if not is_old and self._total <= self._max_bytes:
                break
            self._is_full = not is_old
            self._drop(self._moments.index(moment))
        if len(self._moments) == 1:
            self._stray = None  # there are no others

    def _drop(self, place: int) -> None:
        del self._moments[place]
        self._total -= self._bytes[place]
        del self._bytes[place]


def held_bytes(moments: Iterable[Moment], states: Iterable[ObjectState]) -> int:
    """Bytes of everything that images of the past and states of objects hold; what they share counts once."""
    moments = list(moments)
    past = [state for moment in moments for state in (*moment.before.values(), *moment.after.values())]
    entries = {id(entry): entry for state in (*past, *states) for entry in state.bank.entries}
    tensors = [tensor for entry in entries.values() for tensor in entry.tensors()]
    distinct = {id(state): state for state in (*past, *states)}.values()
    logits = [state.logits for state in distinct]
    moving = {id(state.motion) for state in distinct if state.motion is not None}
    pixels = sum(moment.image.nbytes for moment in moments if moment.image is not None)
    features = [tensor for moment in moments for tensor in moment.tensors()]
    return pixels + unique_bytes([*features, *tensors, *logits]) + MOTION_BYTES * len(moving)
