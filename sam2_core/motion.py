"""Where a box is expected next: a Kalman filter with constant velocity.

The filter, its state and its noise are those of Wojke, Bewley and Paulus, Deep SORT, ICIP 2017, as SAMURAI
(Yang et al., 2024) uses them: (x, y, a, h) of the centre, the aspect ratio and the height, with their
velocities per image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Box = NDArray[np.floating] | NDArray[np.integer]

POSITION_NOISE = 1 / 20
VELOCITY_NOISE = 1 / 160
"""Standard deviations relative to the box's height (Deep SORT's)."""

MOTION_BYTES = 8 * (8 + 64)
"""Of a `BoxMotion`: its mean and its covariance."""

ASPECT_NOISE, ASPECT_VELOCITY_NOISE, MEASURED_ASPECT_NOISE = 1e-2, 1e-5, 1e-1


def box_iou(a: Box, b: Box) -> float:
    """IoU of two boxes (x_min, y_min, x_max, y_max)."""
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    overlap = max(width, 0) * max(height, 0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(overlap / (areas - overlap)) if areas > overlap else 0.0


@dataclass(frozen=True, eq=False)
class BoxMotion:
    """Position and velocity of a box, and how sure they are.

    Attributes:
        mean: (8,) x, y, a, h and their velocities; pixels, images.
        covariance: (8, 8).
        steady: how many images in a row the object was found in with some confidence.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]
    steady: int

    @staticmethod
    def of(box: Box) -> BoxMotion:
        """A box at rest, of unknown velocity."""
        measured = _measurement(box)
        height = measured[3]
        position, velocity = 2 * POSITION_NOISE * height, 10 * VELOCITY_NOISE * height
        deviations = [position, position, ASPECT_NOISE, position]
        deviations += [velocity, velocity, ASPECT_VELOCITY_NOISE, velocity]
        return BoxMotion(np.concatenate((measured, np.zeros(4))), np.diag(np.square(deviations)), 1)

    @property
    def box(self) -> NDArray[np.float64]:
        """(x_min, y_min, x_max, y_max), pixels."""
        centre, aspect, height = self.mean[:2], self.mean[2], self.mean[3]
        half = np.array([aspect * height, height]) / 2
        return np.concatenate((centre - half, centre + half))

    def predicted(self) -> BoxMotion:
        """One image later."""
        height = self.mean[3]
        position, velocity = POSITION_NOISE * height, VELOCITY_NOISE * height
        deviations = [position, position, ASPECT_NOISE, position]
        deviations += [velocity, velocity, ASPECT_VELOCITY_NOISE, velocity]
        step = np.eye(8) + np.eye(8, k=4)
        covariance = step @ self.covariance @ step.T + np.diag(np.square(deviations))
        return BoxMotion(step @ self.mean, covariance, self.steady)

    def corrected(self, box: Box) -> BoxMotion:
        """After the box was seen there."""
        noise = POSITION_NOISE * self.mean[3]
        projected = self.covariance[:4, :4] + np.diag(np.square([noise, noise, MEASURED_ASPECT_NOISE, noise]))
        gain = np.linalg.solve(projected, self.covariance[:4]).T
        mean = self.mean + gain @ (_measurement(box) - self.mean[:4])
        return BoxMotion(mean, self.covariance - gain @ projected @ gain.T, self.steady + 1)


def _measurement(box: Box) -> NDArray[np.float64]:
    low, high = np.asarray(box[:2], float), np.asarray(box[2:], float)
    width, height = high - low
    return np.array([*(low + high) / 2, width / height, height])
