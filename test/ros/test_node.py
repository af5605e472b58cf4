"""The node on a real graph: its life cycle, its topics and its services."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Point
from rcl_interfaces.msg import Log
from rclpy.qos import QoSReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier
from ros_graph import SECOND, Client, nanoseconds, pixels
from ros_stream import BLUE, RED, Stream, bring_up
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from std_srvs.srv import Trigger

from sam2_ros.conversions import compressed_message, decode_compressed
from sam2_ros.interfaces import Prompt, Remove

Start = Callable[..., Any]
Frame = Callable[[int], np.ndarray]


def test_the_life_cycle_can_be_gone_through_again_and_again(
    start: Start, client: Client, frame: Frame
) -> None:
    node = start()

    def topics() -> set[str]:
        return {
            name
            for name, _ in node.get_publisher_names_and_types_by_node("sam2", "/")
            if name.startswith("/camera/")
        }

    for _ in range(3):
        assert client.state() == "unconfigured"
        assert topics() == set()
        assert client.change_state("configure")
        assert client.state() == "inactive"
        assert "/camera/sam2/mask" in topics()
        assert client.change_state("activate")
        assert client.state() == "active"
        stream = Stream(client, frame)
        stream.step()
        assert stream.prompt(**RED).success
        assert client.change_state("deactivate")
        assert client.change_state("activate")
        assert client.change_state("deactivate")
        assert client.change_state("cleanup")
    assert client.change_state("configure")
    assert client.change_state("inactive_shutdown")
    assert client.state() == "finalized"


def test_every_image_is_answered_and_objects_appear_with_their_prompt(
    start: Start, client: Client, frame: Frame
) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    mask = stream.step()
    assert (mask.encoding, mask.height, mask.width, mask.step) == ("mono8", 240, 320, 320)
    assert mask.header.frame_id == "lens"
    assert not pixels(mask).any()
    client.wait_until(lambda: stream.detections, "detections")
    assert stream.detections[0].detections == []

    answer = stream.prompt(**RED, label="red")
    assert answer.success, answer.message
    assert answer.object_id == 1
    assert 0 <= answer.score <= 1
    assert 0 <= answer.presence <= 1
    assert answer.box.width > 0
    second = stream.prompt(**BLUE)
    assert second.object_id == 2

    mask = stream.step()
    assert set(np.unique(pixels(mask))) == {0, 1, 2}
    client.wait_until(lambda: nanoseconds(stream.detections[-1]) == stream.stamp(), "detections")
    detections = stream.detections[-1]
    assert detections.header == mask.header
    assert [(d.id, d.results[0].hypothesis.class_id) for d in detections.detections] == [
        ("1", "red"),
        ("2", "2"),
    ]
    box = detections.detections[0].bbox
    rows, columns = np.nonzero(pixels(mask) == 1)
    assert box.center.position.x - box.size_x / 2 <= columns.min()
    assert box.center.position.y + box.size_y / 2 >= rows.max() + 1

    assert list(stream.remove(1).object_ids) == [2]
    assert set(np.unique(pixels(stream.step()))) == {0, 2}
    assert client.call(Trigger, "/camera/sam2/reset", Trigger.Request()).success
    assert not pixels(stream.step()).any()
    assert stream.prompt(**BLUE).object_id == 1


def test_a_known_object_is_corrected_and_restarted(start: Start, client: Client, frame: Frame) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    assert stream.prompt(**RED, object_id=9, label="red").object_id == 9
    corrected = stream.prompt(points=[Point(x=30.0, y=70.0)], object_id=9)
    assert corrected.success, corrected.message
    assert corrected.object_id == 9
    again = stream.prompt(**BLUE, object_id=9, restart=True)
    assert again.success, again.message
    assert again.box.x_offset > 160  # it is the blue square now
    stream.step()
    client.wait_until(lambda: nanoseconds(stream.detections[-1]) == stream.stamp(), "detections")
    assert [d.results[0].hypothesis.class_id for d in stream.detections[-1].detections] == [
        "9"
    ]  # the name is gone


def test_points_and_a_box_make_one_prompt(start: Start, client: Client, frame: Frame) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    points = [Point(x=50.0, y=90.0), Point(x=150.0, y=20.0)]
    answer = stream.prompt(points=points, point_labels=[1, 0], box=[20.0, 60.0, 80.0, 120.0])
    assert answer.success, answer.message
    assert answer.object_id == 1


def test_a_prompt_is_answered_though_no_further_image_comes(
    start: Start, client: Client, frame: Frame
) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    stamp = nanoseconds(stream.step())
    assert stream.prompt(**RED).success
    client.wait_until(lambda: pixels(stream.mask(stamp)).any(), "the same image again, with the object in it")


def test_many_prompts_at_once_are_all_answered_while_images_stream(
    start: Start, client: Client, frame: Frame
) -> None:
    start(max_objects=255)
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    pending = []
    for number in range(40):
        request = Prompt.Request(points=[Point(x=50.0 + number, y=90.0)])
        pending.append(client.send(Prompt, "/camera/sam2/prompt", request))
        if number % 4 == 0:
            stream.show()
    answers = [client.receive(future, "a prompt among many") for future in pending]
    assert all(answer.success for answer in answers), [a.message for a in answers if not a.success]
    assert sorted(answer.object_id for answer in answers) == list(range(1, 41))
    assert len(np.unique(pixels(stream.step()))) > 1


def test_an_inactive_node_refuses_and_says_why(start: Start, client: Client, frame: Frame) -> None:
    start()
    assert client.change_state("configure")
    answer = client.call(Prompt, "/camera/sam2/prompt", Prompt.Request(**RED))
    assert not answer.success
    assert answer.message == "sam2 is not active: activate it, then prompt again"
    assert not client.call(Remove, "/camera/sam2/remove", Remove.Request()).success
    assert not client.call(Trigger, "/camera/sam2/reset", Trigger.Request()).success


@pytest.mark.parametrize("transition", ["deactivate", "active_shutdown"])
def test_prompts_in_flight_are_refused_when_the_node_stops(
    start: Start, client: Client, frame: Frame, transition: str
) -> None:
    start(max_objects=255)
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    pending = [client.send(Prompt, "/camera/sam2/prompt", Prompt.Request(**RED)) for _ in range(60)]
    assert client.change_state(transition)
    answers = [client.receive(future, "a prompt in flight") for future in pending]
    refused = [answer for answer in answers if not answer.success]
    assert refused
    assert all("closed" in answer.message or "not active" in answer.message for answer in refused)


def test_objects_outlive_a_deactivation(start: Start, client: Client, frame: Frame) -> None:
    start()
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    assert stream.prompt(**RED).success
    stream.step()
    assert client.change_state("deactivate")
    assert client.change_state("activate")
    client.wait_until(lambda: stream._publisher.get_subscription_count() == 1, "the subscription")
    assert 1 in pixels(stream.step())


def test_names_follow_the_namespace(start: Start, client: Client, frame: Frame) -> None:
    start(namespace="robot")
    bring_up(client, "/robot/sam2")
    stream = Stream(client, frame, "/robot/camera")
    stream.step()
    assert stream.prompt(**RED).success


def test_compressed_images_are_tracked(start: Start, client: Client, frame: Frame) -> None:
    start(image_transport="compressed")
    bring_up(client)
    masks = client.collect(Image, "/camera/sam2/mask")
    publisher = client.publisher(CompressedImage, "/camera/image_raw/compressed")
    publisher.publish(compressed_message(frame(0), Header(frame_id="lens")))
    client.wait_until(lambda: masks, "a mask")
    assert (masks[0].height, masks[0].width, masks[0].header.frame_id) == (240, 320, "lens")


def test_the_overlay_is_drawn_only_while_somebody_looks(
    start: Start, client: Client, frame: Frame, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sam2_ros import camera

    drawn = []
    draw = camera.overlay
    monkeypatch.setattr(camera, "overlay", lambda *args: drawn.append(1) or draw(*args))
    start(overlay_alpha=0.0)
    bring_up(client)
    stream = Stream(client, frame)
    stream.step()
    assert not drawn
    overlays = client.collect(Image, "/camera/sam2/overlay")
    jpegs = client.collect(CompressedImage, "/camera/sam2/overlay/compressed")
    stream.step()
    client.wait_until(lambda: stream.step() and overlays and jpegs, "overlays")
    assert overlays[-1].encoding == "rgb8"
    assert overlays[-1].header.frame_id == "lens"
    newest = int((nanoseconds(overlays[-1]) - 100 * SECOND) * 25 // SECOND)
    assert np.array_equal(pixels(overlays[-1]), frame(newest))  # nothing is known: the image itself
    assert decode_compressed(jpegs[-1]).shape == (240, 320, 3)


def test_diagnostics_tell_how_each_camera_is_doing(start: Start, client: Client, frame: Frame) -> None:
    start(cameras=["front", "rear"])
    reports = client.collect(DiagnosticArray, "/diagnostics")
    client.wait_until(lambda: reports, "diagnostics of an unconfigured node")
    assert reports[0].status[0].message == "unconfigured"
    bring_up(client)
    stream = Stream(client, frame, "/front")
    stream.step()
    stream.prompt(**RED, label="cup")
    stream.step()

    def front() -> dict[str, str] | None:
        newest = {status.name: {v.key: v.value for v in status.values} for status in reports[-1].status}
        values = newest.get("sam2: front", {})
        return newest if values.get("processed") == "2" and values.get("objects") == "1" else None

    newest = client.wait_until(front, "diagnostics of two images and an object")
    values = newest["sam2: front"]
    assert int(values["memory (bytes)"]) > 0
    assert values["model"] == "sam2_nano"
    assert values["device"] == "cpu"
    assert float(values["latency p50 (ms)"]) <= float(values["latency p95 (ms)"])
    assert float(values["model p50 (ms)"]) > 0
    assert values["dropped"] == "0"
    assert (values["topic"], values["publishers"]) == ("/front/image_raw", "1")
    assert values["reliability"] in ("best effort", "reliable")
    assert values["threads"] == "2"
    assert values["known objects"] == "1 cup"
    assert newest["sam2: rear"]["objects"] == "0"
    assert [s.message for s in reports[-1].status if s.name == "sam2: rear"] == [
        "active, but no images arrive: nobody publishes /rear/image_raw"
    ]


FLOOD = """
import array, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init()
node = rclpy.create_node("flood")
images = node.create_publisher(Image, "/camera/image_raw", qos_profile_sensor_data)
image = Image(encoding="rgb8", height=1000, width=1000, step=3000, data=array.array("B", bytes(3_000_000)))
while True:
    images.publish(image)
"""


@pytest.mark.skipif(
    get_rmw_implementation_identifier() != "rmw_fastrtps_cpp", reason="other DDS may lose nothing"
)
def test_diagnostics_warn_of_images_that_are_lost_on_their_way(start: Start, client: Client) -> None:
    start()
    bring_up(client)
    reports = client.collect(DiagnosticArray, "/diagnostics")
    flood = subprocess.Popen([sys.executable, "-c", FLOOD])

    def warnings() -> list[Any]:
        return [s for report in reports for s in report.status if "are lost on their way" in s.message]

    try:
        [warning, *_] = client.wait_until(warnings, "a warning")
    finally:
        flood.kill()
        flood.wait()
    values = {value.key: value.value for value in warning.values}
    assert values["reliability"] == "best effort"
    assert float(values["rate of lost (Hz)"]) > 0


def test_diagnostics_tell_why_the_node_could_not_be_configured(start: Start, client: Client) -> None:
    start(checkpoint="/nowhere/weights.pt")
    reports = client.collect(DiagnosticArray, "/diagnostics")
    assert not client.change_state("configure")

    def failed() -> bool:
        [status] = reports[-1].status if reports else [None]
        return bool(status and status.level == b"\x02" and "/nowhere/weights.pt" in status.message)

    client.wait_until(failed, "the error")
    assert client.set_parameter("checkpoint", "").successful
    assert client.change_state("configure")
    client.wait_until(lambda: reports[-1].status[0].message == "inactive", "no error")


def test_diagnostics_warn_where_no_image_can_be_used(start: Start, client: Client) -> None:
    start()
    bring_up(client)
    reports = client.collect(DiagnosticArray, "/diagnostics")
    images = client.publisher(Image, "/camera/image_raw")

    def warned() -> bool:
        images.publish(Image(encoding="16UC1", width=2, height=2, step=4, data=bytes(8)))
        told = [status.message for report in reports for status in report.status]
        return "active, but no image can be used: encoding '16UC1' is not supported" in " ".join(told)

    client.wait_until(warned, "a warning")


def test_diagnostics_of_an_inactive_node_know_its_objects(start: Start, client: Client, frame: Frame) -> None:
    start()
    bring_up(client)
    reports = client.collect(DiagnosticArray, "/diagnostics")
    stream = Stream(client, frame)
    stream.step()
    assert stream.prompt(**RED).success
    assert client.change_state("deactivate")

    def inactive() -> dict[str, str] | None:
        [status] = reports[-1].status if reports else [None]
        return {v.key: v.value for v in status.values} if status and status.message == "inactive" else None

    values = client.wait_until(inactive, "diagnostics of an inactive node")
    assert values["objects"] == "1"
    assert int(values["memory (bytes)"]) > 0


def test_a_parameter_set_too_late_is_told_of(start: Start, client: Client) -> None:
    start()
    log = client.collect(Log, "/rosout")
    assert client.set_parameter("max_objects", 3).successful
    bring_up(client)
    assert client.set_parameter("max_objects", 4).successful
    client.wait_until(lambda: [e for e in log if "configured again" in e.msg], "the hint")
    assert [e.msg.split(":")[0] for e in log if "configured again" in e.msg] == ["max_objects"]


def test_the_quality_of_service_can_be_overridden(start: Start, client: Client) -> None:
    subscription, mask = (
        "qos_overrides./camera/image_raw.subscription",
        "qos_overrides./camera/sam2/mask.publisher",
    )
    node = start(
        **{f"{subscription}.reliability": "reliable", f"{subscription}.depth": 1, f"{mask}.depth": 2}
    )
    bring_up(client)
    [image] = node.get_subscriptions_info_by_topic("/camera/image_raw")
    assert image.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
    assert node.get_parameter(f"{mask}.depth").value == 2
    # and again: the overrides are declared already
    assert client.change_state("deactivate")
    assert client.change_state("cleanup")
    bring_up(client)


def test_outputs_are_reliable_and_images_are_best_effort(start: Start, client: Client) -> None:
    node = start()
    bring_up(client)
    [image] = node.get_subscriptions_info_by_topic("/camera/image_raw")
    assert image.qos_profile.reliability == QoSReliabilityPolicy.BEST_EFFORT
    for topic in ("mask", "detections", "overlay"):
        [output] = node.get_publishers_info_by_topic(f"/camera/sam2/{topic}")
        assert output.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE
