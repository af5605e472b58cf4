"""What a camera does to a clip: exposure, colour, motion blur, noise, compression."""

from __future__ import annotations

import cv2
import numpy as np


def recolour(rng: np.random.Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """Shift an object's colours as another example of its kind might have them.

    Args:
        rng: Source of randomness.
        image: uint8 (H, W, 3).
        strength: 0 leaves the picture as it is; 1 changes it clearly.
    """
    gain = np.exp(rng.normal(0, 0.12 * strength, 3)) * np.exp(rng.normal(0, 0.15 * strength))
    offset = rng.normal(0, 12 * strength, 3)
    table = np.clip(np.arange(256)[:, None] * gain + offset, 0, 255).astype(np.uint8)
    return cv2.LUT(image, table.reshape(256, 1, 3))


def recolour_as(image: np.ndarray, own: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Give an object another one's colours: mean and deviation of every channel become those of the other.

    Args:
        image: uint8 (H, W, 3).
        own: uint8 (n, 3), the object's pixels.
        others: uint8 (m, 3), the other's.
    """
    gain = np.clip((others.std(0) + 1) / (own.std(0) + 1), 0.3, 3.0)
    table = np.clip((np.arange(256)[:, None] - own.mean(0)) * gain + others.mean(0), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table.reshape(256, 1, 3))


def _line_kernel(direction: np.ndarray, length: float) -> np.ndarray:
    side = int(length) | 1
    kernel = np.zeros((side, side), np.float32)
    middle = (side - 1) / 2
    offset = direction / (np.linalg.norm(direction) + 1e-9) * middle
    ends = [tuple(round(float(v)) for v in (middle + sign * offset)) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return kernel / kernel.sum()


def film(rng: np.random.Generator, frames: np.ndarray) -> np.ndarray:
    """Pass a clip through one imaginary camera.

    Args:
        rng: Source of randomness.
        frames: uint8 RGB (T, S, S, 3).

    Returns:
        A new array of the same shape.
    """
    size = frames.shape[1]
    gain = np.exp(rng.normal(0, 0.1, 3)) * np.exp(rng.normal(0, 0.2))
    offset, gamma = rng.normal(0, 10, 3), np.exp(rng.normal(0, 0.15))
    grey = rng.random() < 0.05
    shake = np.cumsum(rng.normal(0, rng.choice([0.01, 0.04]), len(frames)))
    blur_from = rng.random() < 0.2
    direction, blur = rng.normal(0, 1, 2), rng.uniform(0.008, 0.035) * size
    soft = rng.uniform(0.5, 1.4) if rng.random() < 0.2 else 0.0
    noise = rng.uniform(2, 10) if rng.random() < 0.25 else 0.0
    quality = int(rng.integers(25, 80)) if rng.random() < 0.25 else 0
    filmed = np.empty_like(frames)
    for t, frame in enumerate(frames):
        ramp = (np.arange(256)[:, None] / 255.0) ** gamma * 255
        table = np.clip(ramp * gain * np.exp(shake[t]) + offset, 0, 255).astype(np.uint8)
        frame = cv2.LUT(frame, table.reshape(256, 1, 3))
        if blur_from and rng.random() < 0.7 and blur >= 3:
            frame = cv2.filter2D(frame, -1, _line_kernel(direction + rng.normal(0, 0.3, 2), blur))
        if soft:
            frame = cv2.GaussianBlur(frame, (0, 0), soft)
        if grey:
            frame = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        if noise:
            grain = rng.integers(-128, 128, (size // 2, size // 2, 3), dtype=np.int16).astype(np.float32) / 74
            grain = cv2.resize(grain, (size, size), interpolation=cv2.INTER_NEAREST) * noise
            frame = np.clip(frame + grain, 0, 255).astype(np.uint8)
        if quality:
            coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            frame = cv2.imdecode(coded, cv2.IMREAD_COLOR)
        filmed[t] = frame
    return filmed
