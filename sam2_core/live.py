"""Live tracking: threads and time around a tracker. The newest image wins; prompts land on the image they
mean.
"""

from __future__ import annotations

import logging
import reprlib
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .checks import check_number
from .discovery import Search
from .history import Moment
from .preprocessing import check_image
from .prompts import Prompt, PromptError, as_list
from .searches import Searches
from .timeline import LiveResult, Timeline
from .tracker import Track, Tracker
from .worker import Worker

__all__ = ["LiveResult", "LiveStatistics", "LiveTracker", "Worker"]

CLOSED = "the tracker was closed before this could be done: start it and ask again"

MOST_NANOSECONDS = 2**63 - 1
MOST_SECONDS = 1e9
"""Stamps are nanoseconds of 64 bits; the history is a span of them."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LiveStatistics:
    """Counts since the start, and what is held now.

    Attributes:
        received: images submitted.
        processed: images that came out with tracks.
        dropped: images passed over because a newer one was there, or because processing failed.
        objects: known objects.
        memory_bytes: bytes held for the objects and the history.
        object_bytes: bytes held for the objects alone, see `Tracker.memory_bytes`.
    """

    received: int
    processed: int
    dropped: int
    objects: int
    memory_bytes: int
    object_bytes: int


@dataclass(frozen=True, eq=False)
class _Call:
    """Something to be done between two images."""

    future: Future[Any]
    function: Callable[[], Any]


@dataclass(frozen=True, eq=False)
class _Search:
    """Something to be done in many turns."""

    future: Future[list[Track]]
    search: Search


@dataclass(frozen=True, eq=False)
class _Prompt:
    """A prompt, the stamp of the image it was said of, or None, and that image, if it was there already: it
    may leave the history while the prompt waits.
    """

    future: Future[Track]
    prompt: Prompt
    stamp: int | None
    moment: Moment | None


_Request = _Call | _Search | _Prompt
_Asked = dict[int, tuple[_Prompt, Prompt]]
"""Prompts on the image that is about to be processed, as they came and resolved, by object."""


class LiveTracker:
    """A tracker for one live stream. Every method returns at once; the work is done on the worker's thread.

    Args:
        tracker: this stream's own; nothing else may use it from now on.
        history_seconds: how far back a prompt may reach, by the images' stamps.
        worker: shared among the streams of a model; None: one of its own.

    Raises:
        ValueError: history_seconds is no number, or out of range.
    """

    def __init__(self, tracker: Tracker, history_seconds: float = 2.0, worker: Worker | None = None) -> None:
        check_number("history_seconds", history_seconds, 0, MOST_SECONDS)
        self.turn = threading.Lock()
        self._timeline = Timeline(tracker, history_seconds)
        self._searches = Searches()
        self._callbacks: list[Callable[[LiveResult], None]] = []
        self._lock = threading.Lock()  # for what follows
        self._slot: Moment | None = None  # the newest image, while it waits
        self._requests: deque[_Request] = deque()
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
            ValueError: the image is not uint8 RGB, or the stamp not a whole number.
        """
        check_image(image)
        stamp = _checked(stamp)
        with self._lock:
            if self._closed:
                return
            self._received += 1
            self._dropped += self._slot is not None
            self._slot = self._timeline.add(image, stamp)
        self._worker.wake()

    def prompt(self, prompt: Prompt, stamp: int | None = None) -> Future[Track]:
        """Start, correct or restart an object.

        Args:
            prompt: what the person said.
            stamp: of the image it was said of, nanoseconds; the newest image at or before it is meant.
                None: the newest image.

        Returns: the object's track in that image, once it exists. It fails with `PromptError` where the
            prompt can't be followed; nothing has changed then.

        Raises:
            ValueError: the stamp is not a whole number.
        """
        if fault := _other_than(Prompt, prompt):
            return _refused(fault)
        if stamp is None:
            return self._enqueue(_Prompt(Future(), prompt, None, None))
        stamp = _checked(stamp)
        return self._enqueue(_Prompt(Future(), prompt, stamp, self._timeline.arrived(stamp)))

    def remove(self, object_ids: Iterable[int] | None = None) -> Future[list[int]]:
        """Forget objects, None: all.

        Returns: the ids left. It fails with `PromptError` for an unknown id; none is removed then.

        Raises:
            PromptError: there is no list of ids.
        """
        ids = None if object_ids is None else as_list(object_ids, "object ids", "a list of ids")
        return self._enqueue(_Call(Future(), lambda: self._timeline.remove(ids)))

    def reset(self) -> Future[None]:
        """Forget all objects, and what is being searched for."""

        def forget() -> None:
            self._timeline.remove()
            self._searches.give_up("all objects were forgotten before the search was over: ask again")

        return self._enqueue(_Call(Future(), forget))

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
        if search is not None and (fault := _other_than(Search, search)):
            return _refused(fault)
        return self._enqueue(_Search(Future(), search or Search()))

    def on_result(self, callback: Callable[[LiveResult], None]) -> None:
        """Have every result delivered, on the worker's thread.

        Images come in order. A prompt that arrives while no newer image waits gives the newest image's
        result again, with the object in it.
        """
        self._callbacks.append(callback)

    def statistics(self) -> LiveStatistics:
        """Counts and memory; cheap enough for once a second."""
        with self._lock:
            counts = self._received, self._processed, self._dropped
        tracker = self._timeline.tracker
        return LiveStatistics(
            *counts, len(tracker.object_ids), self._timeline.held_bytes(), tracker.memory_bytes
        )

    def close(self) -> None:
        """Stop. What still waits fails with `PromptError`; no callback comes after this returns."""
        with self._lock:
            first, self._closed = not self._closed, True
            waiting, self._requests = self._requests, deque()
            self._slot = None
        self._worker.detach(self)  # waits for the turn, whoever has closed it
        if not first:
            return
        for request in waiting:
            _fail(request.future, PromptError(CLOSED))
        self._searches.give_up(CLOSED)
        self._timeline.clear()
        if self._own_worker:
            self._worker.close()

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        with self._lock:
            return self._slot is not None or bool(self._requests) or bool(self._searches)

    def work(self) -> None:
        """One turn, see `Worker`."""
        with self._lock:
            image, self._slot = self._slot, None
            requests, self._requests = self._requests, deque()
        if image is not None:
            self._timeline.begin(image)
        asked: _Asked = {}
        try:
            self._follow(requests, image, asked)
            if image is not None and not self._closed:
                self._process(image, asked)
            if not self._closed and self._searches.go_on() and self._slot is None:
                self._deliver(again=True)
        finally:  # whatever went wrong, nobody who asked is left waiting
            for request, _ in asked.values():
                _fail(request.future, PromptError(CLOSED))
            with self._lock:
                if not self._closed:
                    self._requests.extendleft(reversed(requests))
                    requests = deque()
            for waiting in requests:
                _fail(waiting.future, PromptError(CLOSED))

    def _enqueue(self, request: _Request) -> Future[Any]:
        with self._lock:
            closed = self._closed
            if not closed:
                self._requests.append(request)
        if closed:
            _fail(request.future, PromptError(CLOSED))
        self._worker.wake()
        return request.future

    def _follow(self, requests: deque[_Request], image: Moment | None, asked: _Asked) -> None:
        """Do what was asked, in order, as far as it fits into this turn; what is left waits for the next.

        Args:
            requests: what was asked; taken from the front.
            image: about to be processed, or None.
            asked: here go the prompts on that image.
        """
        went_back = False
        while requests and not self._closed:  # a listener may close the stream
            request = requests[0]
            try:
                if not isinstance(request, _Prompt):
                    if asked:
                        return  # it was asked after those
                    self._do(request, image)
                elif (moment := self._meant(request, image)) is image:
                    if request.prompt.object_id in asked:
                        return  # the second prompt corrects what comes of the first
                    self._join(request, image, asked)
                elif asked or went_back or (image is not None and self._timeline.is_after(moment, image)):
                    return  # one of these per turn, and none on an image that came since the turn began
                else:
                    went_back = True
                    self._do(
                        _Call(request.future, partial(self._timeline.go_back, request.prompt, moment)), image
                    )
            except Exception as error:  # whatever it is belongs to the one who asked
                _fail(request.future, error)
            requests.popleft()

    def _meant(self, request: _Prompt, image: Moment | None) -> Moment:
        if request.moment is not None:
            return request.moment
        if request.stamp is None and image is not None:
            return image
        return self._timeline.meant(request.stamp)

    def _join(self, request: _Prompt, image: Moment, asked: _Asked) -> None:
        """Have a prompt followed when its image is processed; raises `PromptError` if it can't be."""
        assert image.image is not None
        earlier = [prompt for _, prompt in asked.values()]
        resolved = self._timeline.tracker.resolve([*earlier, request.prompt], *image.image.shape[:2])
        if request.future.set_running_or_notify_cancel():
            object_id = list(resolved)[-1]
            asked[object_id] = request, resolved[object_id]

    def _do(self, request: _Call | _Search, image: Moment | None) -> None:
        """Do what does not wait for an image; `image`: the one about to be processed, or None."""
        if isinstance(request, _Search):
            self._searches.add(request.future, self._timeline.discover(request.search))
            return
        if not request.future.set_running_or_notify_cancel():
            return
        try:
            result = request.function()
        except Exception as error:  # whatever it is belongs to the one who asked
            request.future.set_exception(error)
            return
        request.future.set_result(result)
        if image is None:
            self._deliver(again=True)

    def _process(self, image: Moment, asked: _Asked) -> None:
        """One step of the stream, with the prompts that belong to its image."""
        try:
            tracks = self._timeline.process(image, [prompt for _, prompt in asked.values()])
        except Exception as error:  # an image may be lost, the stream goes on
            _log.exception("the image of %.9f s could not be processed", image.stamp / 1e9)
            with self._lock:
                self._dropped += 1
            for request, _ in asked.values():
                request.future.set_exception(error)
            return
        with self._lock:
            self._processed += 1
        self._deliver()
        by_id = {track.object_id: track for track in tracks}
        for object_id, (request, _) in asked.items():
            request.future.set_result(by_id[object_id])

    def _deliver(self, again: bool = False) -> None:
        """Tell the listeners of the newest result."""
        result = self._timeline.take_result(again)
        if result is None:
            return
        for callback in self._callbacks:
            if self._closed:
                return
            try:
                callback(result)
            except BaseException:  # a listener's trouble is not the stream's, a sys.exit() neither
                _log.exception("a listener failed on the image of %.9f s", result.stamp / 1e9)


def _checked(stamp: object) -> int:
    """A stamp as Python's int, which NumPy's narrow ones can't overflow."""
    if not isinstance(stamp, (int, np.integer)):
        raise ValueError(f"stamp {stamp!r} is a {type(stamp).__name__}: give whole nanoseconds")
    if abs(int(stamp)) > MOST_NANOSECONDS:
        raise ValueError(f"stamp {reprlib.repr(stamp)} is out of range: give nanoseconds of 64 bits")
    return int(stamp)


def _other_than(kind: type, value: object) -> str:
    """What is wrong with a value that should be of a kind; empty: nothing."""
    return "" if isinstance(value, kind) else f"{reprlib.repr(value)} is no {kind.__name__}: give one"


def _refused(reason: str) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(PromptError(reason))
    return future


def _fail(future: Future[Any], error: Exception) -> None:
    if not future.done() and (future.running() or future.set_running_or_notify_cancel()):
        future.set_exception(error)
