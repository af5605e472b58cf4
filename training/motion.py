"""Random motion of a layer, and warping a picture along it.

Coordinates are normalised: the frame spans 0 to 1 in x and y. A layer's pose maps its own points, taken
relative to a centre, to the frame by scale, aspect, shear, rotation and translation; an elastic field
bends it besides. All paths are random walks with momentum, so that neighbouring frames belong together.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

GRID = 5


@dataclass(frozen=True)
class Pace:
    """How far a layer moves between neighbouring frames (standard deviations of the driving noise).

    Attributes:
        shift: Translation, in frame widths.
        scale: Log scale.
        turn: Rotation in radians.
        shear: Shear and log aspect.
        bend: Elastic displacement, in sizes of the layer.
    """

    shift: float
    scale: float
    turn: float
    shear: float
    bend: float

    def times(self, factor: float) -> Pace:
        """The same motion, faster or slower."""
        return Pace(*(factor * value for value in (self.shift, self.scale, self.turn, self.shear, self.bend)))


OBJECT_PACE = Pace(shift=0.022, scale=0.03, turn=0.05, shear=0.025, bend=0.022)
CAMERA_PACE = Pace(shift=0.014, scale=0.018, turn=0.02, shear=0.008, bend=0.004)


@dataclass
class Path:
    """Where a layer is in each of T frames.

    Attributes:
        position: (T, 2) frame coordinates of the layer's centre.
        linear: (T, 2, 2) matrices from layer offsets to frame offsets.
        bend: (T, GRID, GRID, 2) elastic displacement over the layer's extent, in its sizes.
    """

    position: np.ndarray
    linear: np.ndarray
    bend: np.ndarray


def _walk(rng: np.random.Generator, frames: int, shape: tuple[int, ...], deviation: float) -> np.ndarray:
    """A random walk with momentum, (frames, *shape), that starts at 0 with a velocity."""
    velocity = rng.normal(0, deviation, shape)
    steps = np.zeros((frames, *shape))
    for t in range(1, frames):
        velocity = 0.75 * velocity + 0.66 * rng.normal(0, deviation, shape)
        steps[t] = steps[t - 1] + velocity
    return steps


def _swaying(rng: np.random.Generator, frames: int, deviation: float) -> np.ndarray:
    """Elastic displacements (frames, GRID, GRID, 2) that come back to rest: a walk would crumple things."""
    bend = np.empty((frames, GRID, GRID, 2))
    bend[0] = rng.normal(0, deviation, bend.shape[1:])
    for t in range(1, frames):
        bend[t] = 0.85 * bend[t - 1] + rng.normal(0, 0.6 * deviation, bend.shape[1:])
    return np.clip(bend, -0.12, 0.12)


def random_path(
    rng: np.random.Generator,
    frames: int,
    pace: Pace,
    start: tuple[float, float],
    scale: float,
    tilt: float = 0.15,
) -> Path:
    """Draw a path that begins at a place and size.

    Args:
        rng: Source of randomness.
        frames: T.
        pace: Speed of every kind of motion.
        start: Frame coordinates of the centre in frame 0.
        scale: Size factor in frame 0.
        tilt: Standard deviation of the rotation in frame 0, radians.
    """
    position = np.array(start) + _walk(rng, frames, (2,), pace.shift)
    size = scale * np.exp(_walk(rng, frames, (), pace.scale))
    aspect = rng.normal(0, 0.08) + _walk(rng, frames, (), pace.shear)
    shear = rng.normal(0, 0.05) + _walk(rng, frames, (), pace.shear)
    angle = rng.normal(0, tilt) + _walk(rng, frames, (), pace.turn)
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)
    wide, tall = size * np.exp(aspect), size * np.exp(-aspect)
    stretch = np.stack([np.stack([wide, shear * wide], -1), np.stack([0 * tall, tall], -1)], -2)
    return Path(position, turn @ stretch, _swaying(rng, frames, pace.bend))


@dataclass(frozen=True)
class Patch:
    """The part of a frame that a warped layer can touch, and the maps that sample the layer there."""

    top: int
    bottom: int
    left: int
    right: int
    map_x: np.ndarray
    map_y: np.ndarray


def frame_patch(
    path: Path,
    t: int,
    box: tuple[float, float, float, float],
    source_size: int,
    frame_size: int,
    whole: bool = False,
) -> Patch | None:
    """Sampling maps that draw a layer into frame `t`.

    Args:
        path: The layer's path.
        t: Frame number.
        box: The layer's extent in its own picture: x_min, y_min, x_max, y_max in 0 to 1.
        source_size: Side of the layer's picture, pixels.
        frame_size: Side of the frame, pixels.
        whole: Cover the whole frame (a background), not only the layer's extent.

    Returns:
        The patch with maps for `cv2.remap`, or None if the layer is outside the frame.
    """
    centre = np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    extent = np.array([box[2] - box[0], box[3] - box[1]])
    if whole:
        low, high = np.zeros(2), np.full(2, float(frame_size))
    else:
        reach = np.abs(path.linear[t]) @ (extent * 0.62)
        low = np.floor((path.position[t] - reach) * frame_size)
        high = np.ceil((path.position[t] + reach) * frame_size)
    inside_low, inside_high = np.maximum(low, 0).astype(int), np.minimum(high, frame_size).astype(int)
    if np.any(inside_high - inside_low < 2):
        return None
    left, top = inside_low
    right, bottom = inside_high
    inverse = np.linalg.inv(path.linear[t]) * (source_size / frame_size)
    origin = centre * source_size - inverse @ (path.position[t] * frame_size) - 0.5
    x = np.arange(left, right, dtype=np.float32) + 0.5
    y = np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5
    bend = _bend_field(path.bend[t], low, high, (left, top, right, bottom)) * (extent * source_size)
    map_x = (inverse[0, 0] * x + inverse[0, 1] * y + origin[0]).astype(np.float32) + bend[..., 0].astype(
        np.float32
    )
    map_y = (inverse[1, 0] * x + inverse[1, 1] * y + origin[1]).astype(np.float32) + bend[..., 1].astype(
        np.float32
    )
    return Patch(top, bottom, left, right, map_x, map_y)


def _bend_field(grid: np.ndarray, low: np.ndarray, high: np.ndarray, inside: tuple[int, ...]) -> np.ndarray:
    """Enlarge the elastic grid over the layer's extent and cut out what lies inside the frame."""
    left, top, right, bottom = inside
    width, height = high - low
    x = ((np.arange(left, right) + 0.5 - low[0]) / width * (GRID - 1)).astype(np.float32)
    y = ((np.arange(top, bottom) + 0.5 - low[1]) / height * (GRID - 1)).astype(np.float32)
    # The field is smooth, so cubic interpolation of a coarse sampling costs little and shows no seams.
    columns, rows = x[:: max(1, len(x) // 32)], y[:: max(1, len(y) // 32)]
    coarse = cv2.remap(
        grid.astype(np.float32),
        *np.meshgrid(columns, rows),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return cv2.resize(coarse, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
