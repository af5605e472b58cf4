"""Pixel encodings: the bytes of an image message -> uint8 RGB, and pixels -> a message.

Two ways lead there and give the same: cv_bridge, and NumPy with OpenCV. cv_bridge is taken where it is
installed, works with the NumPy and OpenCV beside it, and was seen to convert a small image of that encoding
rightly; its versions differ in what they can do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header

Pixels = NDArray[np.uint8]
RgbImage = NDArray[np.uint8]


class ImageError(ValueError):
    """An image message that cannot be used; the message names the value and the way out."""


class UnsupportedEncodingError(ImageError):
    """An image in an encoding that this node does not know."""

    def __init__(self, encoding: str, known: str) -> None:
        super().__init__(f"encoding '{encoding}' is not supported: publish one of {known}")
        self.encoding = encoding


@dataclass(frozen=True)
class Encoding:
    """How pixels of one encoding become RGB.

    Attributes:
        pixel_bytes: bytes per pixel.
        to_rgb: (H, W, pixel_bytes) uint8 -> (H, W, 3) uint8 RGB; 16-bit pixels come low byte first.
        pixel_group: the width must be a multiple of it.
        word_bytes: bytes of the words that the byte order is about.
    """

    pixel_bytes: int
    to_rgb: Callable[[Pixels], RgbImage]
    pixel_group: int = 1
    word_bytes: int = 1


def _colour(code: int) -> Callable[[Pixels], RgbImage]:
    return lambda pixels: np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _mono16(pixels: Pixels) -> RgbImage:
    grey = cv2.convertScaleAbs(pixels.view("<u2")[..., 0], alpha=1 / 257)  # 65535 / 255 = 257; rounds
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by the first row's first two
# and the second row's first two: rggb is OpenCV's BG, and so on.
_UYVY = Encoding(2, _colour(cv2.COLOR_YUV2RGB_UYVY), pixel_group=2)
_YUYV = Encoding(2, _colour(cv2.COLOR_YUV2RGB_YUY2), pixel_group=2)
ENCODINGS: dict[str, Encoding] = {
    "rgb8": Encoding(3, lambda pixels: pixels),
    "bgr8": Encoding(3, _colour(cv2.COLOR_BGR2RGB)),
    "rgba8": Encoding(4, _colour(cv2.COLOR_RGBA2RGB)),
    "bgra8": Encoding(4, _colour(cv2.COLOR_BGRA2RGB)),
    "mono8": Encoding(1, _colour(cv2.COLOR_GRAY2RGB)),
    "mono16": Encoding(2, _mono16, word_bytes=2),
    "bayer_rggb8": Encoding(1, _colour(cv2.COLOR_BayerBG2RGB)),
    "bayer_bggr8": Encoding(1, _colour(cv2.COLOR_BayerRG2RGB)),
    "bayer_gbrg8": Encoding(1, _colour(cv2.COLOR_BayerGR2RGB)),
    "bayer_grbg8": Encoding(1, _colour(cv2.COLOR_BayerGB2RGB)),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUYV,
    "yuyv": _YUYV,
}
"""Every encoding of sensor_msgs/Image that is understood."""


def pixel_rows(message: Image, encoding: Encoding) -> Pixels:
    """The message's pixels without the padding of its rows.

    Returns: (H, W, pixel_bytes) uint8, contiguous, 16-bit words with the low byte first. A view of the
        message's data where that has this form already.

    Raises:
        ImageError: the size, step and data of the message do not go together.
    """
    width, height, step = message.width, message.height, message.step
    if width == 0 or height == 0:
        raise ImageError(f"image of {width} x {height} pixels is empty: width and height must be at least 1")
    if width % encoding.pixel_group:
        raise ImageError(
            f"{message.encoding} image is {width} pixels wide: this encoding needs an even width"
        )
    row_bytes = width * encoding.pixel_bytes
    if step < row_bytes:
        raise ImageError(
            f"step {step} is too short for {width} pixels of {message.encoding}: "
            f"a row has at least {row_bytes} bytes"
        )
    if len(message.data) < step * height:
        raise ImageError(
            f"data has {len(message.data)} bytes, step {step} times height {height} needs {step * height}: "
            "fill data, or correct step and height"
        )
    rows = np.frombuffer(message.data, np.uint8, count=step * height).reshape(height, step)[:, :row_bytes]
    if message.is_bigendian and encoding.word_bytes == 2:
        rows = rows.reshape(height, row_bytes // 2, 2)[:, :, ::-1]
    return np.ascontiguousarray(rows).reshape(height, width, encoding.pixel_bytes)


def by_opencv(message: Image) -> RgbImage:
    """Decodes an image message with NumPy and OpenCV; see `decode`."""
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise UnsupportedEncodingError(message.encoding, ", ".join(ENCODINGS))
    pixels = pixel_rows(message, encoding)
    try:
        return encoding.to_rgb(pixels)
    except cv2.error as error:
        size = f"{message.width} x {message.height}"
        raise ImageError(
            f"OpenCV cannot convert {message.encoding} of {size} pixels to RGB: {error.err}"
        ) from error


@dataclass
class Bridge:
    """cv_bridge, as far as it can be relied on.

    Attributes:
        converter: a `cv_bridge.CvBridge`.
        trusted: per encoding, whether its conversion was seen to be right.
    """

    converter: Any
    trusted: dict[str, bool] = field(default_factory=dict)

    def serves(self, message: Image) -> bool:
        """Whether cv_bridge converts such a message rightly.

        Padded rows are left out: as of version 4, cv_bridge's Python half shears them if a row is no whole
            number of pixels. So is
        the foreign byte order: it needs `ndarray.newbyteorder`, which NumPy 2 no longer has.
        """
        encoding = ENCODINGS.get(message.encoding)
        if encoding is None or message.is_bigendian or message.step != message.width * encoding.pixel_bytes:
            return False
        if message.encoding not in self.trusted:
            self.trusted[message.encoding] = self._is_right(message.encoding)
        return self.trusted[message.encoding]

    def decode(self, message: Image) -> RgbImage:
        """Decodes a message that it serves."""
        return np.asarray(self.converter.imgmsg_to_cv2(message, "rgb8"), np.uint8)

    def _is_right(self, encoding: str) -> bool:
        """Compares both ways on a small image; colour conversions may differ by rounding between versions of
        OpenCV.
        """
        probe = Image(encoding=encoding, height=6, width=8, step=8 * ENCODINGS[encoding].pixel_bytes)
        probe.data.frombytes(
            np.random.default_rng(0).integers(0, 256, probe.height * probe.step, np.uint8).tobytes()
        )
        try:
            converted = self.decode(probe)
        except Exception:  # whatever another version raises: it does not know this encoding
            return False
        expected = by_opencv(probe)
        return converted.shape == expected.shape and bool(cv2.absdiff(converted, expected).max() <= 2)


def find_bridge() -> Bridge | None:
    """cv_bridge, or None where it is missing or does not fit the installed NumPy and OpenCV."""
    try:
        from cv_bridge import CvBridge

        return Bridge(CvBridge())
    except Exception:  # a build against another NumPy fails with more than ImportError
        return None


def decode(message: Image, bridge: Bridge | None) -> RgbImage:
    """An image message's pixels in RGB.

    Returns: (H, W, 3) uint8, contiguous. For packed rgb8 a view of the message's data: leave both unchanged.

    Raises:
        UnsupportedEncodingError: the encoding is not in `ENCODINGS`.
        ImageError: the size, step and data of the message do not go together.
    """
    if bridge is not None and bridge.serves(message):
        encoding = ENCODINGS[message.encoding]
        pixel_rows(message, encoding)  # refuses what cv_bridge would report in its own words, or not at all
        return bridge.decode(message)
    return by_opencv(message)


def image_message(pixels: NDArray[np.uint8], encoding: str, header: Header) -> Image:
    """An image message of uint8 (H, W) or (H, W, C) pixels."""
    height, width = pixels.shape[:2]
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = pixels[0].nbytes
    # The field is an array of bytes that starts empty: filled so it is copied once, and not checked byte by
    # byte.
    message.data.frombytes(np.ascontiguousarray(pixels).data)
    return message
