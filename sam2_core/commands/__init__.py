"""The commands of `sam2`, one module each."""

from . import benchmark, download, evaluate, track
from .common import CommandError

COMMANDS = (track, evaluate, benchmark, download)

__all__ = ["COMMANDS", "CommandError"]
