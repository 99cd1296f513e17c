"""What the compiled diagonal LSTMs of the CPU, `numba_op` and `amx_op`, have in common."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from bench.kernels.diagonal_lstm.first_order import refuse_second


class GroupTask(NamedTuple):
    """One direction over a group of images."""

    direction: int  # 0 left, 1 right
    group: int
    first: int  # image
    lanes: int
    used: int  # images
    kept: slice  # of the numbers saved for the backward pass
    map: slice  # of the numbers of the maps of all groups


def array(x: Tensor) -> np.ndarray:
    """Return a tensor as an array, which shares its memory if it is contiguous."""
    return x.detach().contiguous().numpy()


def by_unit(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (gate, unit) as (unit, gate), along `dim`."""
    return torch.unflatten(gates, dim, (4, -1)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def by_gate(gates: Tensor, dim: int) -> Tensor:
    """Return gates in the order (unit, gate) as (gate, unit), along `dim`."""
    return torch.unflatten(gates, dim, (-1, 4)).transpose(dim, dim + 1).flatten(dim, dim + 1)


def interleave_four_rows(rows: Tensor) -> np.ndarray:
    """Return (2, R, S) as (2, R′/4 · S · 4): the S columns of each four rows, padded with zeros."""
    rows = pad(rows, (0, 0, 0, -rows.shape[1] % 4))
    return array(rows.unflatten(1, (-1, 4)).transpose(2, 3).flatten(1))


def sum_groups(parts: Tensor) -> Tensor:
    """Return the sum over the groups, in a fixed order."""
    result = parts[0].clone()
    for part in parts[1:]:
        result += part
    return result


def register_gradients(operator: Any, gradients: Any) -> None:
    """Register the gradients of an operator, both as in `numba_op`. They cannot be differentiated again."""

    def save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        context, _, kernel_x, kernel_h, readout, _ = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(context, kernel_x, kernel_h, readout, output[1])

    def backward(ctx: Any, grad: Tensor | None, _: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 6
        wanted = ctx.needs_input_grad[4]
        *found, d_readout = gradients(grad, *ctx.saved_tensors, wanted)
        return (*found, d_readout if wanted else None, None)

    operator.register_autograd(backward, setup_context=save)
    gradients.register_autograd(refuse_second)


def call(operator: Any, *arguments: Tensor) -> Tensor:
    """Return the states by an operator, which saves what its gradients need, if they can be asked for."""
    keep = torch.is_grad_enabled() and any(given.requires_grad for given in arguments)
    states: Tensor = operator(*arguments, keep)[0]
    return states
