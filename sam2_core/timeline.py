"""Timeline: a tracker with the recent past of its stream, so that every prompt lands on the image it means.

It knows nothing of threads: see `LiveTracker` for those.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .catch_up import CatchUp
from .discovery import DUPLICATE_IOU, Search, discover, mask_iou
from .history import History, Moment, held_bytes
from .prompts import Prompt, PromptError
from .tracker import Track, Tracker

Pieces = Generator[None, None, list[Track]]
"""Work that pauses now and then, and what comes of it."""


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What the tracker says of one image.

    Attributes:
        stamp: of the image, nanoseconds.
        image: uint8 RGB (H, W, 3).
        tracks: one per known object, ordered by id.
        model_seconds: what the tracker took for it, prompts included that were followed since the last one.
        again: the image has been told of before; its objects have changed since.
    """

    stamp: int
    image: NDArray[np.uint8]
    tracks: list[Track]
    model_seconds: float = 0.0
    again: bool = False


class Timeline:
    """The newest image with its objects, the images before it, and those that wait.

    `add` and `arrived` may be called from any thread, everything else from one at a time.

    Args:
        tracker: this stream's own.
        history_seconds: how far back it reaches, by the images' stamps.
    """

    def __init__(self, tracker: Tracker, history_seconds: float) -> None:
        self.tracker = tracker
        self._history = History(history_seconds)
        self._catch_up = CatchUp(tracker, self._history)
        self._newest: tuple[Moment, LiveResult] | None = None
        self._finds: list[list[Track]] = []  # of each search under way
        self._seconds = 0.0

    def add(self, image: NDArray[np.uint8], stamp: int) -> Moment:
        """Note an image that has arrived. Returns: its place."""
        moment = Moment(stamp, image)
        self._history.add(moment)
        return moment

    def arrived(self, stamp: int) -> Moment | None:
        """The image that a prompt with this stamp is about, if that is certain already."""
        return self._history.arrived(stamp)

    def meant(self, stamp: int | None) -> Moment:
        """The image that a prompt with this stamp is about; None: the newest processed one.

        Raises:
            PromptError: there is none, or it is not kept any more.
        """
        if stamp is not None:
            return self._history.at(stamp)
        if self._newest is None:
            raise PromptError("no image has arrived yet: ask again once the camera publishes")
        return self._newest[0]

    def is_after(self, moment: Moment, other: Moment) -> bool:
        """Whether an image arrived after another one."""
        return moment in self._history.around(other)[1]

    def begin(self, moment: Moment) -> None:
        """Note that this image will be processed next."""
        self._history.begin(moment)

    def process(self, moment: Moment, prompts: list[Prompt]) -> list[Track]:
        """One step of the stream.

        Args:
            moment: the image.
            prompts: that belong to it, as `Tracker.resolve` gives them.

        Returns: a track per known object.
        """
        assert moment.image is not None, "an image is processed once"
        image, before = moment.image, self.tracker.snapshot()
        with self._timed():
            features = self.tracker.encode(image)
            tracks = self.tracker.advance(features, self.tracker.object_ids, prompts)
        afresh = {prompt.object_id for prompt in prompts if prompt.object_id is not None and prompt.restart}
        if afresh:
            self._history.forget(afresh)
        self._history.update(
            moment,
            image=None,
            features=features,
            index=self.tracker.index,
            before={i: state for i, state in before.items() if i not in afresh},
            after=dict(self.tracker.snapshot()),
        )
        self._newest = moment, LiveResult(moment.stamp, image, tracks)
        return tracks

    def go_back(self, prompt: Prompt, moment: Moment) -> Track:
        """Apply a prompt to a past image and bring its object, and no other, to the newest.

        Returns: its track in that image.

        Raises:
            PromptError: the prompt can't be followed. Nothing has changed.
        """
        with self._timed():
            answer, newest = self._catch_up.prompt(prompt, moment)
        if newest is not None and self._newest is not None:
            place, shown = self._newest
            others = [track for track in shown.tracks if track.object_id != newest.object_id]
            tracks = sorted([*others, newest], key=lambda track: track.object_id)
            self._newest = place, replace(shown, tracks=tracks)
        return answer

    def remove(self, object_ids: Iterable[int] | None = None) -> list[int]:
        """Forget objects, None: all, for good: they must not come back from the past, where their ids may
        soon mean others.

        Returns: the ids left.

        Raises:
            PromptError: an id is unknown; none has been removed.
        """
        gone = self.tracker.object_ids if object_ids is None else list(object_ids)
        self.tracker.remove(gone)
        self._history.forget(gone)
        for tracks in self._finds:
            tracks[:] = [track for track in tracks if track.object_id not in gone]
        if self._newest is not None:
            place, shown = self._newest
            left = [track for track in shown.tracks if track.object_id not in gone]
            self._newest = place, replace(shown, tracks=left)
        return self.tracker.object_ids

    def discover(self, search: Search) -> Pieces:
        """Find what is in the newest image, and track it from there on, piece by piece.

        Returns: the new objects' tracks in the image searched, the best first, with the scores of the search;
            without those that have been removed meanwhile.

        Raises:
            PromptError: see `discovery.discover`; there is no image.
        """
        if self._newest is None:
            raise PromptError("no image has arrived yet: ask again once the camera publishes")
        place, shown = self._newest
        tracks: list[Track] = []
        self._finds.append(tracks)
        try:
            for found in (yield from discover(self.tracker, shown.image, shown.tracks, search)):
                yield
                if len(self.tracker.object_ids) == self.tracker.max_objects:
                    break  # prompts were quicker
                track = self.go_back(Prompt(None, mask=found.mask), place)
                if self._is_known(track.object_id, but=[track.object_id for track in tracks]):
                    self.remove([track.object_id])
                else:
                    tracks.append(replace(track, score=found.quality))
        finally:
            self._finds = [others for others in self._finds if others is not tracks]
        return tracks

    def _is_known(self, object_id: int, but: list[int]) -> bool:
        """Whether an object is, in the newest image, the same as another one that was prompted meanwhile.

        Args:
            object_id: of the object.
            but: those that it is not compared with.
        """
        tracks = {} if self._newest is None else {track.object_id: track for track in self._newest[1].tracks}
        return object_id in tracks and any(
            mask_iou(tracks[object_id].mask, other.mask) > DUPLICATE_IOU
            for other in tracks.values()
            if other.object_id not in (object_id, *but)
        )

    def take_result(self, again: bool) -> LiveResult | None:
        """The newest image and its objects, with the time that has been spent since it was last asked for.

        Args:
            again: whether that image has been told of before.
        """
        seconds, self._seconds = self._seconds, 0.0
        return None if self._newest is None else replace(self._newest[1], model_seconds=seconds, again=again)

    def held_bytes(self) -> int:
        """Bytes held for the objects and the past; may be asked from any thread."""
        moments, newest = self._history.moments(), self._newest
        if newest is not None and newest[0] not in moments:
            moments.append(newest[0])
        return held_bytes(moments, self.tracker.snapshot().values())

    def clear(self) -> None:
        """Forget all images; the tracker keeps its objects."""
        self._history.clear()
        self._newest = None

    @contextmanager
    def _timed(self) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._seconds += time.perf_counter() - begin
