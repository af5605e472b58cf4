"""Searches: requests to find objects in a live stream; each goes on for many turns, a piece in each."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass

from .prompts import PromptError
from .timeline import Pieces
from .tracker import Track


@dataclass(frozen=True, eq=False)
class _Search:
    """Who asked, and the work that is left."""

    future: Future[list[Track]]
    pieces: Pieces


class Searches:
    """The searches of one stream, done one after the other. Work happens on the thread that calls `go_on`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[_Search] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, future: Future[list[Track]], pieces: Pieces) -> None:
        """Begin a search once those before it are over."""
        with self._lock:
            self._waiting.append(_Search(future, pieces))

    def go_on(self) -> bool:
        """Do the next piece of the search that is under way.

        Returns: whether a search is over now, so that there may be new objects.
        """
        if not self._waiting:
            return False
        search = self._waiting[0]
        wanted = search.future.running() or search.future.set_running_or_notify_cancel()
        found: list[Track] = []
        error: Exception | None = None
        if wanted:
            try:
                next(search.pieces)
                return False
            except StopIteration as end:
                found = end.value
            except Exception as failure:  # whatever it is belongs to the one who asked
                error = failure
        with self._lock:  # before it is told, for whoever hears of it may give up the others
            self._waiting.popleft()
        if error is not None:
            search.future.set_exception(error)
        elif wanted:
            search.future.set_result(found)
        return True

    def give_up(self, reason: str) -> None:
        """Answer all of them with a `PromptError`. Not while another thread is in `go_on`."""
        with self._lock:
            searches, self._waiting = self._waiting, deque()
        for search in searches:
            if search.future.running() or search.future.set_running_or_notify_cancel():
                search.future.set_exception(PromptError(reason))
