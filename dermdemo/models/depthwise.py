"""Depthwise convolution that trains fast on small feature maps on a CPU without AVX-512.

Unusual here:
- on maps of at most 4 x 4 pixels oneDNN's weight gradient takes most of a training step on such a CPU (69 ms
  for 128 maps of 384 x 2 x 2, where the input's gradient takes 1 ms); a sum of shifted products takes 4 ms;
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

SMALL = 4  # longest side of a map, in pixels, up to which the shifted products were measured to be faster


def slow_here(x: Tensor) -> bool:
    """Whether oneDNN's depthwise convolution is the slow one for `x`: on a CPU without AVX-512, in fp32."""
    return (x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
            and not torch.backends.cpu.get_cpu_capability().startswith("AVX512"))


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
    for dy in range(max(-reach, 1 - height), min(reach, height - 1) + 1):
        for dx in range(max(-reach, 1 - width), min(reach, width - 1) + 1):
            at = grad[:, max(0, -dy):height - max(0, dy), max(0, -dx):width - max(0, dx)]
            read = x[:, max(0, dy):height - max(0, -dy), max(0, dx):width - max(0, -dx)]
            out[:, 0, dy + reach, dx + reach] = (at * read).sum((0, 1, 2))
    return out


class _ShiftedProducts(torch.autograd.Function):
    """oneDNN's convolution and input gradient, with `weight_gradient` for the kernel's."""

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
        to_weight = weight_gradient(x, grad, kernel) if ctx.needs_input_grad[1] else None
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
        if max(x.shape[2:]) <= SMALL and slow_here(x):
            if x.shape[2:] == (1, 1):
                middle = self.kernel_size[0] // 2
                out = x * self.weight[:, 0, middle, middle].view(1, -1, 1, 1)
                return out if self.bias is None else out + self.bias.view(1, -1, 1, 1)
            if self.weight.requires_grad and torch.is_grad_enabled():
                return _ShiftedProducts.apply(x, self.weight, self.bias)
        return super().forward(x)
