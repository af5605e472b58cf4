"""Track any object in a stream of images from one click: SAM 2, run online, in plain PyTorch."""

from .checkpoints import CheckpointError
from .configs import MODELS, MemoryConfig
from .image_predictor import ImagePredictor
from .live import LiveResult, LiveStatistics, LiveTracker, Worker
from .loading import load_model
from .mask_generator import MaskGenerator
from .prompts import Prompt, PromptError
from .tracker import Track, Tracker
from .video import VideoPredictor

__all__ = [
    "MODELS",
    "CheckpointError",
    "ImagePredictor",
    "LiveResult",
    "LiveStatistics",
    "LiveTracker",
    "MaskGenerator",
    "MemoryConfig",
    "Prompt",
    "PromptError",
    "Track",
    "Tracker",
    "VideoPredictor",
    "Worker",
    "load_model",
]
