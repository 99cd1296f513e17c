"""The diagonal LSTM of AttentionRNN: one signature, several implementations, and the choice between them."""

from collections.abc import Callable

import torch
from torch import Tensor

from bench.kernels.diagonal_lstm import packed, reference

IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "packed": packed.diagonal_lstm,
    "reference": reference.diagonal_lstm,
}


def diagonal_lstm(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, implementation: str = "packed"
) -> Tensor:
    """States of the left and right LSTM (ARNN §3.1, Eq. 8) over every cell of a map.

    Args:
        context: (B, C, m, n), the local context X^c.
        bias: (2, B, 4t), for each direction and image; a query that is the same everywhere enters here.
        kernel_x: (2, 4t, C), K^x of each direction; gates in the order o, f, i, g.
        kernel_h: (2, 4t, 2t), K^h: the first t columns meet the state above, the others the state to the left.
        implementation: one of `IMPLEMENTATIONS`.

    The states are computed in the dtype of the kernels, also under autocast: rounding would add up along the way.

    Returns:
        h, (2, B, t, m, n). h[0] at (i, j) has seen exactly the cells (i′, j′) with i′ ≤ i, j′ ≤ j; h[1] exactly those
        with i′ ≤ i − 1, j′ ≥ j, and is zero in the top row. Outside the map h = c = 0.

    Raises:
        ValueError: for an unknown implementation.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"no implementation {implementation!r} of the diagonal LSTM: {', '.join(IMPLEMENTATIONS)}")
    with torch.autocast(context.device.type, enabled=False):
        dtype = kernel_h.dtype
        return IMPLEMENTATIONS[implementation](context.to(dtype), bias.to(dtype), kernel_x, kernel_h)
