"""The gate on shared features, compiled for the CPU, as a differentiable function.

y = BatchNorm(x[image_index] · mask), where neither x[image_index] nor the product is in memory or saved. In training,
the statistics are computed from sums over the questions of each image, in double precision. Images are distributed over
threads. Sums over images are in the order of the images, so results do not depend on the number of threads.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.kernels.arrays import flat, to_channels_last
from bench.kernels.gate import numba_passes
from bench.kernels.gate.work_division import (
    GroupedQuestions,
    PassArguments,
    questions_of,
    run_pass,
)


def gated_norm(
    x: Tensor,
    mask: Tensor,
    image_index: Tensor,
    norm: Sequence[Tensor],
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return the normalised features, see `bench.kernels.gate.gated_norm`; `image_index` is i8 (T,)."""
    questions, (weight, bias, running_mean, running_var) = questions_of(image_index, len(x)), norm
    with torch.no_grad():
        if training:
            mean, variance = _statistics(x, mask, questions)
            unbiased = variance * (mask.numel() / (mask.numel() - 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                running.mul_(1 - momentum).add_(new.float(), alpha=momentum)
        else:
            mean, variance = running_mean.double(), running_var.double()
    out: Tensor = _GatedNorm.apply(x, mask, weight, bias, mean, variance, eps, training, questions)
    return out


class _GatedNorm(torch.autograd.Function):
    """Autograd function of the gate.

    `mean` and `variance` are f8 (C,). If `batch` is true, they are the statistics of the gated features, and gradients
    take this into account.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        mask: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        batch: bool,
        questions: GroupedQuestions,
    ) -> Tensor:
        """Return the normalised features (T, C, H, W)."""
        scale = weight * (variance + eps).rsqrt()
        shift = bias - scale * mean
        dtype = torch.promote_types(x.dtype, mask.dtype)
        out = torch.empty((len(mask), *x.shape[1:]), dtype=dtype, memory_format=torch.channels_last)
        run_pass(
            numba_passes.normalise,
            *_maps(x, mask, questions),
            flat(scale.float()),
            flat(shift.float()),
            flat(to_channels_last(out)),
        )
        ctx.save_for_backward(x, mask, weight, bias, mean, variance)
        ctx.how = eps, batch, questions
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, mask, weight and bias."""
        if torch.is_grad_enabled():
            return *_differentiable_gradients(ctx, grad), *[None] * 5
        x, mask, weight, _, mean, variance = ctx.saved_tensors
        eps, batch, questions = ctx.how
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        maps = _maps(x, mask, questions)
        d_x, d_mask = (torch.empty_like(given, dtype=torch.float32) for given in (to_channels_last(x), mask))
        sums = np.empty((len(x), 2, x.shape[1]))
        arrays = flat(scale.float()), flat(d_x), flat(d_mask)
        run_pass(numba_passes.gather, *maps, flat(to_channels_last(grad)), *arrays, sums)
        to_bias, product = torch.from_numpy(sums.sum(0))
        to_weight = (product - mean * to_bias) * inverse
        count = mask.numel() if batch else float("inf")
        slope = scale * inverse * to_weight / count
        constant = scale * to_bias / count - slope * mean
        run_pass(numba_passes.centre, *maps, arrays[0], flat(constant.float()), flat(slope.float()), *arrays[1:])
        to_x, to_mask = d_x.permute(0, 3, 1, 2).to(x.dtype), d_mask.to(mask.dtype)
        return to_x, to_mask, to_weight.float(), to_bias.float(), *[None] * 5


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients by operators of PyTorch, so that they can be differentiated again."""
    *inputs, mean, variance = ctx.saved_tensors
    eps, batch, questions = ctx.how
    # Use views, so that autograd ignores that the mask was computed from x.
    x, mask, weight, bias = aliases = [given.view_as(given) for given in inputs]
    statistics = None if batch else mean.float(), None if batch else variance.float()
    out = F.batch_norm(
        x.index_select(0, questions.image_index) * mask, *statistics, weight, bias, training=batch, eps=eps
    )
    wanted = [alias for alias, needed in zip(aliases, ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(out, wanted, grad.to(out.dtype), create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad[:4])


def _statistics(x: Tensor, mask: Tensor, questions: GroupedQuestions) -> tuple[Tensor, Tensor]:
    """Return mean and variance f8 (C,) of the gated features."""
    sums = np.empty((len(x), 2, x.shape[1]))
    run_pass(numba_passes.moments, *_maps(x, mask, questions), sums)
    mean, square = torch.from_numpy(sums.sum(0) / mask.numel())
    return mean, (square - mean.square()).clamp_min(0)


def _maps(x: Tensor, mask: Tensor, questions: GroupedQuestions) -> PassArguments:
    """Return the first arguments of each pass."""
    return questions, mask[0].numel(), x.shape[1], flat(to_channels_last(x)), flat(mask.float())
