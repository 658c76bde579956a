"""Error map, PSNR, SSIM against torchmetrics, draws and walks in the latent space."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from dermdemo.analysis.reconstruction import compare, posterior_samples, psnr, ssim, to_pixels, traverse
from dermdemo.errors import ConfigError
from dermdemo.models.checkpoint import load_vae
from dermdemo.models.vae import VAE


@pytest.fixture(scope="module")
def pair() -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    x = torch.nn.functional.interpolate(torch.rand((3, 3, 8, 8), generator=g), size=(48, 48), mode="bilinear")
    return x, (x + 0.1 * torch.randn(x.shape, generator=g)).clamp(0, 1)


@pytest.fixture(scope="module")
def vae(shared_store: Path) -> VAE:
    module: VAE = load_vae(shared_store / "vae").module
    return module


def test_ssim_agrees_with_torchmetrics(pair: tuple[Tensor, Tensor]) -> None:
    """Over the windows that lie inside the image; torchmetrics' own mean has reflected borders too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchmetrics.functional.image import structural_similarity_index_measure
    _, full = structural_similarity_index_measure(*pair, data_range=1.0, reduction="none", return_full_image=True)
    expected = full[..., 5:-5, 5:-5].mean((1, 2, 3))
    np.testing.assert_allclose(ssim(*pair).numpy(), expected.numpy(), atol=1e-4)


def test_an_image_is_most_like_itself(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    assert ssim(x, x).numpy() == pytest.approx(1, abs=1e-4)
    own = compare(x, x)[0]
    assert own.mse == 0 and own.psnr == 100 and not own.error.any()
    with pytest.raises(ConfigError):
        ssim(x[..., :8, :8], y[..., :8, :8])


def test_figures_are_what_they_say(pair: tuple[Tensor, Tensor]) -> None:
    x, y = pair
    for k, found in enumerate(compare(x, y)):
        assert found.mse == pytest.approx(float(((x[k] - y[k]) ** 2).mean()), rel=1e-5)
        assert found.psnr == pytest.approx(-10 * np.log10(found.mse), rel=1e-5)
        assert found.error.shape == (48, 48) and found.error.dtype == np.float32
        np.testing.assert_allclose(found.error, (x[k] - y[k]).abs().mean(0).numpy(), atol=1e-6)
        np.testing.assert_array_equal(found.original, to_pixels(x)[k])
        np.testing.assert_array_equal(found.image, to_pixels(y)[k])
    assert psnr(0.01) == pytest.approx(20)


def test_pixels_are_rounded_and_kept_in_range() -> None:
    x = torch.tensor([-0.5, 0.0, 0.5, 1.0, 2.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_pixels(x)[0, 0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_draws_repeat_with_their_seed_and_spread_with_the_variance(vae: VAE) -> None:
    mu = np.zeros(8, np.float32)

    def draws(logvar: float, seed: int = 0) -> np.ndarray:
        return posterior_samples(vae, mu, np.full(8, logvar, np.float32), 64, count=4, seed=seed)

    np.testing.assert_array_equal(draws(0.0), draws(0.0))
    assert (draws(0.0) != draws(0.0, seed=1)).any()
    wide, narrow = draws(2.0).astype(float).std(0).mean(), draws(-12.0).astype(float).std(0).mean()
    assert wide > 10 * narrow


def test_a_walk_moves_one_coordinate(vae: VAE) -> None:
    mu = np.linspace(-1, 1, 8, dtype=np.float32)
    walk = traverse(vae, mu, 3, [-3.0, float(mu[3]), 3.0], 64)
    with torch.inference_mode():
        expected = to_pixels(vae.decode(torch.from_numpy(mu)[None], 64))
    np.testing.assert_allclose(walk[1].astype(int), expected[0].astype(int), atol=1)
    assert (walk[0] != walk[2]).any()
    assert mu[3] == pytest.approx(-1 / 7)  # the caller's array is not touched


@pytest.mark.parametrize(("dimension", "values"), [(8, [0.0]), (-1, [0.0]), (0, [])])
def test_impossible_walks_are_refused(vae: VAE, dimension: int, values: list[float]) -> None:
    with pytest.raises(ConfigError):
        traverse(vae, np.zeros(8, np.float32), dimension, values, 64)
