"""The executables as processes: how they begin and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from geometry_msgs.msg import Point
from ros_graph import PATIENCE, SECOND, Client, image_message, pixels
from scene import filled, red_box
from sensor_msgs.msg import Image

from sam2_ros.interfaces import Prompt

Launch = Callable[..., subprocess.Popen]

SMALL = {"image_size": 128, "num_threads": 1, "device": "cpu"}


@pytest.fixture
def launch(ros: None) -> Iterator[Launch]:
    """Starts one of the package's executables as a process."""
    processes = []

    def launch(executable: str, *remaps: str, **parameters: object) -> subprocess.Popen:
        command = [sys.executable, "-m", f"sam2_ros.{executable}", "--ros-args"]
        for remap in remaps:
            command += ["-r", remap]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={value}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        processes.append(process)
        return process

    yield launch
    for process in processes:
        process.kill()
        process.communicate()


def end(process: subprocess.Popen, number: int) -> str:
    """Sends a signal and expects a clean end. Returns: what the process wrote."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "rror" not in output
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_active_node_ends_cleanly(
    launch: Launch, client: Client, frame: Callable[[int], np.ndarray], number: int
) -> None:
    process = launch("tracker_node", **SMALL)
    assert client.change_state("configure")
    assert client.change_state("activate")
    masks = client.collect(Image, "/camera/sam2/mask")
    images = client.publisher(Image, "/camera/image_raw")
    images.publish(image_message(frame(0), SECOND))
    client.wait_until(lambda: masks, "a mask")
    request = Prompt.Request(box=[20.0, 60.0, 80.0, 120.0])
    pending = [client.send(Prompt, "/camera/sam2/prompt", request) for _ in range(5)]
    assert client.receive(pending[0], "the first prompt")
    images.publish(image_message(frame(1), 2 * SECOND))
    end(process, number)


def test_tracking_goes_on_when_the_camera_is_killed_and_comes_back(
    launch: Launch, client: Client, tmp_path: Path, frame: Callable[[int], np.ndarray]
) -> None:
    for index in range(10):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame(index)[..., ::-1])
    node = launch("tracker_node", **SMALL)
    assert client.change_state("configure")
    assert client.change_state("activate")
    masks = client.collect(Image, "/camera/sam2/mask")
    camera = {"source": tmp_path, "rate": 30.0, "loop": "true"}
    first = launch("video_publisher", "__ns:=/camera", **camera)
    client.wait_until(lambda: masks, "a mask")
    mask = image_message(filled(red_box(0)).astype(np.uint8), 0, "mono8")
    assert client.call(Prompt, "/camera/sam2/prompt", Prompt.Request(mask=mask)).success
    client.wait_until(lambda: pixels(masks[-1]).any(), "the object")

    first.kill()
    first.wait()
    request = Prompt.Request(points=[Point(x=240.0, y=45.0)], object_id=2)
    assert client.call(Prompt, "/camera/sam2/prompt", request).success  # on the last image that came

    masks.clear()
    launch("video_publisher", "__ns:=/camera", **camera)
    client.wait_until(lambda: len(masks) > 5, "masks of the camera that came back")
    assert 1 in np.unique(pixels(masks[-1]))
    end(node, signal.SIGINT)


def test_an_unconfigured_node_ends_cleanly(launch: Launch, client: Client) -> None:
    process = launch("tracker_node")
    assert client.state() == "unconfigured"
    end(process, signal.SIGINT)


def test_a_camera_stand_in_that_waits_ends_cleanly(launch: Launch, client: Client, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((8, 8, 3), np.uint8))
    process = launch("video_publisher", source=tmp_path)
    client.wait_until(lambda: client.node.count_publishers("/image_raw"), "the publisher")
    end(process, signal.SIGINT)


@pytest.mark.parametrize("executable", ["tracker_node", "video_publisher"])
def test_a_process_that_is_still_starting_ends_cleanly(
    launch: Launch, executable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The signal comes while the heavy imports run: a slow rclpy stands for them."""
    (tmp_path / "rclpy.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(3600)\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    process = launch(executable)
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    end(process, signal.SIGINT)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--params-file", "/nowhere/a.yaml"], "/nowhere/a.yaml"),
        (["--log-level", "verbose"], "verbose"),
        (["-p", "model=x"], "model=x"),
    ],
)
def test_arguments_that_ros_does_not_take_are_named(arguments: list[str], named: str) -> None:
    command = [sys.executable, "-m", "sam2_ros.tracker_node", "--ros-args", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    *_, line = result.stderr.splitlines()
    assert line.startswith("ROS does not take the arguments: ")
    assert named in line
    assert line.endswith(". Correct them and start again")
    assert "/project/" not in line


def test_a_process_ends_though_a_callback_does_not_return(ros: None) -> None:
    """As when a signal comes while the model is downloaded."""
    program = """
import sys, time
from sam2_ros import process
process.CLOSE_SECONDS = 0.5
def make(finished):
    from rclpy.node import Node
    node = Node("busy")
    node.create_timer(0.01, lambda: (print("busy", flush=True), time.sleep(3600)))
    return node
sys.exit(process.run(make))
"""
    command = [sys.executable, "-c", program]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "busy\n"
    end(process, signal.SIGINT)


def test_missing_interfaces_are_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "sam2_msgs.py").write_text("")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"}
    result = subprocess.run(
        [sys.executable, "-c", "import sam2_ros.interfaces"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "colcon build --base-paths src src/sam2_ros/sam2_msgs" in result.stderr
    assert "make setup" in result.stderr
