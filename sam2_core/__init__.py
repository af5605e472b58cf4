"""Track any object in a stream of images from one click: SAM 2, run online, in plain PyTorch."""

from .configs import MODELS, MemoryConfig
from .prompts import Prompt, PromptError
from .tracker import Track, Tracker

__all__ = ["MODELS", "MemoryConfig", "Prompt", "PromptError", "Track", "Tracker"]
