"""A score for each question on shared features, as a differentiable function."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.kernels.arrays import flat, to_channels_last
from bench.kernels.gate import numba_score_passes
from bench.kernels.gate.work_division import (
    GroupedQuestions,
    PassArguments,
    questions_of,
    run_pass,
)


def query_score(x: Tensor, embedded_query: Tensor, image_index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the scores, see `bench.kernels.gate.query_score`; `image_index` is i8 (T,)."""
    out: Tensor = _QueryScore.apply(x, embedded_query, weight, bias, questions_of(image_index, len(x)))
    return out


class _QueryScore(torch.autograd.Function):
    """Autograd function of the compiled score."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, embedded_query: Tensor, weight: Tensor, bias: Tensor, questions: GroupedQuestions
    ) -> Tensor:
        """Return the scores (T, 1, H, W)."""
        out = weight.new_empty(len(embedded_query), 1, *x.shape[2:])
        run_pass(numba_score_passes.score, *_maps(x, embedded_query, questions), flat(weight), flat(bias), flat(out))
        ctx.save_for_backward(x, embedded_query, weight, bias)
        ctx.questions = questions
        return out.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x, embedded_query, weight and bias."""
        if torch.is_grad_enabled():
            return *_differentiable_gradients(ctx, grad), None
        x, embedded_query, weight, _ = ctx.saved_tensors
        d_x = torch.empty_like(to_channels_last(x), dtype=torch.float32)
        d_embedded_query, d_weight = np.empty(embedded_query.shape), np.empty(x.shape[:2])
        arrays = flat(grad.float()), flat(weight), flat(d_x), d_embedded_query, d_weight
        run_pass(numba_score_passes.gradients, *_maps(x, embedded_query, ctx.questions), *arrays)
        to_weight = torch.from_numpy(d_weight.sum(0)).float().view(weight.shape)
        to_bias = grad.sum(dtype=torch.float64).float().view(1)
        to_x = d_x.permute(0, 3, 1, 2).to(x.dtype)
        return to_x, torch.from_numpy(d_embedded_query).to(embedded_query.dtype), to_weight, to_bias, None


def _differentiable_gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients by operators of PyTorch, so that they can be differentiated again."""
    # Views cut other paths in the graph: one input may have been computed from another.
    x, embedded_query, weight, bias = aliases = [given.view_as(given) for given in ctx.saved_tensors]
    with torch.autocast("cpu", enabled=False):
        hidden = (x.index_select(0, ctx.questions.image_index) + embedded_query[:, :, None, None]).to(weight.dtype)
        out = torch.nn.functional.conv2d(hidden.relu(), weight, bias).to(x.dtype)
    wanted = [alias for alias, needed in zip(aliases, ctx.needs_input_grad, strict=False) if needed]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return tuple(next(found) if needed else None for needed in ctx.needs_input_grad[:4])


def _maps(x: Tensor, embedded_query: Tensor, questions: GroupedQuestions) -> PassArguments:
    """Return the first arguments of each pass."""
    return questions, x.shape[2] * x.shape[3], x.shape[1], flat(to_channels_last(x)), flat(embedded_query.float())
