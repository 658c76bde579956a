"""What is hidden from an autoencoder: as much as asked for, seeded, shared by processes, and never the target."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dermdemo.data.corruption import CELLS, Corruption


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 4, size: int = 64, seed: int = 3) -> Tensor:
    return torch.rand((n, 3, size, size), generator=seeded(seed))


def hidden_squares(x: Tensor, out: Tensor) -> Tensor:
    """(N,) squares that have the mean colour of their image throughout."""
    side = x.shape[-1] // CELLS
    flat = (out - x.mean((2, 3), keepdim=True)).abs().amax(1)
    return (flat.unfold(1, side, side).unfold(2, side, side).amax((3, 4)) < 1e-6).sum((1, 2))


@given(share=st.floats(0.01, 0.99), size=st.sampled_from([32, 64, 128]), seed=st.integers(0, 1000))
def test_exactly_the_share_is_hidden_and_the_rest_is_untouched(share: float, size: int, seed: int) -> None:
    x = images(size=size, seed=seed)
    out = Corruption(mask=share)(x, seeded(seed))
    assert hidden_squares(x, out).tolist() == [round(share * CELLS * CELLS)] * len(x)
    changed = (out != x).any(1).float().mean((1, 2))
    assert torch.allclose(changed, torch.full_like(changed, round(share * CELLS * CELLS) / CELLS**2))


@given(size=st.sampled_from([32, 96]), blur=st.floats(0.001, 0.249), seed=st.integers(0, 1000))
def test_blur_takes_sharpness_and_keeps_the_range(size: int, blur: float, seed: int) -> None:
    x = images(size=size, seed=seed)
    out = Corruption(blur=blur)(x, seeded(seed))
    assert out.shape == x.shape and float(out.min()) >= 0 and float(out.max()) <= 1
    assert bool((out.std((1, 2, 3)) <= x.std((1, 2, 3)) + 1e-6).all())


def test_without_either_nothing_is_drawn() -> None:
    x, g = images(), seeded()
    before = g.get_state()
    assert Corruption()(x, g) is x and torch.equal(g.get_state(), before)


@pytest.mark.parametrize("what", [Corruption(mask=0.5), Corruption(blur=0.05), Corruption(mask=0.25, blur=0.02)])
def test_processes_hide_what_one_alone_would_and_the_image_stays(what: Corruption) -> None:
    x = images(6)
    kept, alone = x.clone(), what(x, seeded(1))
    assert torch.equal(x, kept) and not torch.equal(alone, x)
    assert torch.equal(alone, what(x, seeded(1))) and not torch.equal(alone, what(x, seeded(2)))
    for rank in range(3):
        torch.testing.assert_close(what(x[rank::3], seeded(1), rank=rank, world=3), alone[rank::3], atol=1e-6, rtol=0)
