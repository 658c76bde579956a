"""The depthwise convolution against torch's own, values and gradients, and where each way is taken."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dermdemo.models import depthwise
from dermdemo.models.depthwise import (
    SMALL,
    SMALL_BF16,
    DepthwiseConv2d,
    weight_gradient,
    weight_gradient_by_matrices,
)
from dermdemo.models.encoder import Encoder

NODE = "_OwnKernelGradientBackward"


def conv(channels: int, side: int, *, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(channels)
    return nn.Conv2d(channels, channels, side, padding=side // 2, groups=channels, bias=bias).double()


def pair(channels: int, height: int, width: int, images: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(height * 10 + width)
    shape = (images, channels, height, width)
    return torch.randn(shape, dtype=torch.double, requires_grad=True), torch.randn(shape, dtype=torch.double)


@given(channels=st.integers(1, 5), side=st.sampled_from([1, 3, 5, 7]), height=st.integers(1, 6),
       width=st.integers(1, 6), images=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_kernel_s_gradient_is_that_of_autograd(channels: int, side: int, height: int, width: int,
                                                   images: int) -> None:
    plain = conv(channels, side)
    x, grad = pair(channels, height, width, images)
    (expected,) = torch.autograd.grad(plain(x), plain.weight, grad)
    torch.testing.assert_close(weight_gradient(x.detach(), grad, side), expected)
    torch.testing.assert_close(weight_gradient_by_matrices(x.detach(), grad, side), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3), (2, 2), (4, 4), (4, 9), (8, 8)])
def test_values_and_gradients_are_those_of_torch(height: int, width: int, bias: bool) -> None:
    plain = conv(4, 7, bias=bias)
    ours = DepthwiseConv2d.taking(plain)
    x, grad = pair(4, height, width)
    wanted = [x, *plain.parameters()]
    expected = torch.autograd.grad(plain(x), wanted, grad)
    torch.testing.assert_close(ours(x), plain(x))
    for found, right in zip(torch.autograd.grad(ours(x), wanted, grad), expected, strict=True):
        torch.testing.assert_close(found, right)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 3), (4, 4), (7, 16), (17, 2)])
def test_in_bf16_both_are_as_near_to_the_exact_values_as_torch_s(height: int, width: int, bias: bool) -> None:
    plain = conv(4, 7, bias=bias)
    x, grad = pair(4, height, width, images=8)
    exact = [plain(x), *torch.autograd.grad(plain(x), [x, *plain.parameters()], grad)]
    plain.float()

    def distances(module: nn.Module) -> list[float]:
        given = x.detach().float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = module(given)
        assert out.dtype == torch.bfloat16
        found = [out, *torch.autograd.grad(out, [given, *module.parameters()], grad.to(out.dtype))]
        assert all(f.dtype == torch.float32 for f in found[1:])
        return [float((f - e).detach().norm() / e.detach().norm()) for f, e in zip(found, exact, strict=True)]

    for ours, torchs in zip(distances(DepthwiseConv2d.taking(plain)), distances(plain), strict=True):
        assert ours < 1.5 * torchs + 1e-3
        assert ours < 0.02


def test_small_maps_take_their_own_way_and_larger_ones_torch_s() -> None:
    ours = DepthwiseConv2d.taking(conv(4, 7)).float()

    def node(side: int) -> str:
        return type(ours(torch.randn(2, 4, side, side)).grad_fn).__name__

    assert (node(1), node(2), node(SMALL)) == ("AddBackward0", NODE, NODE)
    assert node(SMALL + 1) == "ConvolutionBackward0"
    with torch.autocast("cpu", torch.bfloat16):
        assert (node(1), node(2), node(SMALL_BF16)) == ("AddBackward0", NODE, NODE)
        assert node(SMALL_BF16 + 1) == "ConvolutionBackward0"
    with torch.no_grad():
        assert ours(torch.randn(2, 4, 2, 2)).grad_fn is None
    assert depthwise.longest_side(torch.empty(1, device="meta")) == 0


def test_a_frozen_kernel_passes_the_input_s_gradient_by_torch_s_way() -> None:
    ours = DepthwiseConv2d.taking(conv(4, 7)).requires_grad_(False)
    x, grad = pair(4, 2, 2)
    out = ours(x)
    assert type(out.grad_fn).__name__ == "ConvolutionBackward0"
    (found,) = torch.autograd.grad(out, x, grad)
    (right,) = torch.autograd.grad(conv(4, 7)(x), x, grad)
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("other", [
    nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(4, 4, 3, groups=4),
    nn.Conv2d(4, 4, 4, padding=2, groups=4), nn.Conv2d(4, 4, 3, padding=1, stride=2, groups=4),
    nn.Conv2d(4, 4, 3, padding=1, dilation=2, groups=4), nn.Conv2d(4, 4, (3, 5), padding=(1, 2), groups=4),
], ids=["dense", "multiplied", "unpadded", "even", "strided", "dilated", "oblong"])
def test_another_convolution_is_refused(other: nn.Conv2d) -> None:
    with pytest.raises(ValueError, match="Not a depthwise convolution"):
        DepthwiseConv2d.taking(other)


def test_the_encoder_shares_parameters_names_and_initial_values_with_timm() -> None:
    import timm

    torch.manual_seed(3)
    net = timm.create_model("convnext_atto", pretrained=False, num_classes=0, ls_init_value=1.0)
    torch.manual_seed(3)
    ours = Encoder("convnext_atto", layer_scale=1.0)
    state = {key.removeprefix("head."): value for key, value in net.state_dict().items()}
    assert state.keys() == ours.state_dict().keys()
    assert all(torch.equal(value, ours.state_dict()[key]) for key, value in state.items())
    assert all(isinstance(block.conv_dw, DepthwiseConv2d) for stage in ours.stages for block in stage.blocks)


def test_an_encoder_learns_the_same_either_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradients() -> list[Tensor]:
        torch.manual_seed(0)
        model = Encoder("convnext_atto", layer_scale=1.0).double()
        model(torch.rand(2, 3, 32, 64, dtype=torch.double)).square().sum().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    ours = gradients()
    monkeypatch.setattr(depthwise, "longest_side", lambda x: 0)
    torchs = gradients()
    assert len(ours) == len(torchs) > 50
    for found, right in zip(ours, torchs, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-6, atol=1e-9)
