"""The gate on shared features compiled for the CPU, as a function that PyTorch can differentiate.

y = BatchNorm(x[of] · mask), where neither x[of] nor the product is ever in memory, nor saved. In training the
statistics come from sums over the questions of each image, in double precision. Images go over threads; the sums over
images are in the order of the images, so the bits do not depend on the number of threads.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.kernels.gate import passes
from bench.kernels.threads import run

PIECES = 4
"""Pieces of work for each thread, if there are several."""


class Questions(NamedTuple):
    """Which questions are about which image, as `passes` wants it, and the image of each question, i8 (T,)."""

    order: np.ndarray
    starts: np.ndarray
    of: Tensor


def questions_of(of: Tensor, images: int) -> Questions:
    """Group the questions by image, in their order. Each image is in 0 … images − 1."""
    image = of.numpy()
    starts = np.zeros(images + 1, np.int64)
    np.cumsum(np.bincount(image, minlength=images), out=starts[1:])
    return Questions(np.argsort(image, kind="stable"), starts, of)


def gated_norm(
    x: Tensor,
    mask: Tensor,
    of: Tensor,
    norm: Sequence[Tensor],
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """See `bench.kernels.gate.gated_norm`; `of` i8 (T,)."""
    questions, (weight, bias, running_mean, running_var) = questions_of(of, len(x)), norm
    with torch.no_grad():
        if training:
            mean, variance = _statistics(x, mask, questions)
            unbiased = variance * (mask.numel() / (mask.numel() - 1))
            for running, new in ((running_mean, mean), (running_var, unbiased)):
                running.mul_(1 - momentum).add_(new.float(), alpha=momentum)
        else:
            mean, variance = running_mean.double(), running_var.double()
    return _GatedNorm.apply(x, mask, weight, bias, mean, variance, eps, training, questions)


class _GatedNorm(torch.autograd.Function):
    """`mean` and `variance` f8 (C,); if `batch`, they are those of the gated features, and gradients know it."""

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
        questions: Questions,
    ) -> Tensor:
        scale = weight * (variance + eps).rsqrt()
        shift = bias - scale * mean
        out = x.new_empty(len(mask), *mask.shape[2:], x.shape[1])
        _each(passes.normalise, x, mask, questions, _flat(scale.float()), _flat(shift.float()), _flat(out))
        ctx.save_for_backward(x, mask, weight, bias, mean, variance)
        ctx.how = eps, batch, questions
        return out.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return *_twice(ctx, grad), *[None] * 5
        x, mask, weight, _, mean, variance = ctx.saved_tensors
        eps, batch, questions = ctx.how
        inverse = (variance + eps).rsqrt()
        scale = weight * inverse
        d_x, d_mask = torch.empty_like(_last(x)), torch.empty_like(mask)
        sums = np.empty((len(x), 2, x.shape[1]))
        flat = _flat(scale.float()), _flat(d_x), _flat(d_mask)
        _each(passes.gather, x, mask, questions, *flat, sums, grad=_flat(_last(grad)))
        to_bias, product = torch.from_numpy(sums.sum(0))
        to_weight = (product - mean * to_bias) * inverse
        count = mask.numel() if batch else float("inf")
        slope = scale * inverse * to_weight / count
        constant = scale * to_bias / count - slope * mean
        _each(passes.centre, x, mask, questions, flat[0], _flat(constant.float()), _flat(slope.float()), *flat[1:])
        return d_x.permute(0, 3, 1, 2), d_mask, to_weight.float(), to_bias.float(), *[None] * 5


def _twice(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The gradients as functions that can be differentiated once more, by PyTorch's own operators."""
    *inputs, mean, variance = ctx.saved_tensors
    eps, batch, questions = ctx.how
    # aliases: a mask that was made from x is no way from the result to x here
    x, mask, weight, bias = aliases = [given.view_as(given) for given in inputs]
    statistics = None if batch else mean.float(), None if batch else variance.float()
    out = F.batch_norm(x.index_select(0, questions.of) * mask, *statistics, weight, bias, training=batch, eps=eps)
    wanted = [alias for alias, needed in zip(aliases, ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad[:4])


def _statistics(x: Tensor, mask: Tensor, questions: Questions) -> tuple[Tensor, Tensor]:
    """Mean and variance f8 (C,) of the gated features."""
    sums = np.empty((len(x), 2, x.shape[1]))
    _each(passes.moments, x, mask, questions, sums)
    mean, square = torch.from_numpy(sums.sum(0) / mask.numel())
    return mean, (square - mean.square()).clamp_min(0)


def _each(
    work: Callable[..., None], x: Tensor, mask: Tensor, questions: Questions, *others: Any, grad: Any = None
) -> None:
    """Do a pass over all images, in pieces."""
    images, threads = len(x), torch.get_num_threads()
    pieces = min(images, PIECES * threads if threads > 1 else 1)
    bounds = [images * k // pieces for k in range(pieces + 1)]
    maps = [_flat(_last(x)), _flat(mask), *([] if grad is None else [grad])]
    size = mask[0].numel(), x.shape[1]
    run(
        [
            partial(work, *maps, questions.order, questions.starts, first, last, *size, *others)
            for first, last in pairwise(bounds)
        ]
    )


def _last(x: Tensor) -> Tensor:
    """(·, C, H, W) → (·, H, W, C), contiguous."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().view(-1).numpy()
