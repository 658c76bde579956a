"""Depthwise convolution that trains fast on small feature maps on a CPU.

Unusual here:
- oneDNN's gradient of the kernel takes most of a training step on small maps: in bf16 78 ms for 128 maps of
  768 x 2 x 2 where the input's gradient takes 0.3 ms, in fp32 without AVX-512 69 ms for 128 maps of 384 x 2 x 2;
- in fp32 a sum of shifted products takes its place, in bf16 one matrix product for each channel, whose diagonals
  are summed (`weight_gradient`, `weight_gradient_by_matrices`);
- on a map of one pixel only the kernel's centre is read, and the convolution is a product;
- parameters, their names and the results are those of `torch.nn.Conv2d`; rounding differs.

Source: docs/decisions/0017.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

SMALL = 4  # longest side of a map, in pixels, up to which the shifted products were measured to be faster in fp32
SMALL_BF16 = 16  # and the matrix products in bf16


def longest_side(x: Tensor) -> int:
    """Longest side of a map up to which oneDNN is the slower one for `x` under the running autocast; 0: never."""
    if x.device.type != "cpu":
        return 0
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    return {torch.bfloat16: SMALL_BF16, torch.float32: SMALL, torch.float64: SMALL}.get(dtype, 0)


def _taps(side: int, reach: int) -> range:
    """Offsets from the centre, along a side of the map, at which the kernel still meets a pixel."""
    return range(max(-reach, 1 - side), min(reach, side - 1) + 1)


def weight_gradient(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Gradient of a depthwise kernel with stride 1 and "same" padding.

    Args:
        x: input (N, C, H, W).
        grad: gradient of the output (N, C, H, W).
        kernel: side of the kernel, odd.

    Returns:
        (C, 1, kernel, kernel); taps that no pixel of the map reaches are zero.
    """
    height, width = x.shape[2:]
    reach = kernel // 2
    x, grad = x.permute(0, 2, 3, 1), grad.permute(0, 2, 3, 1)
    out = grad.new_zeros(x.shape[3], 1, kernel, kernel)
    for dy in _taps(height, reach):
        for dx in _taps(width, reach):
            at = grad[:, max(0, -dy):height - max(0, dy), max(0, -dx):width - max(0, dx)]
            read = x[:, max(0, dy):height - max(0, -dy), max(0, dx):width - max(0, -dx)]
            out[:, 0, dy + reach, dx + reach] = (at * read).sum((0, 1, 2))
    return out


def weight_gradient_by_matrices(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """As `weight_gradient`, by a matrix for each channel: every pixel of the gradient with every one of the input.

    Memory: C * (H * W)^2 numbers.
    """
    images, channels, height, width = x.shape
    reach = kernel // 2
    of_x = x.permute(1, 0, 2, 3).reshape(channels, images, height * width)
    of_grad = grad.permute(1, 2, 3, 0).reshape(channels, height * width, images)
    products = torch.bmm(of_grad, of_x).view(channels, height, width, height, width)
    out = grad.new_zeros(channels, 1, kernel, kernel)
    for dy in _taps(height, reach):
        rows = products.diagonal(dy, 1, 3)
        for dx in _taps(width, reach):
            out[:, 0, dy + reach, dx + reach] = rows.diagonal(dx, 1, 2).sum((1, 2))
    return out


class _OwnKernelGradient(torch.autograd.Function):
    """oneDNN's convolution and input gradient, with a gradient of the kernel of our own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=weight.shape[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        kernel = weight.shape[-1]
        to_x = (conv2d_input(x.shape, weight, grad, padding=kernel // 2, groups=weight.shape[0])
                if ctx.needs_input_grad[0] else None)
        gradient = weight_gradient_by_matrices if x.dtype == torch.bfloat16 else weight_gradient
        to_weight = gradient(x, grad, kernel) if ctx.needs_input_grad[1] else None
        return to_x, to_weight, grad.sum((0, 2, 3)) if ctx.needs_input_grad[2] else None


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise `Conv2d` of odd kernel, stride 1 and "same" padding: (N, C, H, W) -> (N, C, H, W)."""

    @classmethod
    def taking(cls, conv: nn.Conv2d) -> DepthwiseConv2d:
        """The same convolution with the same parameters (shared, not copied).

        Raises:
            ValueError: `conv` is not depthwise, or has a stride, a dilation or another padding.
        """
        side = conv.kernel_size[0]
        if (conv.kernel_size != (side, side) or side % 2 == 0 or conv.padding != (side // 2, side // 2)
                or conv.stride != (1, 1) or conv.dilation != (1, 1)
                or not conv.groups == conv.in_channels == conv.out_channels):
            raise ValueError(f"Not a depthwise convolution of odd kernel, stride 1 and same padding: {conv}.")
        made = cls(conv.in_channels, conv.out_channels, side, padding=side // 2, groups=conv.groups,
                   bias=conv.bias is not None, device="meta")
        made.weight, made.bias = conv.weight, conv.bias
        return made

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        if max(x.shape[2:]) > longest_side(x):
            return super().forward(x)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        weight, bias = self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)
        if x.shape[2:] == (1, 1):
            middle = self.kernel_size[0] // 2
            out = x * weight[:, 0, middle, middle].view(1, -1, 1, 1)
            return out if bias is None else out + bias.view(1, -1, 1, 1)
        if self.weight.requires_grad and torch.is_grad_enabled():
            return _OwnKernelGradient.apply(x, weight, bias)
        return super().forward(x)
