"""Max pooling with ReLU, compiled for the CPU, as a differentiable function.

It saves one byte per output, the chosen pixel, and neither its input nor its output.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from bench.kernels.arrays import flat, to_channels_last
from bench.kernels.pool import numba_passes
from bench.kernels.thread_pool import run_in_threads

PIECES = 4
"""Number of pieces of work per thread, if there are several threads."""


class Pooled(torch.autograd.Function):
    """Autograd function: x (N, C, H, W) → (N, C, H // 2, W // 2), both channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return the pooled maps."""
        count, channels, height, width = x.shape
        size = count, channels, height // 2, width // 2
        out = torch.empty(size, dtype=x.dtype, memory_format=torch.channels_last)
        chosen = torch.empty(to_channels_last(out).shape, dtype=torch.uint8)
        _run_pass(numba_passes.forward, x.shape, to_channels_last(x), to_channels_last(out), chosen)
        ctx.save_for_backward(chosen)
        ctx.shape = x.shape
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Return the gradient of x."""
        (chosen,) = ctx.saved_tensors
        count, channels, height, width = ctx.shape
        if torch.is_grad_enabled():
            return _differentiable_gradient(grad, chosen, height, width)
        d_x = grad.new_empty(count, height, width, channels)
        _run_pass(numba_passes.backward, ctx.shape, to_channels_last(grad), chosen, d_x)
        return d_x.permute(0, 3, 1, 2)


def _differentiable_gradient(grad: Tensor, chosen: Tensor, height: int, width: int) -> Tensor:
    """Return the gradient by operators of PyTorch, so that it can be differentiated again."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    place = (rows % 2 * 2 + columns % 2).to(torch.uint8)

    def over(pixels: Tensor, outside: int) -> Tensor:
        whole = pixels.repeat_interleave(2, 2).repeat_interleave(2, 3)
        return torch.nn.functional.pad(whole, (0, width % 2, 0, height % 2), value=outside)

    return torch.where(over(chosen.permute(0, 3, 1, 2), numba_passes.OFF) == place, over(grad, 0), 0.0)


def _run_pass(work: Callable[..., None], shape: torch.Size, *maps: Tensor) -> None:
    """Run a pass over all maps, in pieces."""
    (count, channels, height, width), threads = shape, torch.get_num_threads()
    pieces = min(count, PIECES * threads if threads > 1 else 1)
    bounds = [count * k // pieces for k in range(pieces + 1)]
    arrays = [flat(given) for given in maps]
    run_in_threads([partial(work, start, stop, height, width, channels, *arrays) for start, stop in pairwise(bounds)])
