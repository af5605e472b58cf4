"""A camera, the node and a client as three processes over real DDS."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from ros_graph import PATIENCE, Client, image_message, nanoseconds, pixels
from scene import red_box
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

import sam2_core
from sam2_core.masks import composite
from sam2_core.model import SAM2
from sam2_ros.interfaces import Prompt

FRAMES = 15
SIZE = 128
"""The model's input: fast rather than good; the same on both sides."""

Launch = Callable[..., subprocess.Popen]


@pytest.fixture
def launch(ros: None) -> Iterator[Launch]:
    """Starts one of the package's executables as a process; what still runs at the end must end cleanly."""
    processes: list[subprocess.Popen] = []

    def launch(executable: str, *remaps: str, **parameters: Any) -> subprocess.Popen:
        command = [sys.executable, "-m", f"sam2_ros.{executable}", "--ros-args"]
        for remap in remaps:
            command += ["-r", remap]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        processes.append(subprocess.Popen(command, env=dict(os.environ)))
        return processes[-1]

    yield launch
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
    codes = [process.wait(PATIENCE) for process in processes]
    assert codes == [0] * len(codes)


@pytest.fixture
def folder(tmp_path: Path, frame: Callable[[int], np.ndarray]) -> Path:
    for index in range(FRAMES):
        cv2.imwrite(str(tmp_path / f"{index:03d}.png"), frame(index)[..., ::-1])
    return tmp_path


def red_mask() -> np.ndarray:
    x_min, y_min, x_max, y_max = red_box(0)
    mask = np.zeros((240, 320), np.uint8)
    mask[y_min:y_max, x_min:x_max] = 255
    return mask


def test_masks_over_topics_equal_those_of_the_tracker_itself(
    launch: Launch, client: Client, folder: Path, small_nano: SAM2
) -> None:
    launch("tracker_node", device="cpu", image_size=SIZE, num_threads=torch.get_num_threads())
    assert client.change_state("configure")
    assert client.change_state("activate")
    masks = client.collect(Image, "/camera/sam2/mask")
    detections = client.collect(Detection2DArray, "/camera/sam2/detections")
    camera = launch(
        "video_publisher",
        "__ns:=/camera",
        source=folder,
        rate=100.0,
        frame_id="lens",
        wait_for_subscribers=2,
        paused="true",
        pace_topic="/camera/sam2/detections",
        pace_timeout=PATIENCE,
    )
    images = client.collect(Image, "/camera/image_raw")

    client.wait_until(lambda: images and masks and detections, "the first image and its empty mask")
    assert not pixels(masks[0]).any()
    request = Prompt.Request(mask=image_message(red_mask(), 0, "mono8"), label="red", header=images[0].header)
    answer = client.call(Prompt, "/camera/sam2/prompt", request)
    assert answer.success, answer.message
    assert answer.object_id == 1

    assert client.set_parameter("paused", False, "/camera/video_publisher").successful
    assert camera.wait(PATIENCE) == 0
    client.wait_until(lambda: len(images) == FRAMES, "all images")
    last = nanoseconds(images[-1])
    client.wait_until(lambda: nanoseconds(masks[-1]) == last, "the last mask")
    client.wait_until(lambda: nanoseconds(detections[-1]) == last, "the last detections")

    # the prompted image is answered twice: without and with the object
    newest_masks = {nanoseconds(message): message for message in masks}
    newest_detections = {nanoseconds(message): message for message in detections}
    tracker = sam2_core.Tracker(small_nano)
    prompts = [sam2_core.Prompt(1, mask=red_mask() > 0, label="red")]
    for image in images:
        tracks = tracker.step(pixels(image)[..., ::-1].copy(), prompts)
        prompts = []
        mask, found = newest_masks[nanoseconds(image)], newest_detections[nanoseconds(image)]
        assert mask.header == found.header == image.header
        assert mask.header.frame_id == "lens"
        assert np.array_equal(pixels(mask), composite(tracks, (240, 320)))
        expected = [
            (str(t.object_id), t.label, tuple(t.box), pytest.approx(t.score)) for t in tracks if t.visible
        ]
        assert [as_tuple(detection) for detection in found.detections] == expected
    assert pixels(newest_masks[last]).any()


def as_tuple(detection: Any) -> tuple[str, str, tuple[float, ...], float]:
    """Id, class, box as corners, score."""
    [result] = detection.results
    centre, box = detection.bbox.center.position, detection.bbox
    corners = (
        centre.x - box.size_x / 2,
        centre.y - box.size_y / 2,
        centre.x + box.size_x / 2,
        centre.y + box.size_y / 2,
    )
    return detection.id, result.hypothesis.class_id, corners, result.hypothesis.score
