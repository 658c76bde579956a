"""The decoder: any size from the same weights, and gradients everywhere."""

from __future__ import annotations

import pytest
import torch

from dermdemo.errors import ConfigError
from dermdemo.models.decoder import Decoder, ResidualBlock, blank_coarse
from tests.models.tiny import colours, overfit, without_gradient

SMALL = (32, 24, 16, 8, 8)


def decoder(latent: int = 5) -> Decoder:
    torch.manual_seed(0)
    return Decoder(latent, SMALL)


@pytest.mark.parametrize("size", [32, 64, 96, 128, 224])
def test_every_size_comes_from_the_same_weights(size: int) -> None:
    with torch.no_grad():
        image = decoder()(torch.randn(2, 5), size)
    assert image.shape == (2, 3, size, size)
    assert float(image.min()) >= 0
    assert float(image.max()) <= 1


@pytest.mark.parametrize("size", [0, 16, 100, -64, 1056])
def test_sizes_that_cannot_be_decoded_are_refused(size: int) -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        decoder()(torch.zeros(1, 5), size)


def test_the_full_decoder_is_the_documented_one() -> None:
    with torch.device("meta"):
        image = Decoder(256)(torch.empty(1, 256), 224)
    assert image.shape == (1, 3, 224, 224)


def test_a_residual_block_starts_as_the_identity_plus_a_constant() -> None:
    block = ResidualBlock(8)
    torch.nn.init.zeros_(block.conv2.bias)
    x = torch.randn(2, 8, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(block(x), x)


@pytest.mark.parametrize("size", [32, 64])
def test_finite_gradients_reach_every_parameter(size: int) -> None:
    model = decoder()
    for block in model.blocks:  # zero at the start: it would stop the gradient of what lies before it
        torch.nn.init.normal_(block.conv2.weight, std=0.05)
    model(torch.randn(3, 5), size).var().backward()
    assert without_gradient(model) == []


def test_different_latents_give_different_images() -> None:
    with torch.no_grad():
        a, b = decoder()(torch.randn(2, 5), 32)
    assert not torch.allclose(a, b)


def test_one_batch_can_be_overfitted() -> None:
    model, target = decoder(), colours()
    z = torch.eye(3, 5)
    first, last = overfit(model, lambda: (model(z, 32) - target).square().mean(), steps=80, lr=3e-3)
    assert first > 0.12
    assert last < 0.07  # half of what an answer that ignores z can reach


def trained_coarse(model: Decoder) -> Decoder:
    torch.manual_seed(1)
    torch.nn.init.normal_(model.coarse.weight, std=0.3)
    return model


def test_a_fresh_coarse_picture_adds_nothing_and_is_what_blank_says() -> None:
    model = decoder()
    state = {k: v for k, v in model.state_dict().items() if k.startswith("coarse.")}
    assert state.keys() == blank_coarse(5).keys()
    assert all(torch.equal(v, blank_coarse(5)[k]) for k, v in state.items())


def test_the_coarse_picture_is_the_same_at_every_size() -> None:
    model, z = trained_coarse(decoder()), torch.randn(4, 5)
    blank = decoder()
    with torch.no_grad():
        added = [(model(z, s).logit() - blank(z, s).logit()) for s in (64, 128)]
    small = torch.nn.functional.avg_pool2d(added[1], 2)
    assert float(small.std()) > 0.1
    assert float((small - added[0]).abs().mean()) < 0.05 * float(small.abs().mean())


def test_the_coarse_picture_is_linear_in_the_latent() -> None:
    model, blank, z = trained_coarse(decoder()), decoder(), torch.randn(2, 5)

    def coarse(of: torch.Tensor) -> torch.Tensor:
        return model(of, 32).logit() - blank(of, 32).logit()

    with torch.no_grad():
        torch.testing.assert_close(coarse(z.sum(0, keepdim=True)), coarse(z).sum(0, keepdim=True),
                                   atol=1e-3, rtol=1e-3)
