"""How much arithmetic the stages do, and how fast this machine can do arithmetic at best."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..model.linear import product
from .contestant import STAGES, Ours, images_and_boxes, replaced_methods

PEAK_SIZE = 2048
"""Side of the matrices by which the peak is measured: large enough to hide everything but the arithmetic."""


def operations(contestant: Ours, objects: int, shape: tuple[int, int]) -> dict[str, int]:
    """Floating-point operations of the matrix products in each stage of one step with full memory.

    A multiplication and an addition are two operations; what is not a matrix product is not counted.
    """
    images, boxes = images_and_boxes(objects, shape, frames=0)
    contestant.prepare(images, boxes)
    counts = dict.fromkeys(STAGES, 0)

    def counted(method: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with FlopCounterMode(display=False, custom_mapping=UNKNOWN_TO_PYTORCH) as counter:
                result = method(*arguments, **options)
            counts[stage] += counter.get_total_flops()
            return result

        return call

    with replaced_methods(contestant.stages(), counted):
        contestant.step(len(images) - 1)
    return counts


def peak(device: torch.device, precision: torch.dtype, clock: Callable[[], float]) -> float:
    """Operations per second of a large matrix product: the best of five."""
    a = torch.randn(PEAK_SIZE, PEAK_SIZE, device=device, dtype=precision)
    best = math.inf
    with torch.inference_mode():
        for _ in range(6):
            begin = clock()
            float(product(a, a)[0, 0])
            best = min(best, clock() - begin)
    return 2 * PEAK_SIZE**3 / best


def _linear_operations(x: tuple[int, ...], *_: Any, out_shape: tuple[int, ...], **__: Any) -> int:
    return 2 * math.prod(x) * out_shape[-1]


def _attention_operations(q: tuple[int, ...], k: tuple[int, ...], *_: Any, **__: Any) -> int:
    return 4 * math.prod(q) * k[-2]


UNKNOWN_TO_PYTORCH = {
    torch.ops.mkldnn._linear_pointwise: _linear_operations,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_operations,
}
"""Operations that PyTorch's counter passes over."""
