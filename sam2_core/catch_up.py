"""Late prompts: applied to the image that the person saw, then their object is brought to the present."""

from __future__ import annotations

from dataclasses import replace

from .history import History, Moment
from .memory_entry import MemoryEntry
from .prompts import Prompt
from .tracker import ImageFeatures, ObjectState, Track, Tracker

CATCH_UP_IMAGES = 30
"""After a prompt on a past image, its object is brought to the present through at most so many images, evenly
spread over those since; the stream goes on after that. Each costs a step of one object and no encoding, so
that this takes less time than has passed since that image. Skipping is not free: a mask may drift where the
view changes steadily.
"""


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
        rollback = self._tracker.snapshot().get(object_id)
        present = None if prompt.restart else rollback
        if present is not None and not prompt.label:
            prompt = replace(prompt, label=present.label)
        earlier, later = (
            [m for m in part if m.index is not None or object_id in m.after]
            for part in self._history.around(moment)
        )
        while later and later[-1].index is None:  # the present is the newest processed image
            later.pop()
        replayed = spread(later, CATCH_UP_IMAGES)
        index = self._tracker.index - len(replayed)
        before, shown = None, None
        if present is not None:
            before, shown = _states_at(moment, earlier, later, present, object_id)
        try:
            self._tracker.restore(object_id, _to_be_corrected(before, shown, index))
            [answer] = self._tracker.advance(features, [], [prompt], index=index)
            if present is not None:
                self._keep_what_came_later(object_id, present, (before, shown), later, replayed, index)
            timeline, newest = self._follow(object_id, later, replayed, index)
        except Exception:
            self._tracker.restore(object_id, rollback)
            raise
        if prompt.restart:
            self._history.forget([object_id])
        for m, old, new in zip((moment, *later), (before, *timeline), timeline, strict=False):
            known = {i: state for i, state in m.before.items() if i != object_id}
            self._history.update(
                m,
                before=known if old is None else {**known, object_id: old},
                after={**m.after, object_id: new},
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

    def _keep_what_came_later(
        self,
        object_id: int,
        present: ObjectState,
        known_then: tuple[ObjectState | None, ...],
        later: list[Moment],
        replayed: list[Moment],
        index: int,
    ) -> None:
        """A late prompt does not undo what was said of newer images.

        Entries are told apart by their pointers: going back gives an entry a new index, never a new pointer.
        """
        known = {id(e.pointer) for state in known_then if state is not None for e in state.bank.entries}
        said_later = []
        for entry in present.bank.entries:
            if entry.prompted and id(entry.pointer) not in known:
                passed = _images_until(entry, object_id, later, replayed)
                said_later.append(replace(entry, index=index + max(passed, 1)))
        state = self._tracker.snapshot()[object_id]
        self._tracker.restore(object_id, replace(state, bank=state.bank.with_prompted(said_later)))

    def _features(self, moment: Moment) -> ImageFeatures:
        if moment.features is not None:
            return moment.features
        assert moment.image is not None, "an image of the past is kept as pixels or as features"
        return self._tracker.encode(moment.image)


def _states_at(
    moment: Moment, earlier: list[Moment], later: list[Moment], present: ObjectState, object_id: int
) -> tuple[ObjectState | None, ObjectState | None]:
    """What was known of an object before an image, and what after it; None where it was not known.

    Args:
        moment: the image.
        earlier: those before it in which something is known of the object.
        later: those after it.
        present: what is known of the object now.
        object_id: of the object.
    """
    before, after = moment.before.get(object_id), moment.after.get(object_id)
    if moment.index is None and after is None:  # passed over, and nothing was said of it yet:
        # the object came to it as the image before had left it, and as the one after found it
        if earlier:
            before = earlier[-1].after.get(object_id)
        else:
            before = later[0].before.get(object_id) if later else present
    return before, after


def _to_be_corrected(before: ObjectState | None, shown: ObjectState | None, index: int) -> ObjectState | None:
    """The state in which a prompt finds an object.

    Args:
        before: what was known of it before the image; None: it began there, or later.
        shown: what was known after the image, its logits being those that the person saw; None: nothing.
        index: number that the image gets.
    """
    if before is None:
        return None if shown is None else shown.shifted(index - shown.index)
    before = before.shifted(index - 1 - before.index)
    return before if shown is None else replace(before, index=index, logits=shown.logits)


def _images_until(entry: MemoryEntry, object_id: int, later: list[Moment], replayed: list[Moment]) -> int:
    """How many of the replayed images come up to the one that left this entry."""
    passed = 0
    for moment in later:
        passed += moment in replayed
        state = moment.after.get(object_id)
        if state is not None and any(e.pointer is entry.pointer for e in state.bank.entries):
            break
    return passed


def spread(moments: list[Moment], count: int) -> list[Moment]:
    """At most `count` of them, evenly spread, the last one included."""
    if len(moments) <= count:
        return moments
    return [moments[-(-(i + 1) * len(moments) // count) - 1] for i in range(count)]
