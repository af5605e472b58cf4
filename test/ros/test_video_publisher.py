"""The camera stand-in, as a process on a real graph."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from ros_graph import PATIENCE, Client, nanoseconds, pixels
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from sam2_ros.frames import SourceError, open_source

Publish = Callable[..., subprocess.Popen]


@pytest.fixture
def folder(tmp_path: Path, frame: Callable[[int], np.ndarray]) -> Path:
    """Twelve images, whose names do not sort as text."""
    for index in range(12):
        cv2.imwrite(str(tmp_path / f"frame_{index}.png"), frame(index)[..., ::-1])
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


@pytest.fixture
def video(tmp_path: Path, frame: Callable[[int], np.ndarray]) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for index in range(12):
        writer.write(frame(index)[..., ::-1])
    writer.release()
    return path


@pytest.fixture
def publish(ros: None) -> Iterator[Publish]:
    """Starts the publisher as a process, which keeps every image until all have got it."""
    processes = []
    lossless = {"qos_overrides./image_raw.publisher.history": "keep_all", "rate": 1000.0}

    def publish(source: Any, **parameters: Any) -> subprocess.Popen:
        command = [sys.executable, "-m", "sam2_ros.video_publisher", "--ros-args"]
        for name, value in {"source": f"'{source}'", **lossless, **parameters}.items():
            command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
        processes.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield publish
    for process in processes:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen) -> tuple[int, str]:
    """Waits for a process to end by itself. Returns: its exit code and its log."""
    _, log = process.communicate(timeout=PATIENCE)
    return process.returncode, log


def test_a_folder_is_published_whole_in_order_and_then_it_ends(
    publish: Publish, client: Client, folder: Path, frame: Callable[[int], np.ndarray]
) -> None:
    process = publish(folder, frame_id="lens")
    images = client.collect(Image, "/image_raw")
    code, log = ended(process)
    assert code == 0, log
    assert "published 12 images" in log
    assert len(images) == 12
    for index, image in enumerate(images):
        assert (image.encoding, image.header.frame_id) == ("bgr8", "lens")
        assert np.array_equal(pixels(image)[..., ::-1], frame(index))
    stamps = [nanoseconds(image) for image in images]
    assert stamps == sorted(set(stamps))


def test_a_part_of_a_video_is_published(
    publish: Publish, client: Client, video: Path, frame: Callable[[int], np.ndarray]
) -> None:
    process = publish(video, start=3, count=4)
    images = client.collect(Image, "/image_raw")
    code, log = ended(process)
    assert code == 0, log
    assert len(images) == 4
    for number, image in enumerate(images):
        distances = [np.abs(pixels(image)[..., ::-1].astype(int) - frame(i)).mean() for i in range(12)]
        assert np.argmin(distances) == 3 + number


def test_a_loop_begins_again(publish: Publish, client: Client, folder: Path) -> None:
    publish(folder, loop=True, start=9)
    images = client.collect(Image, "/image_raw")
    client.wait_until(lambda: len(images) >= 7, "the third run")
    assert np.array_equal(pixels(images[0]), pixels(images[3]))
    assert not np.array_equal(pixels(images[0]), pixels(images[1]))


def test_another_rate_holds_at_once(publish: Publish, client: Client, folder: Path) -> None:
    process = publish(folder, rate=0.0001)
    images = client.collect(Image, "/image_raw")
    client.wait_until(lambda: images, "the first image")
    assert client.set_parameter("rate", 1000.0, "/video_publisher").successful
    code, log = ended(process)
    assert code == 0, log
    assert len(images) == 12


def test_it_waits_for_subscribers_and_holds_while_paused(
    publish: Publish, client: Client, folder: Path
) -> None:
    process = publish(folder, wait_for_subscribers=2, paused=True)
    came = [client.collect(Image, "/image_raw") for _ in range(2)]  # one node is one subscriber
    with closing(Client("another_client")) as other:
        came.append(other.collect(Image, "/image_raw"))
        client.wait_until(lambda: all(came), "the first image, once both have subscribed")
        assert client.set_parameter("paused", False, "/video_publisher").successful
        assert ended(process)[0] == 0
        assert [len(images) for images in came] == [12, 12, 12]


def test_each_image_waits_for_the_detections_of_the_one_before(
    publish: Publish, client: Client, folder: Path
) -> None:
    process = publish(folder, pace_topic="detections", pace_timeout=3600.0)
    images = client.collect(Image, "/image_raw")
    answers = client.publisher(Detection2DArray, "/detections")
    for number in range(1, 13):
        client.wait_until(lambda number=number: len(images) == number, f"image {number}")
        # detections of another image don't count
        other = Detection2DArray()
        other.header.stamp.sec = 1
        answers.publish(other)
        answers.publish(Detection2DArray(header=images[-1].header))
    assert ended(process)[0] == 0


def test_it_goes_on_when_detections_do_not_come(publish: Publish, client: Client, folder: Path) -> None:
    process = publish(folder, pace_topic="detections", pace_timeout=0.05, count=3)
    images = client.collect(Image, "/image_raw")
    code, log = ended(process)
    assert code == 0
    assert len(images) == 3
    assert "within 0.05 s, going on" in log


@pytest.mark.parametrize(
    ("source", "parameters", "complaint"),
    [
        ("", {}, "source is empty: name a video file, a folder of images, or a webcam"),
        ("/nowhere/clip.mp4", {}, "source /nowhere/clip.mp4 does not exist"),
        ("77", {}, "source 77 cannot be opened as a webcam"),
        ("clip.avi", {"start": -1}, "start"),
        ("clip.avi", {"pace_topic": "bad topic"}, "pace_topic 'bad topic' cannot be used"),
        ("clip.avi", {"start": 99, "wait_for_subscribers": 0}, "clip.avi has no image number 99"),
    ],
)
def test_what_cannot_be_published_ends_it_with_a_reason(
    publish: Publish, video: Path, source: str, parameters: dict, complaint: str
) -> None:
    source = str(video) if source == video.name else source
    code, log = ended(publish(source, **parameters))
    assert code == 1
    assert complaint in log
    assert "Traceback" not in log


def test_a_file_that_is_no_video_and_a_folder_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images"):
        open_source(str(tmp_path))
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(SourceError, match="cannot be read as a video"):
        open_source(str(tmp_path / "clip.mp4"))
