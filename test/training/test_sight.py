"""The thresholds for "out of sight" are chosen on what a tracker said of held-out clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sam2_core import Tracker
from sam2_core.configs import MODELS, SightConfig
from sam2_core.model import SAM2
from training.clips import ClipMaker, ClipSettings
from training.photos import PhotoStore
from training.sight import Seen, attempt, best, watch_clip

FRAMES = [
    *(Seen(0, True, 0.8, evidence) for evidence in (0.6, 0.25, 0.6)),
    *(Seen(0, False, 0.0, evidence) for evidence in (0.15, 0.25, 0.25)),
    Seen(1, True, 0.8, 0.25),  # a new clip begins in sight
]


def test_what_is_shown_and_hidden_is_counted() -> None:
    trial = attempt(SightConfig(0.2, 0.3), FRAMES)
    assert (trial.shown, trial.hidden) == (0.0, 0.0)
    assert trial.iou == pytest.approx((4 * 0.8 + 3) / 7)
    eager = attempt(SightConfig(0.3, 0.3), FRAMES)
    assert (eager.shown, eager.hidden) == (0.0, 0.5)


def test_thresholds_that_hide_what_was_right_are_not_taken() -> None:
    trials = [
        attempt(SightConfig(*pair), FRAMES) for pair in ((0.0, 0.0), (0.2, 0.3), (0.3, 0.3), (0.2, 0.2))
    ]
    assert best(trials).sight == SightConfig(0.2, 0.3)


def test_clips_are_watched_as_they_are_online(prepared: Path) -> None:
    tiny = SAM2(replace(MODELS["sam2_nano"], image_size=64)).requires_grad_(False).eval()
    maker = ClipMaker(PhotoStore(prepared, "validation"), ClipSettings(4, 64, absence=1.0))
    seen = [one for number in range(4) for one in watch_clip(Tracker(tiny), maker, number)]
    assert [one.clip for one in seen] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert all(0 <= one.score * one.presence <= 1 and 0 <= one.iou <= 1 for one in seen)
    assert not all(one.there for one in seen)
