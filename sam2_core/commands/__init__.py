"""The commands of `sam2`, one module each."""

from . import benchmark, download, evaluate, everything, image, track
from .common import CommandError

COMMANDS = (track, image, everything, evaluate, benchmark, download)

__all__ = ["COMMANDS", "CommandError"]
