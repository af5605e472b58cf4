"""Bad input gets a clear answer or a line on the log, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from geometry_msgs.msg import Point
from rcl_interfaces.msg import Log
from ros_graph import SECOND, Client, image_message, nanoseconds
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from sam2_core.embedded import embedded_weights_path
from sam2_ros.interfaces import Prompt, Remove

Start = Callable[..., Any]
Frame = Callable[[int], np.ndarray]

NAN, INFINITY = float("nan"), float("inf")


@dataclass
class Scene:
    """An active node that has seen one image and tracks object 1."""

    client: Client
    detections: list[Detection2DArray]
    log: list[Log]
    images: Any
    frame: Frame

    def prompt(self, **fields: Any) -> Any:
        return self.client.call(Prompt, "/camera/sam2/prompt", Prompt.Request(**fields))

    def show(self, stamp: int, image: Image | None = None) -> None:
        """Publishes an image and waits until it has been processed."""
        self.images.publish(image_message(self.frame(0), stamp) if image is None else image)
        self.client.wait_until(lambda: self.detections_of(stamp), f"the detections of {stamp}")

    def detections_of(self, stamp: int) -> Detection2DArray | None:
        return next((d for d in reversed(self.detections) if nanoseconds(d) == stamp), None)

    def logged(self, text: str) -> list[str]:
        return [entry.msg for entry in self.log if text in entry.msg]

    def wait_for_log(self, text: str) -> None:
        self.client.wait_until(lambda: self.logged(text), f"{text!r} on the log")


def mask(width: int = 320, height: int = 240, encoding: str = "mono8") -> Image:
    pixels = np.zeros((height, width), np.uint8)
    pixels[60:120, 20:80] = 255
    return image_message(pixels, 0, encoding)


def bring_up(client: Client) -> None:
    assert client.change_state("configure")
    assert client.change_state("activate")


@pytest.fixture
def scene(start: Start, client: Client, frame: Frame) -> Iterator[Scene]:
    start(max_objects=3)
    bring_up(client)
    scene = Scene(
        client,
        client.collect(Detection2DArray, "/camera/sam2/detections"),
        client.collect(Log, "/rosout"),
        client.publisher(Image, "/camera/image_raw"),
        frame,
    )
    scene.show(SECOND)
    assert scene.prompt(mask=mask(), object_id=1).success
    return scene


PROMPTS = [
    ({}, "the prompt is empty: give points, a box or a mask"),
    ({"points": [Point(x=5.0, y=5.0)] * 1000}, "1000 points are too many: give at most 256"),
    ({"points": [Point(x=NAN, y=5.0)]}, "NaN or infinity"),
    ({"points": [Point(x=5.0, y=-INFINITY)]}, "NaN or infinity"),
    ({"points": [Point(x=320.0, y=5.0)]}, "point (320, 5) lies outside the image of 320 x 240 pixels"),
    ({"points": [Point(x=5.0, y=-1.0)]}, "point (5, -1) lies outside"),
    ({"points": [Point()], "point_labels": [3]}, "label 3 is unknown"),
    ({"points": [Point()], "point_labels": [1, 1]}, "2 labels for 1 points"),
    ({"points": [Point(), Point()], "point_labels": [1]}, "1 labels for 2 points"),
    ({"box": [80.0, 60.0, 20.0, 120.0]}, "box (80, 60, 20, 120) has x_min >= x_max"),
    ({"box": [20.0, 60.0, 20.0, 120.0]}, "x_min >= x_max"),
    ({"box": [400.0, 60.0, 420.0, 120.0]}, "does not touch the image of 320 x 240 pixels"),
    ({"box": [20.0, 60.0, 80.0]}, "box has shape (3,)"),
    ({"box": [20.0, 60.0, INFINITY, 120.0]}, "NaN or infinity"),
    ({"mask": mask(160, 240)}, "mask of 160 x 240 pixels for an image of 320 x 240"),
    ({"mask": mask(encoding="rgb8")}, "mask has the encoding 'rgb8': give mono8"),
    ({"mask": mask(), "box": [20.0, 60.0, 80.0, 120.0]}, "a mask comes alone"),
    ({"points": [Point()], "object_id": 256}, "object id 256 is out of range: give 1 to 255"),
]


@pytest.mark.parametrize(("fields", "complaint"), PROMPTS)
def test_a_bad_prompt_is_refused_and_nothing_changes(scene: Scene, fields: dict, complaint: str) -> None:
    for object_id in (0, 1):  # a new object, a known one
        answer = scene.prompt(**{"object_id": object_id, **fields})
        assert not answer.success
        assert complaint in answer.message
    scene.show(2 * SECOND)
    assert [d.id for d in scene.detections_of(2 * SECOND).detections] == ["1"]
    assert scene.prompt(mask=mask(), object_id=2).success


def test_more_objects_than_allowed_are_refused(scene: Scene) -> None:
    assert scene.prompt(mask=mask()).object_id == 2
    assert scene.prompt(mask=mask(), object_id=200).object_id == 200
    answer = scene.prompt(mask=mask())
    assert not answer.success
    assert "3 of at most 3 objects are tracked: remove one first, or raise max_objects" in answer.message
    assert scene.prompt(points=[Point(x=50.0, y=90.0)], object_id=200).success


def test_removing_an_unknown_object_removes_none(scene: Scene) -> None:
    answer = scene.client.call(Remove, "/camera/sam2/remove", Remove.Request(object_ids=[1, 9]))
    assert not answer.success
    assert "object 9 is unknown: the known ids are 1" in answer.message
    assert list(answer.object_ids) == [1]
    scene.show(2 * SECOND)
    assert [d.id for d in scene.detections_of(2 * SECOND).detections] == ["1"]


def test_a_prompt_before_any_image_is_refused(start: Start, client: Client) -> None:
    start()
    bring_up(client)
    answer = client.call(Prompt, "/camera/sam2/prompt", Prompt.Request(points=[Point()]))
    assert not answer.success
    assert "image" in answer.message


def changed(**fields: Any) -> Image:
    image = image_message(np.zeros((240, 320, 3), np.uint8), 2 * SECOND)
    for name, value in fields.items():
        setattr(image, name, value)
    return image


@pytest.mark.parametrize(
    ("image", "complaint"),
    [
        (changed(data=bytes(1000)), "data has 1000 bytes, step 960 times height 240 needs 230400"),
        (changed(data=b""), "data has 0 bytes"),
        (changed(width=0), "image of 0 x 240 pixels is empty"),
        (changed(height=0), "image of 320 x 0 pixels is empty"),
        (changed(step=7), "step 7 is too short"),
        (changed(encoding="32FC3"), "encoding '32FC3' is not supported: publish one of rgb8"),
    ],
)
def test_a_bad_image_is_told_and_survived(scene: Scene, image: Image, complaint: str) -> None:
    scene.images.publish(image)
    scene.wait_for_log(complaint)
    assert all(entry.startswith("camera: ") for entry in scene.logged(complaint))
    scene.show(3 * SECOND)
    assert [d.id for d in scene.detections_of(3 * SECOND).detections] == ["1"]
    assert scene.detections_of(2 * SECOND) is None


def test_every_kind_of_fault_is_told_however_close_they_follow(scene: Scene) -> None:
    for image in (changed(width=0), changed(data=bytes(1000)), changed(data=bytes(999)), changed(step=7)):
        scene.images.publish(image)
    scene.wait_for_log("step 7 is too short")
    assert scene.logged("image of 0 x 240 pixels is empty")
    assert scene.logged("data has 1000 bytes")
    assert not scene.logged("data has 999 bytes")  # the same again


def test_an_unknown_encoding_is_told_once_and_not_per_image(scene: Scene) -> None:
    for encoding in ("32FC3", "nv21", "32FC3", "32FC3", "nv21"):
        scene.images.publish(changed(encoding=encoding))
    scene.wait_for_log("nv21")
    scene.show(3 * SECOND)
    assert len(scene.logged("encoding '32FC3' is not supported")) == 1
    assert len(scene.logged("encoding 'nv21' is not supported")) == 1


def test_damaged_compressed_images_are_told_and_survived(start: Start, client: Client, frame: Frame) -> None:
    start(image_transport="compressed")
    bring_up(client)
    log = client.collect(Log, "/rosout")
    images = client.publisher(CompressedImage, "/camera/image_raw/compressed")
    images.publish(CompressedImage(format="jpeg", data=b"\xff\xd8\xff\xe0" + bytes(100)))
    images.publish(CompressedImage(format="bgr8; png compressed ", data=bytes(100)))
    images.publish(CompressedImage(format="h265", data=bytes(100)))
    for text in ("'jpeg' is damaged", "it does not begin like a JPEG or PNG", "'h265' is not supported"):
        client.wait_until(lambda text=text: any(text in entry.msg for entry in log), text)
    assert client.state() == "active"


def test_the_resolution_may_change_and_tracking_goes_on(scene: Scene) -> None:
    small = scene.frame(0)[::2, ::2]
    scene.show(2 * SECOND, image_message(small, 2 * SECOND))
    scene.wait_for_log("images changed from 320 x 240 to 160 x 120 pixels, tracking goes on")
    [detection] = scene.detections_of(2 * SECOND).detections
    assert detection.id == "1"
    assert detection.bbox.center.position.x < 100
    scene.show(3 * SECOND)
    assert [d.id for d in scene.detections_of(3 * SECOND).detections] == ["1"]


def test_time_may_run_backwards(scene: Scene) -> None:
    scene.show(5 * SECOND)
    scene.show(3 * SECOND)
    scene.wait_for_log("time stamps ran backwards by 2.000 s, from 5000000000 to 3000000000 ns")
    assert [d.id for d in scene.detections_of(3 * SECOND).detections] == ["1"]
    assert scene.prompt(mask=mask()).success


def truncated(path: Path) -> str:
    path.write_bytes(embedded_weights_path("sam2_nano").read_bytes()[:100_000])
    return "truncated"


def foreign(path: Path) -> str:
    torch.save({"model": {"conv.weight": torch.zeros(3)}}, path)
    return "do not fit"


def no_weights(path: Path) -> str:
    path.write_text("<html>404 not found</html>")
    return "something other than plain weights"


def missing(path: Path) -> str:
    return "no such file"


@pytest.mark.parametrize("make", [missing, truncated, foreign, no_weights])
def test_a_bad_checkpoint_fails_the_transition_and_can_be_corrected(
    start: Start, client: Client, tmp_path: Path, make: Callable[[Path], str]
) -> None:
    path = tmp_path / "weights.pt"
    complaint = make(path)
    start(checkpoint=str(path))
    log = client.collect(Log, "/rosout")
    assert not client.change_state("configure")
    assert client.state() == "unconfigured"
    client.wait_until(lambda: [e for e in log if str(path) in e.msg], "the path on the log")
    [entry] = [e.msg for e in log if str(path) in e.msg]
    assert complaint in entry
    assert "expected" in entry or "sam2_nano" in entry
    assert "sam2 download" in entry or "install it anew" in entry or "comes with" in entry

    assert client.set_parameter("checkpoint", "").successful
    bring_up(client)


def test_a_bad_parameter_fails_the_transition_and_can_be_corrected(start: Start, client: Client) -> None:
    start(max_objects=1000)
    log = client.collect(Log, "/rosout")
    assert not client.change_state("configure")
    complaint = "parameter max_objects is refused: Parameter max_objects out of range. Min: 1, Max: 255"
    client.wait_until(lambda: [e for e in log if complaint in e.msg], complaint)
    assert not client.set_parameter("max_objects", 0).successful
    assert client.set_parameter("max_objects", 10).successful
    bring_up(client)


@pytest.mark.parametrize(
    ("override", "value", "transition"),
    [
        ("/camera/sam2/detections.publisher.reliability", "relaible", "configure"),
        ("/camera/image_raw.subscription.depth", "deep", "activate"),
    ],
)
def test_a_quality_of_service_that_cannot_be_had_is_named_and_leaves_nothing_behind(
    start: Start, client: Client, override: str, value: str, transition: str
) -> None:
    node = start(**{f"qos_overrides.{override}": value})
    log = client.collect(Log, "/rosout")
    if transition == "activate":
        assert client.change_state("configure")
    assert not client.change_state(transition)
    topic = override.split(".")[0]
    complaint = f"Where qos_overrides.{topic} is given, correct it"
    client.wait_until(lambda: [e for e in log if complaint in e.msg], complaint)
    assert client.state() == {"configure": "unconfigured", "activate": "inactive"}[transition]
    if transition == "configure":
        assert node.count_publishers("/camera/sam2/mask") == 0


def test_what_does_not_fit_the_model_fails_the_transition(start: Start, client: Client) -> None:
    start(memory_frames=60)
    log = client.collect(Log, "/rosout")
    assert not client.change_state("configure")
    client.wait_until(lambda: [e for e in log if "memory_frames 60" in e.msg], "the value on the log")
    assert client.set_parameter("memory_frames", 2).successful
    bring_up(client)
