"""Measuring: how long a step takes, which part of the model takes it, and beside whom."""

from .contestant import Contestant, Ours, Timing, measure
from .machine import processor
from .original import Original, OriginalMissingError, require_original

__all__ = [
    "Contestant",
    "Original",
    "OriginalMissingError",
    "Ours",
    "Timing",
    "measure",
    "processor",
    "require_original",
]
