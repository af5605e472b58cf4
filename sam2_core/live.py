"""Live tracking: threads and time around a tracker. The newest image wins; prompts land on the image they
mean.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catch_up import CatchUp
from .discovery import Search, discover
from .history import History, Moment, held_bytes
from .preprocessing import check_image
from .prompts import Prompt, PromptError
from .tracker import Track, Tracker
from .worker import Worker

CLOSED = "the tracker was closed before this could be done: start it and ask again"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What the tracker says of one image.

    Attributes:
        stamp: of the image, nanoseconds.
        image: uint8 RGB (H, W, 3).
        tracks: one per known object, ordered by id.
        model_seconds: what the tracker took for it, prompts included that were followed since the last one.
    """

    stamp: int
    image: NDArray[np.uint8]
    tracks: list[Track]
    model_seconds: float = 0.0


@dataclass(frozen=True)
class LiveStatistics:
    """Counts since the start, and what is held now.

    Attributes:
        received: images submitted.
        processed: images that came out with tracks.
        dropped: images passed over because a newer one was there, or because processing failed.
        objects: known objects.
        memory_bytes: bytes held for the objects and the history.
    """

    received: int
    processed: int
    dropped: int
    objects: int
    memory_bytes: int


@dataclass(frozen=True, eq=False)
class _Command:
    """Something to be done on the worker's thread; a prompt, or a call between two images."""

    future: Future[Any]
    prompt: Prompt | None = None
    stamp: int | None = None
    call: Callable[[], Any] | None = None


@dataclass(frozen=True, eq=False)
class _Discovery:
    """A search for objects that goes on for many turns, a piece in each."""

    future: Future[list[Track]]
    pieces: Generator[None, None, list[Track]]


class LiveTracker:
    """A tracker for one live stream. Every method returns at once; the work is done on the worker's thread.

    Args:
        tracker: this stream's own; nothing else may use it from now on.
        history_seconds: how far back a prompt may reach, by the images' stamps.
        worker: shared among the streams of a model; None: one of its own.

    Raises:
        ValueError: history_seconds is negative or not finite.
    """

    def __init__(self, tracker: Tracker, history_seconds: float = 2.0, worker: Worker | None = None) -> None:
        if not 0 <= history_seconds < float("inf"):
            raise ValueError(f"history_seconds {history_seconds} is out of range: give 0 or more seconds")
        self.turn = threading.Lock()
        self._tracker = tracker
        self._history = History(history_seconds)
        self._lock = threading.Lock()
        self._catch_up = CatchUp(tracker, self._history, self._lock)
        self._slot: tuple[int, NDArray[np.uint8]] | None = None
        self._commands: deque[_Command] = deque()
        self._discoveries: deque[_Discovery] = deque()
        self._callbacks: list[Callable[[LiveResult], None]] = []
        self._last: LiveResult | None = None
        self._newest: Moment | None = None  # that of the last result
        self._seconds = 0.0
        self._received = self._processed = self._dropped = 0
        self._closed = False
        self._own_worker = worker is None
        self._worker = worker or Worker()
        self._worker.attach(self)

    def submit(self, image: NDArray[np.uint8], stamp: int) -> None:
        """Hand over the newest image; one that still waits is passed over.

        Args:
            image: uint8 RGB (H, W, 3); must not be written to afterwards.
            stamp: nanoseconds of the images' own clock.

        Raises:
            ValueError: the image is not uint8 RGB.
        """
        check_image(image)
        with self._lock:
            if self._closed:
                return
            self._received += 1
            if self._slot is not None:
                self._dropped += 1
                self._history.add(Moment(self._slot[0], image=self._slot[1]))
            self._slot = (stamp, image)
        self._worker.wake()

    def prompt(self, prompt: Prompt, stamp: int | None = None) -> Future[Track]:
        """Start, correct or restart an object.

        Args:
            prompt: what the person said.
            stamp: of the image it was said of, nanoseconds; the newest image at or before it is meant.
                None: the newest image.

        Returns: the object's track in that image, once it exists. It fails with `PromptError` where the
            prompt can't be followed; nothing has changed then.
        """
        return self._enqueue(_Command(Future(), prompt=prompt, stamp=stamp))

    def remove(self, object_ids: Iterable[int] | None = None) -> Future[list[int]]:
        """Forget objects, None: all.

        Returns: the ids left. It fails with `PromptError` for an unknown id; none is removed then.
        """
        ids = None if object_ids is None else list(object_ids)

        def call() -> list[int]:
            gone = self._tracker.object_ids if ids is None else ids
            self._tracker.remove(gone)
            self._forget(gone)
            return self._tracker.object_ids

        return self._enqueue(_Command(Future(), call=call))

    def reset(self) -> Future[None]:
        """Forget all objects, and what is being searched for."""

        def call() -> None:
            self._tracker.reset()
            self._forget(None)
            self._give_up_discoveries("all objects were forgotten before the search was over: ask again")

        return self._enqueue(_Command(Future(), call=call))

    def discover(self, search: Search | None = None) -> Future[list[Track]]:
        """Find what is in the newest image, and track it from there on.

        It goes on for several turns, while images are processed and prompts followed; objects are started as
        they are in the image that was searched, and catch up.

        Args:
            search: where to look and what to take; None: everywhere, as many as fit.

        Returns: the tracks of the new objects in the image searched, the best first; their scores are those
            of the search. It fails with `PromptError` before the first image, where no more objects fit,
            and where the region lies outside the image.
        """
        discovery = _Discovery(Future(), self._discover(search or Search()))
        with self._lock:
            closed = self._closed
            if not closed:
                self._discoveries.append(discovery)
        if closed:
            _fail(discovery.future, CLOSED)
        self._worker.wake()
        return discovery.future

    def on_result(self, callback: Callable[[LiveResult], None]) -> None:
        """Have every result delivered, on the worker's thread.

        Images come in order. A prompt that arrives while no newer image waits gives the newest image's
        result again, with the object in it.
        """
        self._callbacks.append(callback)

    def statistics(self) -> LiveStatistics:
        """Counts and memory; cheap enough for once a second."""
        with self._lock:
            moments, counts = list(self._history), (self._received, self._processed, self._dropped)
            if self._newest is not None and self._newest not in moments:
                moments.append(self._newest)
        states = self._tracker.snapshot()
        return LiveStatistics(*counts, len(states), held_bytes(moments, states.values()))

    def close(self) -> None:
        """Stop. What still waits fails with `PromptError`; no callback comes after this returns."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            waiting, self._commands = self._commands, deque()
            self._slot = None
        self._worker.detach(self)
        for command in waiting:
            _fail(command.future, CLOSED)
        self._give_up_discoveries(CLOSED)
        if self._own_worker:
            self._worker.close()

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        with self._lock:
            return self._slot is not None or bool(self._commands) or bool(self._discoveries)

    def _enqueue(self, command: _Command) -> Future[Any]:
        with self._lock:
            closed = self._closed
            if not closed:
                self._commands.append(command)
        if closed:
            _fail(command.future, CLOSED)
        self._worker.wake()
        return command.future

    def work(self) -> None:
        """One turn, see `Worker`."""
        with self._lock:
            slot, self._slot = self._slot, None
            commands, self._commands = self._commands, deque()
        with_image: list[_Command] = []
        went_back = False
        while commands:
            command = commands.popleft()
            newest = slot is not None and (command.stamp is None or command.stamp >= slot[0])
            if command.prompt is not None and newest:
                with_image.append(command)
            elif with_image or (went_back and command.prompt is not None):
                # order matters: what was asked after those prompts waits for the next turn
                commands.appendleft(command)
                break
            else:
                went_back = went_back or command.prompt is not None
                self._do(command, more_to_come=slot is not None)
        with self._lock:
            closed = self._closed
            if not closed:
                self._commands.extendleft(reversed(commands))
        if closed:
            for command in (*with_image, *commands):
                _fail(command.future, CLOSED)
            return
        if slot is not None:
            self._process(*slot, with_image)
        if self._discoveries:
            self._search_on(self._discoveries[0])

    def _do(self, command: _Command, more_to_come: bool) -> None:
        """Run a command between two images; `more_to_come`: a newer image is about to be processed."""
        if not command.future.set_running_or_notify_cancel():
            return
        begin = time.perf_counter()
        try:
            if command.prompt is not None:
                stamp, newest = command.stamp, self._history.newest
                if stamp is not None and newest is not None and more_to_come:
                    stamp = min(stamp, newest)  # what was said before the waiting image is not of the future
                moment = self._catch_up.moment(stamp)
                result: Any = self._go_back(command.prompt, moment)
            else:
                assert command.call is not None
                result = command.call()
        except Exception as error:  # whatever it is belongs to the one who asked
            command.future.set_exception(error)
            return
        finally:
            self._seconds += time.perf_counter() - begin
        command.future.set_result(result)
        if not more_to_come and self._last is not None:
            self._deliver(self._last)

    def _process(self, stamp: int, image: NDArray[np.uint8], commands: list[_Command]) -> None:
        """One step of the stream, with the prompts that belong to its image."""
        prompts: dict[int, Prompt] = {}
        asked: list[_Command] = []
        for command in commands:
            if not command.future.set_running_or_notify_cancel():
                continue
            try:
                if command.stamp is not None and command.stamp > stamp:
                    raise PromptError(
                        f"no image has arrived yet for stamp {command.stamp / 1e9:.9f} s: the newest is of "
                        f"{stamp / 1e9:.9f} s; prompt on that, or give stamp 0 for the newest image"
                    )
                assert command.prompt is not None
                prompts = self._tracker.resolve([*prompts.values(), command.prompt], *image.shape[:2])
                asked.append(command)
            except PromptError as error:
                command.future.set_exception(error)
        before = dict(self._tracker.snapshot())
        begin = time.perf_counter()
        try:
            features = self._tracker.encode(image)
            tracks = self._tracker.advance(features, self._tracker.object_ids, list(prompts.values()))
        except Exception as error:  # an image may be lost, the stream goes on
            _log.exception("the image of %.9f s could not be processed", stamp / 1e9)
            with self._lock:
                self._dropped += 1
            for command in asked:
                command.future.set_exception(error)
            return
        finally:
            self._seconds += time.perf_counter() - begin
        after = dict(self._tracker.snapshot())
        self._newest = Moment(stamp, None, features, self._tracker.index, before, after)
        with self._lock:
            self._history.forget(object_id for object_id, prompt in prompts.items() if prompt.restart)
            self._history.add(self._newest)
            self._processed += 1
        self._last = LiveResult(stamp, image, tracks)
        self._deliver(self._last)
        by_id = {track.object_id: track for track in tracks}
        for command, object_id in zip(asked, prompts, strict=True):
            command.future.set_result(by_id[object_id])

    def _go_back(self, prompt: Prompt, moment: Moment) -> Track:
        """Apply a prompt to a past image and show what becomes of it in the newest. Returns: its track
        there.
        """
        answer, newest = self._catch_up.prompt(prompt, moment)
        if newest is not None:
            self._replace_in_last(newest)
        return answer

    def _discover(self, search: Search) -> Generator[None, None, list[Track]]:
        last, moment = self._last, self._newest
        if last is None or moment is None:
            raise PromptError("no image has arrived yet: ask again once the camera publishes")
        found = yield from discover(self._tracker, last.image, last.tracks, search)
        tracks: list[Track] = []
        for one in found:
            yield
            if len(self._tracker.object_ids) == self._tracker.max_objects:
                break  # prompts were quicker
            track = self._go_back(Prompt(None, mask=one.mask), moment)
            tracks.append(replace(track, score=one.quality))
        return tracks

    def _search_on(self, discovery: _Discovery) -> None:
        """Do the next piece of a search."""
        future, result, error = discovery.future, None, None
        if future.running() or future.set_running_or_notify_cancel():
            shown = self._last
            try:
                next(discovery.pieces)
            except StopIteration as end:
                result = end.value
            except Exception as failure:  # whatever it is belongs to the one who asked
                error = failure
            if self._last is not shown and self._slot is None and self._last is not None:
                self._deliver(self._last)
            if result is None and error is None:
                return
        with self._lock:
            if not self._discoveries or self._discoveries[0] is not discovery:
                return  # given up meanwhile
            self._discoveries.popleft()
        if error is not None:
            future.set_exception(error)
        elif result is not None:
            future.set_result(result)

    def _give_up_discoveries(self, reason: str) -> None:
        with self._lock:
            discoveries, self._discoveries = self._discoveries, deque()
        for discovery in discoveries:
            _fail(discovery.future, reason)

    def _forget(self, object_ids: list[int] | None) -> None:
        """Removed objects must not come back from the past: their ids may soon mean other objects."""
        with self._lock:
            self._history.forget(object_ids)
        if self._last is not None:
            left = [t for t in self._last.tracks if object_ids is not None and t.object_id not in object_ids]
            self._last = replace(self._last, tracks=left)

    def _replace_in_last(self, track: Track) -> None:
        """Put an object's new track into the newest result."""
        if self._last is not None and self._last.image.shape[:2] == track.mask.shape:
            others = [t for t in self._last.tracks if t.object_id != track.object_id]
            tracks = sorted([*others, track], key=lambda t: t.object_id)
            self._last = replace(self._last, tracks=tracks)

    def _deliver(self, result: LiveResult) -> None:
        result = replace(result, model_seconds=self._seconds)
        self._seconds = 0.0
        for callback in self._callbacks:
            if self._closed:
                return
            try:
                callback(result)
            except Exception:  # a listener's trouble is not the stream's
                _log.exception("a listener failed on the image of %.9f s", result.stamp / 1e9)


def _fail(future: Future[Any], reason: str) -> None:
    if future.running() or future.set_running_or_notify_cancel():
        future.set_exception(PromptError(reason))
