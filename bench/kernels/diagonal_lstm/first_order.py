"""Gradients that are computed by hand, and cannot be differentiated again: the error names alternatives."""

from typing import Any

import torch
from torch import Tensor


def refuse_second(ctx: Any, *grads: Tensor) -> Any:
    """Raise NotImplementedError, in the backward pass of a gradient."""
    raise NotImplementedError(
        "this implementation of the diagonal LSTM is differentiable once; for gradients of gradients give "
        "implementation='reference', or set BENCH_DIAGONAL_LSTM=reference"
    )


class _DifferentiableOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mark: Tensor, *gradients: Tensor) -> tuple[Tensor, ...]:
        return tuple(gradient.view_as(gradient) for gradient in gradients)

    backward = staticmethod(refuse_second)


def mark_differentiable_once(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Mark gradients that were computed without a graph, so that differentiating them raises `NotImplementedError`."""
    if not torch.is_grad_enabled():
        return gradients
    marked: tuple[Tensor, ...] = _DifferentiableOnce.apply(torch.ones((), requires_grad=True), *gradients)
    return marked
