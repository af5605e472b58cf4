"""Live tracking: threads and time around a tracker. The newest image wins; prompts land on the image they
mean.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .history import History, Moment, held_bytes
from .preprocessing import check_image
from .prompts import Prompt, PromptError
from .tracker import ImageFeatures, ObjectState, Track, Tracker

CATCH_UP_IMAGES = 12
"""After a prompt on a past image, its object is brought to the present through at most so many images,
evenly spread
over those since; the stream goes on after that."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LiveResult:
    """What the tracker says of one image.

    Attributes:
        stamp: of the image, nanoseconds.
        image: uint8 RGB (H, W, 3).
        tracks: one per known object, ordered by id.
    """

    stamp: int
    image: NDArray[np.uint8]
    tracks: list[Track]


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


class Worker:
    """One thread that serves all live trackers of a model.

    Scheduling is round-robin by image: whoever has something to do gets one turn, a turn being at most one
    new image, so among n busy streams each gets at least one image in n.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._streams: list[LiveTracker] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sam2-worker", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread after the turn it is at; streams still attached do nothing from then on."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def attach(self, stream: LiveTracker) -> None:
        """Serve a stream from now on."""
        with self._condition:
            if self._closing:
                raise RuntimeError("the worker is closed: give a new one")
            self._streams.append(stream)

    def detach(self, stream: LiveTracker) -> None:
        """Serve a stream no more; returns when its turn, if it is having one, is over."""
        with self._condition:
            if stream in self._streams:
                self._streams.remove(stream)
        if threading.current_thread() is not self._thread:
            with stream.turn:
                pass

    def wake(self) -> None:
        """Say that a stream has something to do."""
        with self._condition:
            self._condition.notify()

    def _run(self) -> None:
        while (stream := self._next()) is not None:
            with stream.turn:
                try:
                    stream.work()
                except Exception:  # one stream's trouble must not end the others'
                    _log.exception("a turn ended early")

    def _next(self) -> LiveTracker | None:
        """The next stream in turn that has something to do; None at the end."""
        with self._condition:
            while not self._closing:
                for position, stream in enumerate(self._streams):
                    if stream.busy:
                        # whoever is served goes to the end of the queue
                        self._streams.append(self._streams.pop(position))
                        return stream
                self._condition.wait()
        return None


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
        self._slot: tuple[int, NDArray[np.uint8]] | None = None
        self._commands: deque[_Command] = deque()
        self._callbacks: list[Callable[[LiveResult], None]] = []
        self._last: LiveResult | None = None
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
        """Forget all objects."""

        def call() -> None:
            self._tracker.reset()
            self._forget(None)

        return self._enqueue(_Command(Future(), call=call))

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
            _fail(command.future)
        if self._own_worker:
            self._worker.close()

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        with self._lock:
            return self._slot is not None or bool(self._commands)

    def _enqueue(self, command: _Command) -> Future[Any]:
        with self._lock:
            closed = self._closed
            if not closed:
                self._commands.append(command)
        if closed:
            _fail(command.future)
        self._worker.wake()
        return command.future

    def work(self) -> None:
        """One turn: the waiting commands, and the newest image."""
        with self._lock:
            slot, self._slot = self._slot, None
            commands, self._commands = self._commands, deque()
        with_image: list[_Command] = []
        while commands:
            command = commands.popleft()
            newest = slot is not None and (command.stamp is None or command.stamp >= slot[0])
            if command.prompt is not None and newest:
                with_image.append(command)
            elif with_image:  # order matters: what was asked after those prompts waits for the next turn
                commands.appendleft(command)
                break
            else:
                self._do(command, more_to_come=slot is not None)
        with self._lock:
            closed = self._closed
            if not closed:
                self._commands.extendleft(reversed(commands))
        if closed:
            for command in (*with_image, *commands):
                _fail(command.future)
        elif slot is not None:
            self._process(*slot, with_image)

    def _do(self, command: _Command, more_to_come: bool) -> None:
        """Run a command between two images; `more_to_come`: a newer image is about to be processed."""
        if not command.future.set_running_or_notify_cancel():
            return
        try:
            if command.prompt is not None:
                stamp, newest = command.stamp, self._history.newest
                if stamp is not None and newest is not None and more_to_come:
                    stamp = min(stamp, newest)  # what was said before the waiting image is not of the future
                result: Any = self._prompt_past(command.prompt, stamp)
            else:
                assert command.call is not None
                result = command.call()
        except Exception as error:  # whatever it is belongs to the one who asked
            command.future.set_exception(error)
            return
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
        after = dict(self._tracker.snapshot())
        with self._lock:
            self._history.forget(object_id for object_id, prompt in prompts.items() if prompt.restart)
            self._history.add(Moment(stamp, None, features, self._tracker.index, before, after))
            self._processed += 1
        self._last = LiveResult(stamp, image, tracks)
        self._deliver(self._last)
        by_id = {track.object_id: track for track in tracks}
        for command, object_id in zip(asked, prompts, strict=True):
            command.future.set_result(by_id[object_id])

    def _prompt_past(self, prompt: Prompt, stamp: int | None) -> Track:
        """Apply a prompt to a past image, then bring its object, and no other, to the present.

        The object's memory is put back to what it was at that image. The images it then passes through
        count as consecutive, however many were skipped: to the memory, the stream only ran slower for a
        while.
        """
        processed = self._history.processed()
        moment = processed[-1] if stamp is None and processed else self._history.at(stamp or 0)
        features = self._features(moment)
        [(object_id, prompt)] = self._tracker.resolve([prompt], features.height, features.width).items()
        present = None if prompt.restart else self._tracker.snapshot().get(object_id)
        later = [m for m in processed if m.stamp > moment.stamp]
        replayed = _spread(later, CATCH_UP_IMAGES)
        index = self._tracker.index - len(replayed)
        rollback = self._tracker.snapshot().get(object_id)
        try:
            base = _state_at(moment, processed, object_id) if present is not None else None
            if base is not None:
                again = (
                    moment.index is not None and object_id not in moment.before
                )  # it began in this very image
                base = base.shifted(index - base.index - (0 if again else 1))
            self._tracker.restore(object_id, base)
            [answer] = self._tracker.advance(features, [], [prompt], index=index)
            if present is not None:
                self._keep_what_came_later(object_id, present, moment)
            timeline, newest = self._catch_up(object_id, later, replayed, index)
        except Exception:
            self._tracker.restore(object_id, rollback)
            raise
        with self._lock:
            if prompt.restart:
                self._history.forget([object_id])
            if moment.index is not None:
                moment.after = {**moment.after, object_id: timeline[0]}
            for m, before, after in zip(later, timeline, timeline[1:], strict=False):
                m.before, m.after = {**m.before, object_id: before}, {**m.after, object_id: after}
        if newest is not None or moment is processed[-1]:
            self._replace_in_last(newest or answer)
        return answer

    def _catch_up(
        self, object_id: int, later: list[Moment], replayed: list[Moment], index: int
    ) -> tuple[list[ObjectState], Track | None]:
        """Bring one object through past images.

        Returns: its states after the prompt and after each of `later`, and its track in the newest of them.
        """
        timeline = [self._tracker.snapshot()[object_id]]
        track = None
        for moment in later:
            if moment in replayed:
                index += 1
                [track] = self._tracker.advance(self._features(moment), [object_id], index=index)
            timeline.append(self._tracker.snapshot()[object_id])
        return timeline, track

    def _keep_what_came_later(self, object_id: int, present: ObjectState, moment: Moment) -> None:
        """A late prompt does not undo what was said of newer images, nor the object's name."""
        state = self._tracker.snapshot()[object_id]
        known_then = (
            {e.index for e in moment.after[object_id].bank.entries} if object_id in moment.after else set()
        )
        said_later = [e for e in present.bank.entries if e.prompted and e.index not in known_then]
        said_later = [e for e in said_later if moment.index is None or e.index > moment.index]
        bank = state.bank.with_prompted(said_later)
        self._tracker.restore(object_id, replace(state, bank=bank, label=state.label or present.label))

    def _features(self, moment: Moment) -> ImageFeatures:
        if moment.features is not None:
            return moment.features
        assert moment.image is not None, "an image of the past is kept as pixels or as features"
        return self._tracker.encode(moment.image)

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
        for callback in self._callbacks:
            if self._closed:
                return
            try:
                callback(result)
            except Exception:  # a listener's trouble is not the stream's
                _log.exception("a listener failed on the image of %.9f s", result.stamp / 1e9)


def _state_at(moment: Moment, processed: list[Moment], object_id: int) -> ObjectState | None:
    """What was known of an object when this image came, or, if it began right there, after it."""
    if moment.index is not None:
        return moment.before.get(object_id) or moment.after.get(object_id)
    earlier = [m for m in processed if m.stamp <= moment.stamp]
    return earlier[-1].after.get(object_id) if earlier else None


def _spread(moments: list[Moment], count: int) -> list[Moment]:
    """At most `count` of them, evenly spread, the last one included."""
    if len(moments) <= count:
        return moments
    return [moments[-(-(i + 1) * len(moments) // count) - 1] for i in range(count)]


def _fail(future: Future[Any]) -> None:
    if future.set_running_or_notify_cancel():
        future.set_exception(
            PromptError("the tracker was closed before this could be done: start it and ask again")
        )
