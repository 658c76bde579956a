"""Figures of embeddings against their definitions, and at the places where their values are known."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dermdemo.training.embeddings import pair_figures, spread_figures


def embeddings(n: int = 12, dims: int = 8, seed: int = 0) -> Tensor:
    return torch.randn((n, dims), generator=torch.Generator().manual_seed(seed))


def test_alignment_and_uniformity_are_those_of_the_paper() -> None:
    first, second = embeddings(seed=1), embeddings(seed=2)
    x, y = (v / v.norm(dim=1, keepdim=True) for v in (first, second))
    n = len(x)
    apart = [math.log(sum(math.exp(-2 * float((v[i] - v[j]).square().sum())) for i in range(n) for j in range(i))
                      / (n * (n - 1) / 2)) for v in (x, y)]
    found = pair_figures(first, 3 * second)
    assert float(found["uniformity"]) == pytest.approx(sum(apart) / 2, rel=1e-5)
    assert float(found["alignment"]) == pytest.approx(float((x - y).square().sum(1).mean()), rel=1e-5)


def test_figures_at_both_ends() -> None:
    axes = torch.eye(8)
    found = {k: float(v) for k, v in (pair_figures(axes, axes) | spread_figures(axes)).items()}
    assert found["accuracy"] == 1 and found["alignment"] == 0
    assert found["uniformity"] == pytest.approx(-4)  # every squared distance is 2
    assert found["effective_rank"] == pytest.approx(8, rel=1e-5)
    equal = torch.ones(6, 8)
    found = {k: float(v) for k, v in (pair_figures(equal, equal) | spread_figures(equal)).items()}
    assert found["uniformity"] == pytest.approx(0, abs=1e-5)
    assert found["std"] == pytest.approx(0, abs=1e-6) and found["effective_rank"] == pytest.approx(1, abs=1e-3)
    assert found["accuracy"] < 0.5


def test_embeddings_all_over_the_sphere_have_the_spread_that_was_promised() -> None:
    found = spread_figures(embeddings(4000, 16))
    assert float(found["std"]) == pytest.approx(1 / 4, rel=0.01)
    assert 15.5 < float(found["effective_rank"]) <= 16


def test_a_partner_that_lies_elsewhere_is_not_found() -> None:
    first = embeddings(10, 32)
    assert float(pair_figures(first, first + 0.01)["accuracy"]) == 1
    assert float(pair_figures(first, first.roll(1, 0) + 0.01)["accuracy"]) == 0
    half = torch.cat([first[:5], first[5:].roll(1, 0)])
    assert float(pair_figures(first, half + 0.01)["accuracy"]) == 0.5


@given(st.integers(1, 6), st.integers(0, 50))
def test_the_effective_rank_counts_equal_directions(rank: int, seed: int) -> None:
    basis = torch.linalg.qr(embeddings(8, 8, seed=seed)).Q[:rank]
    assert float(spread_figures(basis.repeat(5, 1))["effective_rank"]) == pytest.approx(rank, abs=0.01)
