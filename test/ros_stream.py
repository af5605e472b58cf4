"""A camera of a running node in a test: its images go out one by one, its masks come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from ros_graph import SECOND, Client, image_message, nanoseconds, pixels
from scene import blue_box, overlap, red_box
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from sam2_ros.interfaces import Prompt, Remove

Frame = Callable[[int], np.ndarray]


class Stream:
    """A camera's images, one after the other, each waited for until its mask has come back."""

    def __init__(self, client: Client, frame: Frame, camera: str = "/camera") -> None:
        self.client = client
        self.camera = camera
        self._frame = frame
        self._index = -1
        self.masks = client.collect(Image, f"{camera}/sam2/mask")
        self.detections = client.collect(Detection2DArray, f"{camera}/sam2/detections")
        self._publisher = client.publisher(Image, f"{camera}/image_raw")

    def stamp(self) -> int:
        return 100 * SECOND + self._index * SECOND // 25

    def rewind(self, index: int) -> None:
        """Go on from another image."""
        self._index = index - 1

    def show(self, pixels: np.ndarray | None = None, encoding: str = "rgb8") -> None:
        """Publishes the next image without waiting."""
        self._index += 1
        image = self._frame(max(self._index, 0)) if pixels is None else pixels
        self._publisher.publish(image_message(image, self.stamp(), encoding))

    def step(self, pixels: np.ndarray | None = None, encoding: str = "rgb8") -> Image:
        """Publishes the next image. Returns: its mask."""
        self.show(pixels, encoding)
        return self.client.wait_until(lambda: self.mask(self.stamp()), f"the mask of image {self._index}")

    def mask(self, stamp: int) -> Image | None:
        return next((m for m in reversed(self.masks) if nanoseconds(m) == stamp), None)

    def overlap(self, object_id: int, box: tuple[int, int, int, int]) -> float:
        """IoU of an object's mask in the newest image with a box."""
        mask = self.mask(self.stamp())
        return 0.0 if mask is None else overlap(pixels(mask) == object_id, box)

    def prompt(self, **fields: Any) -> Any:
        return self.client.call(Prompt, f"{self.camera}/sam2/prompt", Prompt.Request(**fields))

    def remove(self, *object_ids: int) -> Any:
        return self.client.call(Remove, f"{self.camera}/sam2/remove", Remove.Request(object_ids=object_ids))


def square(box: tuple[int, int, int, int]) -> dict[str, Image]:
    """A square of the first image as a mask: whatever the model has learnt, it shows what it was given."""
    mask = np.zeros((240, 320), np.uint8)
    mask[box[1] : box[3], box[0] : box[2]] = 255
    return {"mask": image_message(mask, 0, "mono8")}


RED, BLUE = square(red_box(0)), square(blue_box(0))


def bring_up(client: Client, name: str = "/sam2") -> None:
    assert client.change_state("configure", name)
    assert client.change_state("activate", name)
