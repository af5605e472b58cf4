"""Messages -> what sam2_core takes, and what it gives -> messages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image, RegionOfInterest
from std_msgs.msg import Header
from vision_msgs.msg import Detection2D, Detection2DArray, ObjectHypothesisWithPose

from sam2_core import Prompt, PromptError, Track
from sam2_core.discovery import Search
from sam2_core.prompts import MAX_POINTS
from sam2_ros import encodings
from sam2_ros.encodings import (
    Bridge,
    ImageError,
    RgbImage,
    UnsupportedEncodingError,
    find_bridge,
    image_message,
)

__all__ = [
    "ImageError",
    "UnsupportedEncodingError",
    "compressed_message",
    "decode_compressed",
    "decode_image",
    "detections_message",
    "image_message",
    "prompt_from_request",
    "region_of_interest",
    "search_from_request",
    "to_nanoseconds",
    "to_time",
]

JPEG_QUALITY = 90

_BRIDGE = find_bridge()


def to_nanoseconds(stamp: Time) -> int:
    """A message's time as integer nanoseconds.

    Raises:
        ValueError: its nanoseconds make a second or more, so that it has no equal as an integer.
    """
    if stamp.nanosec >= 1_000_000_000:
        raise ValueError(
            f"the stamp's nanosec is {stamp.nanosec}: give less than 1000000000, and whole seconds in sec"
        )
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def to_time(nanoseconds: int) -> Time:
    """Integer nanoseconds as a message's time."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return Time(sec=seconds, nanosec=rest)


def decode_image(message: Image, bridge: Bridge | None = _BRIDGE) -> RgbImage:
    """An image message's pixels, uint8 RGB (H, W, 3).

    Args:
        message: in one of `encodings.ENCODINGS`, with any step and either byte order.
        bridge: cv_bridge, used where it converts rightly; None: NumPy and OpenCV do everything.

    Raises:
        UnsupportedEncodingError: the encoding is unknown.
        ImageError: size, step and data of the message do not go together.
    """
    return encodings.decode(message, bridge)


def decode_compressed(message: CompressedImage) -> RgbImage:
    """A JPEG or PNG message's pixels, uint8 RGB (H, W, 3).

    The image is not turned by an orientation that its file may name: pixel coordinates are those of the
    sensor.

    Raises:
        UnsupportedEncodingError: the data is neither JPEG nor PNG.
        ImageError: the data is damaged.
    """
    data = np.frombuffer(message.data, np.uint8)
    if not data.size:
        raise ImageError(f"compressed image of format '{message.format}' has no data")
    if data[:3].tobytes() != b"\xff\xd8\xff" and data[:4].tobytes() != b"\x89PNG":
        if re.search(r"jpe?g|png", message.format) and "compressedDepth" not in message.format:
            raise ImageError(
                f"compressed image of format '{message.format}' is damaged: "
                "it does not begin like a JPEG or PNG"
            )
        raise UnsupportedEncodingError(message.format, "jpeg, png (as sensor_msgs/CompressedImage)")
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(data, flags)
    except cv2.error as error:
        raise ImageError(f"compressed image of format '{message.format}' is damaged: {error.err}") from error
    if image is None:
        raise ImageError(
            f"compressed image of format '{message.format}' is damaged: {data.size} bytes cannot be decoded"
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def compressed_message(image: RgbImage, header: Header) -> CompressedImage:
    """A JPEG message of an RGB image.

    Raises:
        ImageError: it is larger than such a file can be.
    """
    fits, jpeg = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY)
    )
    if not fits:
        height, width = image.shape[:2]
        raise ImageError(f"an image of {width} x {height} pixels is too large for JPEG: take the raw one")
    # What image_transport's own publisher writes for an rgb8 image; its subscribers take the encoding from
    # there.
    message = CompressedImage(header=header, format="rgb8; jpeg compressed bgr8")
    message.data.frombytes(jpeg.data)
    return message


def detections_message(tracks: Sequence[Track], header: Header) -> Detection2DArray:
    """The visible objects of one image."""
    message = Detection2DArray(header=header)
    for track in tracks:
        if not track.visible or track.box is None:
            continue
        x_min, y_min, x_max, y_max = (float(side) for side in track.box)
        detection = Detection2D(header=header, id=str(track.object_id))
        detection.bbox.center.position.x = (x_min + x_max) / 2
        detection.bbox.center.position.y = (y_min + y_max) / 2
        detection.bbox.size_x, detection.bbox.size_y = x_max - x_min, y_max - y_min
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = track.label or str(track.object_id)
        result.hypothesis.score = float(track.score)
        detection.results.append(result)
        message.detections.append(detection)
    return message


def region_of_interest(box: NDArray[np.int64] | None) -> RegionOfInterest:
    """A box as a region; None is a region of no size."""
    if box is None:
        return RegionOfInterest()
    x_min, y_min, x_max, y_max = (int(side) for side in box)
    return RegionOfInterest(x_offset=x_min, y_offset=y_min, width=x_max - x_min, height=y_max - y_min)


def prompt_from_request(request: Any) -> tuple[Prompt, int | None]:
    """The prompt of a sam2_msgs/srv/Prompt request.

    Returns: the prompt, and the stamp of the image it was drawn on in nanoseconds, None for the newest.

    Raises:
        PromptError: the request can't be right for any image.
    """
    if len(request.points) > MAX_POINTS:  # before they are looked at one by one
        raise PromptError(f"{len(request.points)} points are too many: give at most {MAX_POINTS}")
    prompt = Prompt(
        object_id=request.object_id or None,
        points=[(point.x, point.y) for point in request.points] or None,
        labels=list(request.point_labels) or None,
        box=list(request.box) or None,
        mask=_mask(request.mask),
        label=request.label,
        restart=request.restart,
    )
    try:
        return prompt, to_nanoseconds(request.header.stamp) or None
    except ValueError as error:
        raise PromptError(str(error)) from error


def search_from_request(request: Any) -> Search:
    """The search of a sam2_msgs/srv/Discover request.

    Raises:
        PromptError: the request can't be right for any image.
    """
    return Search(tuple(request.region) or None, request.max_objects, request.min_quality)


def _mask(message: Image) -> NDArray[np.bool_] | None:
    """The mask of a request, None where it has none."""
    if not message.data and not message.width and not message.height:
        return None
    if message.encoding != "mono8":
        raise PromptError(
            f"mask has the encoding '{message.encoding}': give mono8, the object's pixels not 0"
        )
    try:
        pixels = encodings.pixel_rows(message, encodings.ENCODINGS["mono8"])
    except ImageError as error:
        raise PromptError(f"mask cannot be read: {error}") from error
    return pixels[..., 0] != 0
