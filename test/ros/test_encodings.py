"""Every encoding becomes the same RGB image, by cv_bridge and without it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("sam2_ros.interfaces", exc_type=ImportError)

from sensor_msgs.msg import CompressedImage, Image

from sam2_ros.conversions import (
    ImageError,
    UnsupportedEncodingError,
    compressed_message,
    decode_compressed,
    decode_image,
    image_message,
)
from sam2_ros.encodings import ENCODINGS, Bridge, by_opencv, find_bridge

HEIGHT, WIDTH = 24, 32
WAYS = [None, find_bridge()]
NAMES = ["numpy", "cv_bridge"]

way = pytest.mark.parametrize(
    "bridge",
    [
        pytest.param(
            bridge,
            id=name,
            marks=pytest.mark.skipif(name == "cv_bridge" and bridge is None, reason="no cv_bridge"),
        )
        for bridge, name in zip(WAYS, NAMES, strict=True)
    ],
)


def scene() -> np.ndarray:
    """A smooth RGB image whose channels all differ, so that a swapped or shifted one shows."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float64)
    channels = (40 + 5 * x, 200 - 4 * y - x, 60 + 3 * y + 2 * x)
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def mosaic(rgb: np.ndarray, pattern: str) -> np.ndarray:
    """What a sensor with this filter sees: pattern names the first row's first two pixels, then the second
    row's.
    """
    result = np.zeros(rgb.shape[:2], np.uint8)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        result[rows, columns] = rgb[rows, columns, "rgb".index(colour)]
    return result


def yuv(rgb: np.ndarray, order: str) -> np.ndarray:
    """4:2:2 bytes by ITU-R BT.601 in studio range: per pair of pixels the order of Y, U, Y and V."""
    r, g, b = (rgb[..., i].astype(np.float64) for i in range(3))
    y = 16 + 0.257 * r + 0.504 * g + 0.098 * b
    u = 128 - 0.148 * r - 0.291 * g + 0.439 * b
    v = 128 + 0.439 * r - 0.368 * g - 0.071 * b
    pairs = {"U": (u[:, ::2] + u[:, 1::2]) / 2, "V": (v[:, ::2] + v[:, 1::2]) / 2}
    luma = iter((y[:, ::2], y[:, 1::2]))
    planes = [next(luma) if letter == "Y" else pairs[letter] for letter in order]
    return np.stack(planes, axis=-1).round().astype(np.uint8).reshape(HEIGHT, WIDTH, 2)


def encoded(encoding: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Pixels in an encoding, the RGB they stand for, and how far a value may be off."""
    rgb = scene()
    grey = rgb[..., 0]
    if encoding.startswith("bayer"):
        return mosaic(rgb, encoding[6:10]), rgb, 6.0
    return {
        "rgb8": (rgb, rgb, 0.0),
        "bgr8": (rgb[..., ::-1], rgb, 0.0),
        "rgba8": (np.dstack([rgb, grey]), rgb, 0.0),
        "bgra8": (np.dstack([rgb[..., ::-1], grey]), rgb, 0.0),
        "mono8": (grey, np.dstack([grey] * 3), 0.0),
        "mono16": (grey.astype("<u2") * 257 + 100, np.dstack([grey] * 3), 0.0),
        "yuv422": (yuv(rgb, "UYVY"), rgb, 8.0),
        "uyvy": (yuv(rgb, "UYVY"), rgb, 8.0),
        "yuv422_yuy2": (yuv(rgb, "YUYV"), rgb, 8.0),
        "yuyv": (yuv(rgb, "YUYV"), rgb, 8.0),
    }[encoding]


def message(encoding: str, pixels: np.ndarray, padding: int = 0, big_endian: bool = False) -> Image:
    """A message of these pixels whose rows end in `padding` bytes of noise."""
    if big_endian:
        pixels = pixels.byteswap()
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(HEIGHT, -1)
    noise = np.random.default_rng(1).integers(0, 256, (HEIGHT, padding), np.uint8)
    padded = np.hstack([rows, noise])
    result = Image(
        encoding=encoding, height=HEIGHT, width=WIDTH, step=padded.shape[1], is_bigendian=int(big_endian)
    )
    result.data.frombytes(padded.tobytes())
    return result


def distance(image: np.ndarray, expected: np.ndarray, encoding: str) -> float:
    """The largest difference; demosaicing guesses at the image's edge, which is left out."""
    inner = slice(2, -2) if encoding.startswith("bayer") else slice(None)
    return float(np.abs(image[inner, inner].astype(int) - expected[inner, inner]).max())


@way
@pytest.mark.parametrize("padding", [0, 1, 7, 64])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_image_becomes_the_rgb_it_stands_for(encoding: str, padding: int, bridge: Bridge | None) -> None:
    pixels, expected, tolerance = encoded(encoding)
    image = decode_image(message(encoding, pixels, padding), bridge)
    assert image.dtype == np.uint8
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image.flags.c_contiguous
    assert distance(image, expected, encoding) <= tolerance


@way
@pytest.mark.parametrize("padding", [0, 3])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_byte_order_matters_to_words_only(encoding: str, padding: int, bridge: Bridge | None) -> None:
    pixels, _, _ = encoded(encoding)
    little = decode_image(message(encoding, pixels, padding), bridge)
    swapped = message(encoding, pixels, padding, big_endian=pixels.dtype.itemsize == 2)
    swapped.is_bigendian = 1
    assert np.array_equal(decode_image(swapped, bridge), little)


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name.startswith("bayer")])
def test_a_bayer_pattern_taken_for_another_would_show(encoding: str) -> None:
    """The synthetic mosaic tells the four orders apart: OpenCV's names for them are shifted by one pixel."""
    pixels, expected, tolerance = encoded(encoding)
    others = [name for name in ENCODINGS if name.startswith("bayer") and name != encoding]
    for other in others:
        assert distance(by_opencv(message(other, pixels)), expected, encoding) > 4 * tolerance


def test_sixteen_bits_use_the_whole_range() -> None:
    values = np.array([0, 127, 129, 257, 32767, 65278, 65535], "<u2")
    image = Image(encoding="mono16", height=1, width=len(values), step=2 * len(values))
    image.data.frombytes(values.tobytes())
    assert by_opencv(image)[0, :, 0].tolist() == [0, 0, 1, 1, 127, 254, 255]


def test_packed_rgb_is_not_copied() -> None:
    original = message("rgb8", scene())
    assert np.shares_memory(by_opencv(original), np.frombuffer(original.data, np.uint8))


@way
@pytest.mark.parametrize("encoding", ["rgb16", "8UC3", "32FC1", "nv12", "bayer_rggb16", ""])
def test_an_unknown_encoding_is_named(encoding: str, bridge: Bridge | None) -> None:
    with pytest.raises(UnsupportedEncodingError, match=f"encoding '{encoding}' is not supported.*rgb8.*yuyv"):
        decode_image(Image(encoding=encoding, height=1, width=1, step=16, data=bytes(16)), bridge)


@way
@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"width": 0}, "image of 0 x 24 pixels is empty"),
        ({"height": 0}, "image of 32 x 0 pixels is empty"),
        ({"step": 95}, "step 95 is too short for 32 pixels of rgb8: a row has at least 96 bytes"),
        ({"step": 0}, "step 0 is too short"),
        ({"step": 97}, "data has 2304 bytes, step 97 times height 24 needs 2328"),
        ({"height": 25}, "data has 2304 bytes, step 96 times height 25 needs 2400"),
        ({"width": 2**31, "step": 2**32 - 1}, "step 4294967295 is too short for 2147483648 pixels"),
    ],
)
def test_fields_that_do_not_go_together_are_named(
    fields: dict, complaint: str, bridge: Bridge | None
) -> None:
    image = message("rgb8", scene())
    for name, value in fields.items():
        setattr(image, name, value)
    with pytest.raises(ImageError, match=complaint):
        decode_image(image, bridge)


def test_half_a_pair_of_pixels_is_refused() -> None:
    image = Image(encoding="uyvy", height=1, width=3, step=6, data=bytes(6))
    with pytest.raises(ImageError, match="3 pixels wide: this encoding needs an even width"):
        decode_image(image)


def test_a_bridge_that_errs_is_not_used() -> None:
    class Wrong:
        def imgmsg_to_cv2(self, image: Image, encoding: str) -> np.ndarray:
            return np.zeros((image.height, image.width, 3), np.uint8)

    class Broken:
        def imgmsg_to_cv2(self, image: Image, encoding: str) -> np.ndarray:
            raise SystemError("built for another NumPy")

    for converter in (Wrong(), Broken()):
        image = decode_image(message("bgr8", scene()[..., ::-1]), Bridge(converter))
        assert np.array_equal(image, scene())


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("channels", [1, 3])
def test_compressed_images(suffix: str, channels: int) -> None:
    rgb = scene() if channels == 3 else np.dstack([scene()[..., 0]] * 3)
    stored = rgb[..., ::-1] if channels == 3 else rgb[..., 0]
    _, data = cv2.imencode(suffix, stored)
    image = decode_compressed(CompressedImage(format="whatever the camera calls it", data=data.tobytes()))
    assert image.shape == rgb.shape
    assert distance(image, rgb, "") <= (0 if suffix == ".png" else 12)


def test_compressed_messages_come_back_as_they_went() -> None:
    sent = compressed_message(scene(), Image().header)
    assert "jpeg" in sent.format
    assert distance(decode_compressed(sent), scene(), "") <= 12


@pytest.mark.parametrize(
    ("format_", "data", "error", "complaint"),
    [
        ("jpeg", b"", ImageError, "'jpeg' has no data"),
        ("jpeg", b"\xff\xd8\xff" + bytes(50), ImageError, "'jpeg' is damaged"),
        ("png", b"\x89PNG\r\n\x1a\n" + bytes(50), ImageError, "'png' is damaged"),
        (
            "h264",
            b"\x00\x00\x00\x01" + bytes(50),
            UnsupportedEncodingError,
            "'h264' is not supported.*jpeg, png",
        ),
        ("16UC1; compressedDepth", bytes(12) + b"\x89PNG", UnsupportedEncodingError, "compressedDepth"),
    ],
)
def test_compressed_data_that_cannot_be_read(format_: str, data: bytes, error: type, complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        decode_compressed(CompressedImage(format=format_, data=data))


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
def test_outgoing_messages_hold_the_pixels(encoding: str) -> None:
    pixels, expected, _ = encoded(encoding)
    sent = image_message(pixels, encoding, Image().header)
    assert (sent.height, sent.width, sent.step) == (HEIGHT, WIDTH, pixels[0].nbytes)
    assert np.array_equal(decode_image(sent), expected)
