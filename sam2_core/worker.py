"""Worker: the one thread that serves all streams of a model, in turn."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from contextlib import nullcontext
from typing import Protocol

from .threads import ThreadChooser

_log = logging.getLogger(__name__)

EXIT_SECONDS = 60.0
"""How long a process that ends waits for the turn that a worker is at."""

_working: weakref.WeakSet[Worker] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """An interpreter that ends under a thread's feet, while it computes, takes the process down with it."""
    for worker in list(_working):
        worker._stop(EXIT_SECONDS)


class Stream(Protocol):
    """What a worker serves.

    Attributes:
        turn: held while the stream has a turn.
    """

    turn: threading.Lock

    @property
    def busy(self) -> bool:
        """Whether there is something to do."""
        ...

    def work(self) -> None:
        """Has one turn."""
        ...

    def close(self) -> None:
        """Gives up what there is to do: nobody serves it any more."""
        ...


class Worker:
    """One thread that serves all live trackers of a model.

    Scheduling is round-robin: whoever has something to do gets one turn. A turn is at most one new image,
    with the prompts that belong to it, one prompt on a past image, and one piece of a search for objects. So
    among n busy streams each gets at least one image in n, and none waits longer than n - 1 turns.

    Args:
        threads: chooses how many threads a turn is computed with, on a CPU; None: as PyTorch is set.
    """

    def __init__(self, threads: ThreadChooser | None = None) -> None:
        self._threads = threads
        self._condition = threading.Condition()
        self._streams: list[Stream] = []
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="sam2-worker", daemon=True)
        self._thread.start()
        _working.add(self)

    def close(self) -> None:
        """Stop the thread after the turn it is at, and close the streams that are still attached."""
        self._stop()
        with self._condition:
            left = list(self._streams)
        for stream in left:
            stream.close()

    def _stop(self, patience: float | None = None) -> None:
        """Stop the thread after the turn it is at; wait so many seconds at most, None: however long."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join(patience)

    def attach(self, stream: Stream) -> None:
        """Serve a stream from now on."""
        with self._condition:
            if self._closing:
                raise RuntimeError("the worker is closed: give a new one")
            self._streams.append(stream)

    def detach(self, stream: Stream) -> None:
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
        while self._serve_next():
            pass

    def _serve_next(self) -> bool:
        """Wait for a stream that has something to do and give it a turn. Returns: whether to go on."""
        # a function of its own, so that no stream is kept alive while the worker waits for the next
        stream = self._next()
        if stream is None:
            return False
        with stream.turn, self._threads.turn() if self._threads is not None else nullcontext():
            try:
                stream.work()
            except BaseException:  # one stream's trouble must not end the others', a sys.exit() neither
                _log.exception("a turn ended early")
        return True

    def _next(self) -> Stream | None:
        """The next stream in turn that has something to do; None at the end."""
        with self._condition:
            while not self._closing:
                ready = next((stream for stream in self._streams if stream.busy), None)
                if ready is not None:
                    # whoever is served goes to the end of the queue
                    self._streams.remove(ready)
                    self._streams.append(ready)
                    return ready
                self._condition.wait()
        return None
