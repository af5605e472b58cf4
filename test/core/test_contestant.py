"""What a benchmark times: every object with a full memory, seen or not."""

from __future__ import annotations

from sam2_core.benchmark.contestant import FIRST_MEASURED, Ours, images_and_boxes
from sam2_core.model import SAM2


def test_every_object_has_a_full_memory_before_it_is_timed(small_nano: SAM2) -> None:
    ours = Ours(small_nano)
    images, boxes = images_and_boxes(16, (240, 320), frames=1)
    ours.prepare(images, boxes)
    settings = small_nano.config.memory
    for state in ours.tracker.snapshot().values():
        spatial, pointers = state.bank.select(FIRST_MEASURED)
        assert len(spatial) == 1 + settings.memory_frames  # the prompted image's, and those of the last ones
        assert len(pointers) == settings.object_pointers
    ours.step(FIRST_MEASURED)
