"""The service C/sam2/discover of a real node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from diagnostic_msgs.msg import DiagnosticArray
from ros_graph import SECOND, Client, image_message, nanoseconds, pixels
from sensor_msgs.msg import Image

from sam2_ros.interfaces import Discover, Prompt

Start = Callable[..., Any]
Frame = Callable[[int], np.ndarray]
SERVICE = "/camera/sam2/discover"


@pytest.fixture
def masks(start: Start, client: Client, frame: Frame) -> list[Image]:
    """An active node's masks, after its first image."""
    start()
    assert client.change_state("configure")
    assert client.change_state("activate")
    masks = client.collect(Image, "/camera/sam2/mask")
    client.publisher(Image, "/camera/image_raw").publish(image_message(frame(0), SECOND))
    client.wait_until(lambda: masks, "a mask")
    return masks


def test_what_is_there_is_found_tracked_and_not_found_again(client: Client, masks: list[Image]) -> None:
    answer = client.call(Discover, SERVICE, Discover.Request())
    assert answer.success, answer.message
    ids = list(answer.object_ids)
    assert ids == list(range(1, len(ids) + 1))
    assert answer.message == f"{len(ids)} new objects"
    assert len(answer.scores) == len(answer.boxes) == len(ids) > 0
    assert list(answer.scores) == sorted(answer.scores, reverse=True)
    assert all(box.width > 0 and box.height > 0 for box in answer.boxes)
    client.wait_until(
        lambda: set(np.unique(pixels(masks[-1]))) - {0}, "the image again, with the objects in it"
    )
    assert nanoseconds(masks[-1]) == SECOND

    again = client.call(Discover, SERVICE, Discover.Request())
    assert again.success
    assert list(again.object_ids) == []
    assert again.message == "nothing new was found"


def test_a_region_and_limits_are_kept_to(client: Client, masks: list[Image]) -> None:
    request = Discover.Request(region=[0.0, 40.0, 100.0, 140.0], max_objects=1, min_quality=0.6)
    answer = client.call(Discover, SERVICE, request)
    assert answer.success, answer.message
    [box], [score] = answer.boxes, answer.scores
    assert score > 0.6
    assert 0 <= box.x_offset + box.width / 2 <= 100


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"region": [1.0, 2.0]}, "region has 2 numbers: give x_min y_min x_max y_max"),
        ({"region": [5.0, 5.0, 5.0, 9.0]}, "region (5, 5, 5, 9) has no area"),
        ({"region": [900.0, 0.0, 950.0, 9.0]}, "lies outside the image of 320 x 240 pixels"),
        ({"min_quality": 3.0}, "min_quality 3 is out of range"),
        ({"min_quality": float("nan")}, "min_quality nan is out of range"),
    ],
)
def test_bad_requests_are_refused_with_the_value(
    client: Client, masks: list[Image], fields: dict[str, Any], message: str
) -> None:
    answer = client.call(Discover, SERVICE, Discover.Request(**fields))
    assert not answer.success
    assert message in answer.message
    assert list(answer.object_ids) == []


def test_a_node_that_is_not_active_refuses(start: Start, client: Client) -> None:
    start()
    assert client.change_state("configure")
    answer = client.call(Discover, SERVICE, Discover.Request())
    assert not answer.success
    assert answer.message == "sam2 is not active: activate it, then discover again"


def test_the_node_answers_others_while_it_searches(client: Client, masks: list[Image], frame: Frame) -> None:
    pending = client.send(Discover, SERVICE, Discover.Request())
    reports = client.collect(DiagnosticArray, "/diagnostics")
    prompt = Prompt.Request(object_id=200, box=[20.0, 60.0, 80.0, 120.0])
    answer = client.call(Prompt, "/camera/sam2/prompt", prompt)
    assert answer.success, answer.message
    client.wait_until(lambda: reports, "diagnostics")
    assert client.receive(pending, "the search").success


def test_a_search_in_flight_is_refused_when_the_node_deactivates(client: Client, masks: list[Image]) -> None:
    pending = [client.send(Discover, SERVICE, Discover.Request()) for _ in range(5)]
    assert client.change_state("deactivate")
    answers = [client.receive(future, "a search in flight") for future in pending]
    refused = [answer.message for answer in answers if not answer.success]
    assert refused
    assert all("closed" in message or "not active" in message for message in refused)
