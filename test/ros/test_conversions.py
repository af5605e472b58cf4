"""Requests become prompts, tracks become messages."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from sam2_core import PromptError, Track
from sam2_ros.conversions import (
    ImageError,
    compressed_message,
    detections_message,
    prompt_from_request,
    region_of_interest,
    to_nanoseconds,
    to_time,
)
from sam2_ros.interfaces import Prompt


def track(
    object_id: int, box: tuple[int, int, int, int] | None, label: str = "", visible: bool = True
) -> Track:
    mask = np.zeros((40, 60), bool)
    if box is not None:
        mask[box[1] : box[3], box[0] : box[2]] = True
    corners = None if box is None else np.array(box)
    logits = np.zeros((10, 10), np.float32)
    return Track(object_id, label, mask, corners, 0.75, 0.9, visible, logits)


def request(**fields: object) -> Prompt.Request:
    return Prompt.Request(**fields)


def mask_image(mask: np.ndarray, padding: int = 0) -> Image:
    rows = np.pad(mask.astype(np.uint8) * 255, ((0, 0), (0, padding)), constant_values=9)
    return Image(
        encoding="mono8", height=mask.shape[0], width=mask.shape[1], step=rows.shape[1], data=rows.tobytes()
    )


@pytest.mark.parametrize("nanoseconds", [0, 1, 999_999_999, 1_000_000_000, 1_764_000_000_123_456_789])
def test_time_goes_there_and_back(nanoseconds: int) -> None:
    assert to_nanoseconds(to_time(nanoseconds)) == nanoseconds


def test_a_stamp_that_is_no_time_is_refused() -> None:
    stamp = Time(sec=200, nanosec=1_500_000_000)
    with pytest.raises(ValueError, match="nanosec is 1500000000: give less than 1000000000"):
        to_nanoseconds(stamp)
    with pytest.raises(PromptError, match="nanosec is 1500000000"):
        prompt_from_request(Prompt.Request(header=Header(stamp=stamp), box=[0.0, 0.0, 9.0, 9.0]))


def test_an_image_too_large_for_jpeg_is_named() -> None:
    with pytest.raises(ImageError, match="70000 x 1 pixels is too large for JPEG"):
        compressed_message(np.zeros((1, 70_000, 3), np.uint8), Header())


def test_detections_are_the_visible_objects() -> None:
    header = Header(frame_id="front", stamp=to_time(5))
    tracks = [
        track(1, (10, 4, 30, 9), "cup"),
        track(7, (0, 0, 1, 1)),
        track(8, None, visible=False),
        track(9, (2, 2, 4, 4), visible=False),
    ]
    message = detections_message(tracks, header)
    assert message.header == header
    assert [d.id for d in message.detections] == ["1", "7"]
    cup, other = message.detections
    assert cup.header == header
    assert (cup.bbox.center.position.x, cup.bbox.center.position.y) == (20.0, 6.5)
    assert (cup.bbox.size_x, cup.bbox.size_y) == (20.0, 5.0)
    assert len(cup.results) == 1
    assert cup.results[0].hypothesis.class_id == "cup"
    assert cup.results[0].hypothesis.score == 0.75
    assert other.results[0].hypothesis.class_id == "7"


def test_regions_have_offset_and_size() -> None:
    region = region_of_interest(np.array([10, 4, 30, 9]))
    assert (region.x_offset, region.y_offset, region.width, region.height) == (10, 4, 20, 5)
    assert region_of_interest(None).width == 0


def test_points_are_taken_with_their_labels() -> None:
    points = [Point(x=3.5, y=4.0, z=99.0), Point(x=0.0, y=1.0)]
    prompt, stamp = prompt_from_request(request(points=points, point_labels=[1, 0], label="cup", object_id=3))
    assert prompt.points.tolist() == [[3.5, 4.0], [0.0, 1.0]]
    assert prompt.labels.tolist() == [1, 0]
    assert (prompt.object_id, prompt.label, prompt.restart, stamp) == (3, "cup", False, None)


def test_points_without_labels_lie_on_the_object() -> None:
    prompt, _ = prompt_from_request(request(points=[Point(), Point(x=1.0)]))
    assert prompt.labels.tolist() == [1, 1]


def test_no_id_means_a_new_object() -> None:
    assert prompt_from_request(request(points=[Point()]))[0].object_id is None


def test_a_stamp_names_an_image() -> None:
    stamped = request(points=[Point()], header=Header(stamp=to_time(1_234_567_890_123)))
    assert prompt_from_request(stamped)[1] == 1_234_567_890_123


def test_a_box_and_restart_are_taken() -> None:
    prompt, _ = prompt_from_request(request(box=[1.0, 2.0, 3.5, 4.0], restart=True, object_id=2))
    assert prompt.box.tolist() == [1.0, 2.0, 3.5, 4.0]
    assert prompt.restart


@pytest.mark.parametrize("padding", [0, 5])
def test_a_mask_is_taken(padding: int) -> None:
    mask = np.zeros((8, 12), bool)
    mask[2:5, 3:9] = True
    prompt, _ = prompt_from_request(request(mask=mask_image(mask, padding)))
    assert np.array_equal(prompt.mask, mask)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "the prompt is empty"),
        ({"points": [Point()] * 257}, "257 points are too many"),
        ({"points": [Point(x=float("nan"))]}, "NaN or infinity"),
        ({"points": [Point(x=float("inf"))]}, "NaN or infinity"),
        ({"points": [Point(x=1e300)]}, "NaN or infinity"),
        ({"points": [Point()], "point_labels": [2]}, "label 2 is unknown"),
        ({"points": [Point()], "point_labels": [-1]}, "label -1 is unknown"),
        ({"points": [Point()], "point_labels": [1, 0]}, "2 labels for 1 points"),
        ({"point_labels": [1]}, "empty|labels without points"),
        ({"box": [1.0, 2.0, 3.0]}, r"box has shape \(3,\)"),
        ({"box": [5.0, 2.0, 3.0, 4.0]}, r"box \(5, 2, 3, 4\) has x_min >= x_max"),
        ({"box": [1.0, 4.0, 3.0, 4.0]}, "y_min >= y_max"),
        ({"box": [1.0, float("nan"), 3.0, 4.0]}, "NaN or infinity"),
        ({"points": [Point()], "object_id": 256}, "object id 256 is out of range: give 1 to 255"),
        ({"points": [Point()], "object_id": 2**32 - 1}, "object id 4294967295 is out of range"),
        (
            {"mask": Image(encoding="rgb8", width=1, height=1, step=3, data=bytes(3))},
            "encoding 'rgb8': give mono8",
        ),
        (
            {"mask": Image(encoding="mono8", width=4, height=4, step=4, data=bytes(3))},
            "3 bytes, step 4 times height 4",
        ),
        ({"mask": Image(encoding="mono8", width=4, height=4, step=4, data=bytes(16))}, "the mask is empty"),
        (
            {"mask": Image(encoding="mono8", width=1, height=1, step=1, data=b"1"), "points": [Point()]},
            "a mask comes alone",
        ),
    ],
)
def test_requests_that_cannot_be_right(fields: dict, complaint: str) -> None:
    with pytest.raises(PromptError, match=complaint):
        prompt_from_request(request(**fields))
