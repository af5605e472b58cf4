"""SAM 2 in plain PyTorch: tensors in, tensors out."""

from .sam2 import SAM2, MaskOutput, VisionFeatures

__all__ = ["SAM2", "MaskOutput", "VisionFeatures"]
