"""Reference implementation of the diagonal LSTM: a loop over the columns of the skewed map. Any dtype, any device.

ARNN (Khandelwal and Sigal, ICCV 2019) §3.1, after PixelRNN's Diagonal BiLSTM. Shapes as in `diagonal_lstm`: B batch, C
context channels, m × n map, t state width; axis 0 of length 2 is the direction (left, right).
"""

import torch
from torch import Tensor


def skew(x: Tensor) -> Tensor:
    """Return the map with row i shifted by i columns, padded with zeros (Fig. 3).

    Args:
        x: (B, C, m, n).

    Returns:
        (B, C, m, m + n − 1).
    """
    batch, channels, m, n = x.shape
    skewed = x.new_zeros(batch, channels, m, m + n - 1)
    for i in range(m):
        skewed[:, :, i, i : i + n] = x[:, :, i]
    return skewed


def unskew(x: Tensor, n: int) -> Tensor:
    """Return the inverse of `skew`: (B, C, m, m + n − 1) → (B, C, m, n)."""
    return torch.stack([x[:, :, i, i : i + n] for i in range(x.shape[2])], dim=2)


def one_direction(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
    """Return the states h (B, t, m, n) of the left LSTM (Eq. 8).

    h at (i, j) depends on the context at (i′, j′) with i′ ≤ i and j′ ≤ j. (The paper writes σ for all four gates,
    PixelRNN's shorthand; g goes through tanh.)

    Args:
        context: (B, C, m, n).
        bias: (B, 4t).
        kernel_x: (4t, C).
        kernel_h: (4t, 2t).
    """
    batch, _, m, n = context.shape
    t = kernel_h.shape[0] // 4
    gates_x = torch.einsum("gc,bcij->bgij", kernel_x, skew(context)) + bias[:, :, None, None]
    inside = skew(context.new_ones(1, 1, m, n))  # padding cells are not computed: their state stays zero
    h = c = context.new_zeros(batch, t, m)
    columns = []
    for gates_xj, inside_j in zip(gates_x.unbind(-1), inside.unbind(-1), strict=True):
        above = torch.nn.functional.pad(h, (1, 0))[:, :, :m]  # row r takes h of row r − 1 …
        seen = torch.cat([above, h], dim=1)  # … and of row r, both of the previous column
        gates = gates_xj + torch.einsum("gs,bsi->bgi", kernel_h, seen)
        o, f, i, g = gates.chunk(4, dim=1)
        c = (f.sigmoid() * c + i.sigmoid() * g.tanh()) * inside_j
        h = o.sigmoid() * c.tanh()
        columns.append(h)
    return unskew(torch.stack(columns, dim=-1), n)


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor) -> Tensor:
    """Return the states of both directions, see `bench.kernels.diagonal_lstm.diagonal_lstm`."""
    left = one_direction(context, bias[0], kernel_x[0], kernel_h[0])
    right = one_direction(context.flip(-1), bias[1], kernel_x[1], kernel_h[1]).flip(-1)
    shifted = torch.nn.functional.pad(right, (0, 0, 1, 0))[:, :, :-1]  # so that it has not seen its own row
    return torch.stack([left, shifted])


def weight_gradients(x: Tensor, states: Tensor, d_gates: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of all weights, given those of the gates' sums.

    Args:
        x: (B, m, n, C), the context.
        states: (2, B, m, n, t), h of each direction before the right one is mirrored back and shifted.
        d_gates: (2, B, m, n, 4t), the gradient of the gates' sums, in the same columns as `states`.
        grad: (2, B, p, m, n), the gradient of the output, readout · h.

    Returns:
        The gradients of bias (2, B, 4t), kernel_x (2, 4t, C), kernel_h (2, 4t, 2t) and readout (2, p, t).
    """
    shown = grad.permute(0, 1, 3, 4, 2)  # (2, B, m, n, p), in the columns and rows of the image
    right = torch.nn.functional.pad(shown[1, :, 1:].flip(2), (0, 0, 0, 0, 0, 1))  # the last row is shown nowhere
    context, shown = torch.stack([x, x.flip(2)]), torch.stack([shown[0], right])
    above = torch.nn.functional.pad(states[:, :, :-1], (0, 0, 0, 0, 1, 0))
    left = torch.nn.functional.pad(states[:, :, :, :-1], (0, 0, 1, 0))
    return (
        d_gates.sum((2, 3)),
        torch.einsum("dbijg,dbijc->dgc", d_gates, context),
        torch.einsum("dbijg,dbijs->dgs", d_gates, torch.cat([above, left], -1)),
        torch.einsum("dbijp,dbijt->dpt", shown, states),
    )
