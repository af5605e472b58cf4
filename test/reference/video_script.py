"""What is done to a clip, step by step, with the original's video predictor and with ours."""

from pathlib import Path

import numpy as np
from PIL import Image
from reference_weights import reference_frame

SIZE, HEIGHT = 256, 192
EVERY = 16
"""Of the masks every 16th row and column is compared."""

CIRCLE, BALL = [46, 46, 108, 104], [179, 157]  # a box around the red disc, a point on the blue one, in frame 0
STEADY = {"model": "sam2.1_hiera_tiny", "frames": 8, "corrections_count": True}
SCRIPTS = {
    "forwards, then corrected": {
        **STEADY,
        "frames": 6,
        "steps": [
            ("add_new_points_or_box", {"frame_idx": 0, "obj_id": 1, "box": CIRCLE}),
            ("propagate_in_video", {"max_frame_num_to_track": 3}),
            (
                "add_new_points_or_box",
                {"frame_idx": 2, "obj_id": 1, "points": [[179, 145], [95, 77]], "labels": [0, 1]},
            ),
            ("add_new_points_or_box", {"frame_idx": 0, "obj_id": 1, "points": [[60, 80]], "labels": [0]}),
            ("propagate_in_video", {"start_frame_idx": 1}),
        ],
    },
    "in reverse from the middle": {
        **STEADY,
        "steps": [
            ("add_new_points_or_box", {"frame_idx": 5, "obj_id": 1, "points": [[115, 77]], "labels": [1]}),
            ("propagate_in_video", {"reverse": True, "start_frame_idx": 5}),
            ("add_new_points_or_box", {"frame_idx": 2, "obj_id": 1, "points": [[110, 90]], "labels": [1]}),
            ("propagate_in_video", {"reverse": True, "start_frame_idx": 4, "max_frame_num_to_track": 3}),
            ("propagate_in_video", {"start_frame_idx": 5}),
        ],
    },
    "prompts in two frames": {
        **STEADY,
        "steps": [
            ("add_new_points_or_box", {"frame_idx": 1, "obj_id": 1, "points": [[84, 77]], "labels": [1]}),
            (
                "add_new_points_or_box",
                {
                    "frame_idx": 1,
                    "obj_id": 1,
                    "points": [[100, 90]],
                    "labels": [1],
                    "clear_old_points": False,
                },
            ),
            (
                "add_new_points_or_box",
                {
                    "frame_idx": 6,
                    "obj_id": 1,
                    "points": [[0.45, 0.5]],
                    "labels": [1],
                    "normalize_coords": False,
                },
            ),
            ("propagate_in_video", {}),
        ],
    },
    "two objects, one is removed": {
        **STEADY,
        "steps": [
            ("add_new_mask", {"frame_idx": 0, "obj_id": 7, "mask": [77, 77, 30]}),
            ("add_new_points_or_box", {"frame_idx": 2, "obj_id": 3, "points": [BALL], "labels": [1]}),
            ("propagate_in_video", {"max_frame_num_to_track": 5}),
            ("clear_all_prompts_in_frame", {"frame_idx": 2, "obj_id": 3}),
            ("add_new_points_or_box", {"frame_idx": 2, "obj_id": 3, "points": [BALL], "labels": [1]}),
            ("remove_object", {"obj_id": 7}),
            ("propagate_in_video", {"start_frame_idx": 3, "max_frame_num_to_track": 3}),
        ],
    },
    "corrections that don't count": {
        **STEADY,
        "corrections_count": False,
        "steps": [
            ("add_new_points_or_box", {"frame_idx": 0, "obj_id": 1, "box": CIRCLE}),
            ("propagate_in_video", {"max_frame_num_to_track": 4}),
            ("add_new_points_or_box", {"frame_idx": 0, "obj_id": 1, "points": [[60, 80]], "labels": [0]}),
            ("add_new_points_or_box", {"frame_idx": 3, "obj_id": 1, "points": [[107, 77]], "labels": [0]}),
            ("propagate_in_video", {"start_frame_idx": 4}),
        ],
    },
    "SAM 2.0, a long clip": {
        "model": "sam2_hiera_tiny",
        "frames": 18,
        "corrections_count": True,
        "steps": [
            ("add_new_points_or_box", {"frame_idx": 17, "obj_id": 1, "box": CIRCLE}),
            ("propagate_in_video", {"reverse": True}),
        ],
    },
}


def video_frames(count: int) -> list[np.ndarray]:
    """The clip: uint8 RGB (192, 256, 3)."""
    return [np.ascontiguousarray(reference_frame(index % 12, SIZE)[:HEIGHT]) for index in range(count)]


def write_frames(folder: Path, count: int) -> None:
    """The clip as the original reads it: files with a JPEG's ending, but without its losses."""
    for index, frame in enumerate(video_frames(count)):
        Image.fromarray(frame).save(folder / f"{index:05d}.jpg", format="png")


def follow(predictor, state, steps) -> dict[str, np.ndarray]:
    """Take the steps; mask logits (N, h, w) of all objects, by step and frame."""
    found = {}
    for number, (verb, arguments) in enumerate(steps):
        given = dict(arguments)
        if "mask" in given:
            x, y, radius = given["mask"]
            rows, columns = np.mgrid[0:HEIGHT, 0:SIZE]
            given["mask"] = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
        answer = getattr(predictor, verb)(state, **given)
        if verb == "remove_object":
            outputs = [(frame, answer[0], masks) for frame, masks in answer[1]]
        else:
            outputs = [answer] if isinstance(answer, tuple) else answer
        for frame, ids, masks in outputs:
            assert len(ids) == len(masks)
            name = f"{number} {verb} frame {frame} objects {' '.join(map(str, ids))}"
            found[name] = masks[:, 0, ::EVERY, ::EVERY].float().cpu().numpy()
    return found
