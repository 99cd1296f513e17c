"""The diagonal LSTM for GPUs, one launch for each pass of a layer, as an operator that PyTorch knows.

Products of the gates are made of what `products` says, sums, c and its gradient are fp32. The forward pass saves h and
c alone. Weight gradients are matrix products over all cells.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor
from torch.nn.functional import pad

from bench.kernels.diagonal_lstm import wavefront
from bench.kernels.diagonal_lstm.once import refuse_second

EMULATED = not isinstance(wavefront.forward, triton.JITFunction)
"""Whether Triton interprets, on a CPU."""


class Tiles(NamedTuple):
    """Sizes of a program's tiles, for rows of the map, channels, units and rows of the readout: powers of two."""

    rows: int
    inputs: int
    units: int
    shown: int


def tiles(m: int, channels: int, t: int, p: int) -> Tiles:
    return Tiles(_tile(m), _tile(channels), _tile(t), _tile(p))


def _tile(size: int) -> int:
    tile = 16
    while tile < size:
        tile *= 2
    return tile


def warps(tile: Tiles) -> int:
    return 8 if tile.rows * tile.units > 64 * 32 else 4


def takes(m: int, n: int, channels: int, t: int, p: int, products: str) -> bool:
    """Whether an SM has room for the program, as found by compiling some, and 32 bits count an image's numbers."""
    tile = tiles(m, channels, t, p)
    rows, weights = (128, 40_000) if products == "bf16" else (64, 12_800)
    fits = tile.rows <= rows and (tile.inputs + 2 * tile.units) * 4 * tile.units + tile.units * tile.shown <= weights
    return fits and (m + 2) * (n + 2) * max(4 * t, channels, p) < 2**31


@torch.compiler.assume_constant_result
def products(dtype: torch.dtype) -> str:
    """What is multiplied for what dtype.

    For fp32 the six products of bf16 that make one: of plain fp32 the compiler makes code that spills all it has. Or,
    where `torch.set_float32_matmul_precision` is below "highest", one of tf32.
    """
    if dtype == torch.bfloat16:
        return "bf16"
    return "bf16x6" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@torch.library.custom_op("bench::diagonal_lstm_triton", mutates_args=())
def operator(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, products: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """→ readout · h (2, B, p, m, n), and h and c, (2, B, m, n, t) each in its direction's columns, if `keep`."""
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    out, states, memories = _outputs(context, readout, keep)
    tile = tiles(m, channels, t, p)
    with torch.cuda.device_of(context):
        wavefront.forward[batch, 2](
            _cells(context),
            bias.contiguous(),
            kernel_x.contiguous(),
            kernel_h.contiguous(),
            readout.contiguous(),
            out,
            states,
            memories,
            batch,
            m,
            n,
            channels,
            t,
            p,
            *tile,
            KEEP=keep,
            PRODUCTS=products,
            EMULATED=EMULATED,
            num_warps=warps(tile),
        )
    return out, states, memories


def _outputs(context: Tensor, readout: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    (batch, _, m, n), (_, p, t) = context.shape, readout.shape
    kept = (2, batch, m, n, t) if keep else (0,)
    return context.new_empty(2, batch, p, m, n), context.new_empty(kept), context.new_empty(kept)


def _cells(context: Tensor) -> Tensor:
    """(B, C, m, n) → (B, m, n, C), a copy unless it lies so."""
    return context.permute(0, 2, 3, 1).contiguous()


@operator.register_fake
def _(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, products: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _outputs(context, readout, keep)


@torch.library.custom_op("bench::diagonal_lstm_triton_backward", mutates_args=())
def gradients(
    grad: Tensor,
    context: Tensor,
    bias: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    readout: Tensor,
    states: Tensor,
    memories: Tensor,
    products: str,
    with_readout: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of context, bias, both kernels and readout; the last is empty unless wanted."""
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    x, given = _cells(context), grad.contiguous()
    d_x = x.new_empty(2, batch, m, n, channels)
    d_gates = x.new_empty(2, batch, m, n, 4 * t)
    tile = tiles(m, channels, t, p)
    with torch.cuda.device_of(context):
        wavefront.backward[batch, 2](
            x,
            bias.contiguous(),
            kernel_x.contiguous(),
            kernel_h.contiguous(),
            readout.contiguous(),
            given,
            states,
            memories,
            d_x,
            d_gates,
            batch,
            m,
            n,
            channels,
            t,
            p,
            *tile,
            PRODUCTS=products,
            EMULATED=EMULATED,
            num_warps=warps(tile),
        )
    seen = torch.cat(
        [
            torch.stack([x, x.flip(2)]),
            pad(states[:, :, :-1], (0, 0, 0, 0, 1, 0)),
            pad(states[:, :, :, :-1], (0, 0, 1, 0)),
        ],
        -1,
    )
    d_kernel = d_gates.flatten(1, 3).transpose(1, 2) @ seen.flatten(1, 3)
    return (
        torch.add(*d_x).permute(0, 3, 1, 2),
        d_gates.flatten(2, 3).sum(2, dtype=torch.float32).to(bias.dtype),
        d_kernel[:, :, :channels].contiguous(),
        d_kernel[:, :, channels:].contiguous(),
        _of_readout(given, states) if with_readout else readout.new_empty(2, 0, t),
    )


def _of_readout(grad: Tensor, states: Tensor) -> Tensor:
    """grad (2, B, p, m, n), states (2, B, m, n, t), the right direction's mirrored and a row higher → (2, p, t)."""
    right = pad(grad[1, :, :, 1:].flip(-1), (0, 0, 0, 1))
    shown = torch.stack([grad[0], right]).transpose(1, 2).flatten(2)
    return shown @ states.flatten(1, 3)


@gradients.register_fake
def _(grad: Tensor, context: Tensor, *others: Any) -> tuple[Tensor, ...]:
    bias, kernel_x, kernel_h, readout = others[:4]
    batch, channels, m, n = context.shape
    return (
        context.new_empty(batch, m, n, channels).permute(0, 3, 1, 2),
        *(given.new_empty(given.shape) for given in (bias, kernel_x, kernel_h)),
        readout.new_empty(2, readout.shape[1] if others[-1] else 0, readout.shape[2]),
    )


def _save(ctx: Any, inputs: tuple, output: tuple[Tensor, Tensor, Tensor]) -> None:
    *arguments, ctx.products, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(*arguments, *output[1:])


def _backward(ctx: Any, grad: Tensor | None, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    if grad is None:
        return (None,) * 7
    wanted = ctx.needs_input_grad[4]
    *found, d_readout = gradients(grad, *ctx.saved_tensors, ctx.products, wanted)
    return (*found, d_readout if wanted else None, None, None)


operator.register_autograd(_backward, setup_context=_save)
gradients.register_autograd(refuse_second)


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """See `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    arguments = (context, bias, kernel_x, kernel_h, readout)
    keep = torch.is_grad_enabled() and any(a.requires_grad for a in arguments)
    return operator(*arguments, products(context.dtype), keep)[0]
