"""Products with what follows them: the same numbers, whichever way they are computed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sam2_core.model.hiera import join_windows, split_windows
from sam2_core.model.linear import add_feed_forward, add_linear, has_fused, linear, pointwise, product
from sam2_core.model.rope_attention import RoPEAttention, axial_turns, rotate

SCALE = torch.linspace(-1, 2, 12)
TOKENS = torch.linspace(-3, 3, 2 * 7 * 12).sin().view(2, 7, 12)


@pytest.mark.parametrize("gradients", [False, True])
def test_what_follows_a_product_does_not_depend_on_how_it_is_computed(gradients: bool) -> None:
    torch.manual_seed(0)
    widen, narrow = nn.Linear(12, 20), nn.Linear(20, 12)
    hidden = widen(TOKENS)
    with torch.set_grad_enabled(gradients):
        assert has_fused(TOKENS) is not gradients
        results = {
            "none": (linear(TOKENS, widen), hidden),
            "relu": (linear(TOKENS, widen, "relu"), F.relu(hidden)),
            "gelu": (linear(TOKENS, widen, "gelu"), F.gelu(hidden)),
            "added": (add_linear(hidden.detach(), narrow, TOKENS), TOKENS + narrow(hidden)),
            "scaled": (
                add_linear(hidden.detach(), narrow, TOKENS, SCALE),
                TOKENS + SCALE * narrow(hidden),
            ),
            "product": (product(TOKENS[0], widen.weight), TOKENS[0] @ widen.weight.T),
            "feed-forward": (
                add_feed_forward(TOKENS, widen, narrow, "gelu", TOKENS),
                TOKENS + narrow(F.gelu(hidden)),
            ),
        }
    for name, (got, expected) in results.items():
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0, msg=name)


def test_two_pointwise_convolutions_are_one_product() -> None:
    torch.manual_seed(0)
    first, second = nn.Conv2d(6, 16, 1), nn.Conv2d(16, 4, 1)
    image = torch.randn(2, 6, 5, 3)
    with torch.no_grad():
        torch.testing.assert_close(pointwise(image, first), first(image), atol=1e-5, rtol=0)
        torch.testing.assert_close(pointwise(image, first, second), second(first(image)), atol=1e-5, rtol=0)


def test_windows_that_do_not_divide_a_map_are_filled_up_and_cut_off_again() -> None:
    image = torch.arange(2 * 5 * 6 * 3.0).view(2, 5, 6, 3)
    windows = split_windows(image, 4, filling=torch.tensor([-1.0, -2.0, -3.0]))
    assert windows.shape == (2 * 2 * 2, 4, 4, 3)
    assert windows[3, -1, -1].tolist() == [-1.0, -2.0, -3.0]
    assert torch.equal(join_windows(windows, 5, 6), image)


def test_rotation_keeps_lengths_and_leaves_pointers_alone() -> None:
    tokens = torch.randn(2, 1, 2 * 6 + 3, 8)
    turned = rotate(tokens.clone(), axial_turns((2, 3), 8), placeless=3)
    torch.testing.assert_close(turned.norm(dim=-1), tokens.norm(dim=-1))
    assert torch.equal(turned[:, :, 12:], tokens[:, :, 12:])
    assert torch.equal(turned[:, :, 0], tokens[:, :, 0])  # the place (0, 0) is not turned
    assert not torch.allclose(turned[:, :, 5], tokens[:, :, 5])


def test_attention_to_unprojected_values_is_attention() -> None:
    torch.manual_seed(0)
    attention = RoPEAttention(8, 1, (2, 3), memory_channels=4)
    image, memory = torch.randn(1, 6, 8), torch.randn(2, 15, 4)
    visible = torch.rand(2, 15) > 0.3
    q = rotate(attention.q_proj(image)[:, None], attention.turns)
    k = rotate(attention.k_proj(memory)[:, None], attention.turns, placeless=3)
    expected = F.scaled_dot_product_attention(
        q.expand(2, -1, -1, -1), k, attention.v_proj(memory)[:, None], attn_mask=visible[:, None, None]
    )
    for gradients in (False, True):
        with torch.set_grad_enabled(gradients):
            got = attention(image, memory, memory, 3, visible)
        torch.testing.assert_close(got, expected[:, 0], atol=1e-5, rtol=0)
