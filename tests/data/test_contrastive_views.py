"""Views for contrastive pretraining: in range, seeded, shared by processes, and each change does what it says."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dermdemo.data.contrastive_views import CONTRASTIVE_VIEWS, ContrastiveViews, gaussian_blur
from dermdemo.data.loader import LESION_VIEWS

STILL = {"rotate": False, "min_zoom": 1.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "aspect": 1.0,
         "hue": 0.0, "grey_share": 0.0, "blur_share": 0.0}  # fmt: skip


def batch(n: int = 6, size: int = 32) -> Tensor:
    """Smooth colourful squares, (N, 3, size, size) from 0.3 to 0.7, so that nothing is clamped."""
    coarse = torch.rand((n, 3, 4, 4), generator=seeded(7))
    return 0.3 + 0.4 * torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def views(**changes: float) -> ContrastiveViews:
    return ContrastiveViews(**(STILL | changes))  # type: ignore[arg-type]


@given(seed=st.integers(0, 10_000), size=st.sampled_from([32, 64, 96]), low=st.floats(0, 1), high=st.floats(0, 1))
def test_any_view_of_any_image_stays_in_range(seed: int, size: int, low: float, high: float) -> None:
    x = low + (high - low) * torch.rand((3, 3, size, size), generator=seeded(seed))
    out = CONTRASTIVE_VIEWS(x.clamp(0, 1), seeded(seed))
    assert out.shape == x.shape and bool(torch.isfinite(out).all())
    assert float(out.min()) >= 0 and float(out.max()) <= 1


@given(n=st.integers(1, 8), world=st.integers(1, 4), seed=st.integers(0, 100))
def test_processes_make_the_views_that_one_alone_would(n: int, world: int, seed: int) -> None:
    x = torch.rand((n * world, 3, 32, 32), generator=seeded(seed))
    alone = CONTRASTIVE_VIEWS(x, seeded(seed))
    for rank in range(world):
        mine = CONTRASTIVE_VIEWS(x[rank::world], seeded(seed), rank=rank, world=world)
        torch.testing.assert_close(mine, alone[rank::world], atol=1e-5, rtol=0)


def test_views_follow_their_generator_and_leave_the_rest_alone() -> None:
    x = batch()
    before, state, g = x.clone(), torch.get_rng_state(), seeded(1)
    first, second = CONTRASTIVE_VIEWS(x, g), CONTRASTIVE_VIEWS(x, g)
    assert torch.equal(first, CONTRASTIVE_VIEWS(x, seeded(1)))
    assert not torch.allclose(first, second, atol=0.02), "two views of one image differ"
    assert torch.equal(x, before) and torch.equal(torch.get_rng_state(), state)


def test_they_change_an_image_more_than_those_of_the_other_stages() -> None:
    x = batch(64)

    def change(kind: object) -> float:
        return float((kind(x, seeded()).mean((2, 3)) - x.mean((2, 3))).abs().mean())  # type: ignore[operator]

    assert change(CONTRASTIVE_VIEWS) > 2 * change(LESION_VIEWS)


def test_with_everything_off_only_mirrors_remain() -> None:
    x = batch(16)
    out = views()(x, seeded())
    kinds = ["same" if torch.allclose(o, i, atol=1e-4) else "mirror" if torch.allclose(o, i.flip(-1), atol=1e-4)
             else "other" for o, i in zip(out, x, strict=True)]  # fmt: skip
    assert set(kinds) == {"same", "mirror"}


def test_windows_have_the_area_and_the_shape_that_were_asked_for() -> None:
    """A ramp along each axis is seen with the slope that its side of the window has."""
    size, n = 64, 200
    ramp = torch.linspace(0, 1, size)
    x = torch.stack([ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)])
    out = views(min_zoom=0.45, aspect=4 / 3)(x.expand(n, -1, -1, -1), seeded())
    inner = slice(size // 2 - 8, size // 2 + 8)  # away from what is reflected
    width = (out[:, 0, size // 2, inner].diff(dim=1).abs().median(1).values) * (size - 1)
    height = (out[:, 1, inner, size // 2].diff(dim=1).abs().median(1).values) * (size - 1)
    area, ratio = width * height, width / height
    assert 0.19 < float(area.min()) < 0.3 and 0.85 < float(area.max()) < 1.01
    assert 0.74 < float(ratio.min()) < 0.8 and 1.25 < float(ratio.max()) < 1.35


def test_hue_keeps_every_pixels_mean_and_chroma() -> None:
    x = batch(8)
    out = views(hue=0.05)(x, seeded())
    x = torch.where(((out - x).abs().mean((1, 2, 3)) < (out - x.flip(-1)).abs().mean((1, 2, 3)))[:, None, None, None],
                    x, x.flip(-1))
    torch.testing.assert_close(out.mean(1), x.mean(1), atol=1e-4, rtol=0)
    chroma, before = out - out.mean(1, keepdim=True), x - x.mean(1, keepdim=True)
    torch.testing.assert_close(chroma.norm(dim=1), before.norm(dim=1), atol=1e-4, rtol=0)
    cosine = (chroma * before).sum(1) / before.norm(dim=1).square().clamp_min(1e-9)
    turned = cosine[before.norm(dim=1) > 0.05].clamp(-1, 1).acos() / (2 * math.pi)
    assert 0.02 < float(turned.max()) < 0.051


def test_the_asked_share_of_the_views_is_grey_or_blurred() -> None:
    x = torch.rand((400, 3, 64, 64), generator=seeded())
    grey = views(grey_share=0.2)(x, seeded()).std(1).amax((1, 2)) < 1e-5
    assert 0.14 < float(grey.float().mean()) < 0.26
    rough = views(blur_share=0.5, blur=0.05)(x, seeded()).diff(dim=3).abs().mean((1, 2, 3))
    still = views()(x, seeded()).diff(dim=3).abs().mean((1, 2, 3))
    assert 0.4 < float((rough < 0.99 * still).float().mean()) < 0.55  # a sigma of almost 0 does not show
    assert bool((rough <= still + 1e-4).all())


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_a_point_is_blurred_to_a_gaussian(sigma: float) -> None:
    point = torch.zeros((2, 3, 41, 41))
    point[:, :, 20, 20] = 1
    spread = gaussian_blur(point, torch.tensor([sigma, 0.0]), radius=math.ceil(4 * sigma))
    torch.testing.assert_close(spread[1], point[1])
    offsets = torch.arange(41) - 20.0
    share = spread[0, 1].sum(0)
    assert float(share.sum()) == pytest.approx(1, abs=1e-5)
    discrete = torch.softmax(-0.5 * (offsets / sigma).square(), 0)
    torch.testing.assert_close(share, discrete, atol=1e-3, rtol=0)
