"""Late prompts: applied to the image that the person saw, then their object is brought to the present."""

from __future__ import annotations

from dataclasses import replace

from .history import History, Moment
from .prompts import Prompt
from .tracker import ImageFeatures, ObjectState, Track, Tracker

CATCH_UP_IMAGES = 12
"""After a prompt on a past image, its object is brought to the present through at most so many images, evenly
spread over those since; the stream goes on after that."""


class CatchUp:
    """Goes back to past images for the sake of one object, and leaves the others alone.

    Args:
        tracker: of the stream.
        history: of the stream.
    """

    def __init__(self, tracker: Tracker, history: History) -> None:
        self._tracker = tracker
        self._history = history

    def prompt(self, prompt: Prompt, moment: Moment) -> tuple[Track, Track | None]:
        """Apply a prompt to a past image, then bring its object, and no other, to the present.

        The object's memory is put back to what it was at that image. The images it then passes through
        count as consecutive, however many were skipped: to the memory, the stream only ran slower for a
        while.

        Args:
            prompt: what the person said.
            moment: the image it was said of; it may have left the history.

        Returns: the object's track in that image, and in the newest processed one; None where that was not
            reached.

        Raises:
            PromptError: the prompt can't be followed. Nothing has changed.
        """
        features = self._features(moment)
        [(object_id, prompt)] = self._tracker.resolve([prompt], features.height, features.width).items()
        present = None if prompt.restart else self._tracker.snapshot().get(object_id)
        earlier, later = ([m for m in part if m.index is not None] for part in self._history.around(moment))
        replayed = spread(later, CATCH_UP_IMAGES)
        index = self._tracker.index - len(replayed)
        rollback = self._tracker.snapshot().get(object_id)
        try:
            base = _state_at(moment, earlier, object_id) if present is not None else None
            if base is not None:
                again = (
                    moment.index is not None and object_id not in moment.before
                )  # it began in this very image
                base = base.shifted(index - base.index - (0 if again else 1))
            self._tracker.restore(object_id, base)
            [answer] = self._tracker.advance(features, [], [prompt], index=index)
            if present is not None:
                self._keep_what_came_later(object_id, present, moment)
            timeline, newest = self._follow(object_id, later, replayed, index)
        except Exception:
            self._tracker.restore(object_id, rollback)
            raise
        if prompt.restart:
            self._history.forget([object_id])
        if moment.index is not None:
            self._history.update(moment, after={**moment.after, object_id: timeline[0]})
        for m, before, after in zip(later, timeline, timeline[1:], strict=False):
            self._history.update(
                m, before={**m.before, object_id: before}, after={**m.after, object_id: after}
            )
        return answer, answer if moment.index == self._tracker.index else newest

    def _follow(
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


def _state_at(moment: Moment, earlier: list[Moment], object_id: int) -> ObjectState | None:
    """What was known of an object when this image came, or, if it began right there, after it.

    Args:
        moment: the image.
        earlier: the processed ones before it.
        object_id: of the object.
    """
    if moment.index is not None:
        return moment.before.get(object_id) or moment.after.get(object_id)
    return earlier[-1].after.get(object_id) if earlier else None


def spread(moments: list[Moment], count: int) -> list[Moment]:
    """At most `count` of them, evenly spread, the last one included."""
    if len(moments) <= count:
        return moments
    return [moments[-(-(i + 1) * len(moments) // count) - 1] for i in range(count)]
