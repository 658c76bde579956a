"""The VAE: posterior, sampling, decoding, and the plain autoencoder beside it."""

from __future__ import annotations

import pytest
import torch

from dermdemo.errors import ConfigError
from dermdemo.models.vae import LOGVAR_RANGE, VAE, Posterior
from dermdemo.training.losses import free_bits_kl, gaussian_kl, sigma_nll
from tests.models.tiny import colours, images, overfit, vae, without_gradient


def test_encode_gives_a_clamped_posterior() -> None:
    model = vae()
    with torch.no_grad():
        model.posterior.weight.mul_(1e4)
        q = model.encode(images(3))
    assert q.mu.shape == q.logvar.shape == (3, 6)
    assert q.mu.dtype == torch.float32
    assert float(q.logvar.min()) >= LOGVAR_RANGE[0]
    assert float(q.logvar.max()) <= LOGVAR_RANGE[1]
    assert float(q.mu.abs().max()) > LOGVAR_RANGE[1]  # mu is not clamped


def test_the_latent_says_where_things_are() -> None:
    """Left and right swapped: the global average could not tell, the 4x4 grid does."""
    model = vae().eval()
    x = torch.zeros(1, 3, 128, 128)
    x[..., :64] = 1.0
    with torch.no_grad():
        assert not torch.allclose(model.encode(x).mu, model.encode(x.flip(-1)).mu, atol=1e-4)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_forward_keeps_the_size_of_its_input(size: int) -> None:
    with torch.no_grad():
        x_hat, q = vae()(images(2, size))
    assert x_hat.shape == (2, 3, size, size)
    assert x_hat.dtype == torch.float32
    assert q.mu.shape == (2, 6)
    assert float(x_hat.min()) >= 0
    assert float(x_hat.max()) <= 1


def test_decode_uses_the_default_size_or_the_given_one() -> None:
    model, z = vae(size=64), torch.zeros(1, 6)
    with torch.no_grad():
        assert model.decode(z).shape[-1] == 64
        assert model.decode(z, 32).shape[-1] == 32
    with pytest.raises(ConfigError, match="100 px"):
        model.decode(z, 100)


def test_a_given_noise_makes_the_draw_repeatable() -> None:
    q = Posterior(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, 2.0]]))
    noise = torch.tensor([[1.0, -1.0]])
    z = vae().sample(q, noise=noise)
    torch.testing.assert_close(z, torch.tensor([[2.0, -2.0 - torch.tensor(1.0).exp().item()]]))


def test_draws_have_the_posteriors_mean_and_variance() -> None:
    torch.manual_seed(0)
    mu, logvar = torch.tensor([0.5, -3.0]), torch.tensor([0.0, -2.0])
    z = vae().sample(Posterior(mu.expand(20_000, 2), logvar.expand(20_000, 2)))
    torch.testing.assert_close(z.mean(0), mu, atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(0), logvar.exp(), atol=0.03, rtol=0)


def test_reconstruct_is_deterministic_and_decodes_mu() -> None:
    model, x = vae().eval(), images(2, 64)
    with torch.no_grad():
        first = model.reconstruct(x)
        torch.rand(10)  # the state of the global generator does not matter
        assert torch.equal(first, model.reconstruct(x))
        assert torch.equal(first, model.decode(model.encode(x).mu, 64))


def test_the_autoencoder_passes_mu_on() -> None:
    model = vae(ae=True)
    q = Posterior(torch.randn(3, 6), torch.full((3, 6), 5.0))
    assert torch.equal(model.sample(q), q.mu)
    assert torch.equal(model.sample(q, noise=torch.randn(3, 6)), q.mu)


def _elbo(model: VAE, x: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    x_hat, q = model(x, noise)
    return sigma_nll((x_hat - x).square().mean(), x[0].numel()) + free_bits_kl(gaussian_kl(*q), 0.0)


def test_finite_gradients_reach_every_parameter() -> None:
    model = vae()
    for block in model.decoder.blocks:
        torch.nn.init.normal_(block.conv2.weight, std=0.02)
    _elbo(model, images(4), torch.randn(4, 6)).backward()
    assert without_gradient(model) == ["encoder.norm.weight", "encoder.norm.bias"]  # of the pooled features: Stage II


def test_the_autoencoders_variance_takes_no_part() -> None:
    model = vae(ae=True)
    x = images(4)
    (model(x)[0] - x).square().mean().backward()
    grad = model.posterior.weight.grad
    assert grad is not None
    assert bool(grad[:6].any())
    assert not bool(grad[6:].any())


def test_the_same_seed_gives_the_same_loss() -> None:
    x, noise = images(4), torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    a, b = (float(_elbo(vae(seed=3), x, noise).detach()) for _ in range(2))
    assert a == b
    assert a != float(_elbo(vae(seed=4), x, noise).detach())


@pytest.mark.parametrize("ae", [False, True])
def test_one_batch_can_be_overfitted(ae: bool) -> None:
    model, x = vae(ae=ae), colours()
    first, last = overfit(model, lambda: (model.reconstruct(x) - x).square().mean(), steps=25, lr=1e-3)
    assert first > 0.12
    assert last < 0.07  # half of what an answer that ignores the image can reach


def test_the_noise_variance_is_stored_and_starts_at_one() -> None:
    model = vae()
    assert float(model.noise_variance) == 1.0
    assert "noise_variance" in model.state_dict()
