"""SAM 2 in plain PyTorch: tensors in, tensors out."""

from .sam2 import ABSENT_LOGIT, SAM2, MaskOutput, VisionFeatures

__all__ = ["ABSENT_LOGIT", "SAM2", "MaskOutput", "VisionFeatures"]
