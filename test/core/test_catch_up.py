"""Late corrections: they refine what was shown, are remembered once, and lose nothing that was said later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scene import blue_box, filled, overlap, red_box

from sam2_core import Prompt, Track, Tracker
from sam2_core.catch_up import CATCH_UP_IMAGES, CatchUp, spread
from sam2_core.history import History, Moment, held_bytes
from sam2_core.model import SAM2
from sam2_core.timeline import Timeline

Frames = Callable[[int], NDArray[np.uint8]]
PERIOD = 100_000_000  # ns between the images' stamps


class Past:
    """A stream that has been seen up to some image."""

    def __init__(self, model: SAM2, frame: Frames) -> None:
        self.tracker = Tracker(model)
        self._timeline = Timeline(self.tracker, history_seconds=10.0)
        self._frame = frame

    def show(self, index: int, *prompts: Prompt) -> list[Track]:
        """Process frame `index`."""
        moment = self._timeline.add(self._frame(index), (index + 1) * PERIOD)
        return self._timeline.process(moment, list(prompts))

    def pass_over(self, index: int) -> None:
        """Receive frame `index`, and do not process it."""
        self._timeline.add(self._frame(index), (index + 1) * PERIOD)

    def ask(self, index: int, prompt: Prompt) -> Track:
        """Prompt on frame `index`."""
        return self._timeline.go_back(prompt, self._timeline.meant((index + 1) * PERIOD))

    def prompted(self) -> list[int]:
        """Numbers of the prompted images that object 1 remembers."""
        return [e.index for e in self.tracker.snapshot()[1].bank.entries if e.prompted]


def test_a_second_late_click_refines_what_the_first_one_left(nano: SAM2, frame: Frames) -> None:
    past = Past(nano, frame)
    for index in range(6):
        past.show(index, *([Prompt(1, mask=filled(red_box(0)))] if index == 0 else []))
    # the first adds the blue square, the second says nothing of it: it must still be there
    past.ask(3, Prompt(1, mask=filled(red_box(3)) | filled(blue_box(3))))
    track = past.ask(3, Prompt(1, points=[[62, 90]]))
    blue = filled(blue_box(3))
    assert (track.mask & blue).sum() > 0.7 * blue.sum()
    assert past.prompted() == [0, 3]


def test_corrections_of_an_image_that_was_passed_over_are_remembered_once(nano: SAM2, frame: Frames) -> None:
    past = Past(nano, frame)
    for index in range(6):
        if index == 3:
            past.pass_over(index)
        else:
            past.show(index, *([Prompt(1, mask=filled(red_box(0)))] if index == 0 else []))
    for _ in range(2):
        assert overlap(past.ask(3, Prompt(1, box=red_box(3))).mask, red_box(3)) > 0.8
        assert len(past.prompted()) == 2
    assert overlap(past.show(6)[0].mask, red_box(6)) > 0.8


def test_a_prompt_on_an_image_that_was_passed_over_knows_what_was_said_before_and_meanwhile(
    nano: SAM2, frame: Frames
) -> None:
    past = Past(nano, frame)
    for index in range(5):
        if index == 2:
            past.pass_over(index)
        else:
            past.show(index, *([Prompt(1, box=red_box(0))] if index == 0 else []))
    past.ask(2, Prompt(1, points=[[58, 90]]))
    past.ask(1, Prompt(1, mask=filled(red_box(1)) | filled(blue_box(1))))
    track = past.ask(2, Prompt(1, points=[[58, 90]]))
    blue = filled(blue_box(2))
    assert (track.mask & blue).sum() > 0.7 * blue.sum()
    assert len(past.prompted()) == 3


def test_an_object_is_not_forgotten_where_the_history_ends_with_an_image_that_was_passed_over(
    nano: SAM2, frame: Frames
) -> None:
    tracker = Tracker(nano)
    timeline = Timeline(tracker, history_seconds=2.0)
    stamps = (1_000_000_000, 2_000_000_000, 3_500_000_000)
    first = timeline.add(frame(0), stamps[0])
    timeline.process(first, [Prompt(1, box=red_box(0))])
    passed_over = timeline.add(frame(1), stamps[1])
    newest = timeline.add(frame(2), stamps[2])  # the first image has left the history now
    for processed in (False, True):
        if processed:
            timeline.process(newest, [])
        answer = timeline.go_back(Prompt(1, points=[[300, 200]], labels=[0]), passed_over)
        assert overlap(answer.mask, red_box(1)) > 0.8
        assert sum(entry.prompted for entry in tracker.snapshot()[1].bank.entries) == 2


def test_a_name_stays_whenever_the_prompt_comes_until_another_is_given_or_the_object_restarts(
    small_nano: SAM2, frame: Frames
) -> None:
    past = Past(small_nano, frame)
    for index, label in enumerate(("cup", "", "mug", "")):
        past.show(index, *([Prompt(1, box=red_box(index), label=label)] if label else []))
    assert past.ask(1, Prompt(1, box=red_box(1))).label == "mug"
    assert past.show(4)[0].label == "mug"
    assert past.ask(3, Prompt(1, box=red_box(3), restart=True)).label == ""
    assert past.ask(3, Prompt(1, box=red_box(3), label="jug")).label == "jug"


def test_a_restarted_object_does_not_come_back_from_the_image_that_it_restarted_in(
    small_nano: SAM2, frame: Frames
) -> None:
    past = Past(small_nano, frame)
    past.show(0, Prompt(1, mask=filled(blue_box(0))))
    past.show(1, Prompt(1, mask=filled(red_box(1)), restart=True))
    past.show(2)
    past.ask(1, Prompt(1, points=[[54, 90]]))
    assert len(past.prompted()) == 1


def test_every_prompt_is_remembered_once_and_in_order_however_many_images_are_skipped(
    small_nano: SAM2, frame: Frames
) -> None:
    past = Past(small_nano, frame)
    for index in range(45):
        past.show(index, *([Prompt(1, mask=filled(red_box(index)))] if index in (0, 39) else []))
    # more images lie between than are passed through: those passed through count as consecutive
    past.ask(10, Prompt(1, mask=filled(red_box(10))))
    first, middle, last = past.prompted()
    assert middle == 44 - CATCH_UP_IMAGES
    assert middle - first == 10 and middle < last < 44
    past.ask(5, Prompt(1, mask=filled(red_box(5))))
    assert len(past.prompted()) == 4


def test_the_history_stays_bounded_in_bytes_when_objects_are_added_to_its_past(
    small_nano: SAM2, frame: Frames
) -> None:
    tracker, history = Tracker(small_nano), History(seconds=10.0, max_bytes=4_000_000)
    for index in range(25):
        features = tracker.encode(frame(index))
        tracker.advance(features, [])
        history.add(Moment(index * PERIOD, None, features, tracker.index, {}, {}))
    reach = len(history.moments())
    catch_up = CatchUp(tracker, history)
    for object_id in range(1, 9):
        catch_up.prompt(Prompt(object_id, box=red_box(20)), history.at(20 * PERIOD))
    assert 1 < len(history.moments()) <= reach
    assert held_bytes(history.moments(), ()) <= 4_000_000


def test_catching_up_passes_through_a_bounded_number_of_images() -> None:
    moments = [Moment(i) for i in range(100)]
    chosen = spread(moments, CATCH_UP_IMAGES)
    assert len(chosen) == CATCH_UP_IMAGES and chosen[-1] is moments[-1]
    gaps = np.diff([m.stamp for m in chosen])
    assert gaps.max() - gaps.min() <= 1
    assert spread(moments[:5], CATCH_UP_IMAGES) == moments[:5]
