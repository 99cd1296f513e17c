"""The diagonal LSTM for GPUs as a PyTorch operator: one kernel launch for each pass of a layer.

`products` gives the precision of products; sums, c and its gradient are fp32. The forward pass saves only h and c. A
third launch computes the gradients of all weights per image; they are summed over the images in fp32.
"""

from typing import Any, NamedTuple

import torch
import triton
from torch import Tensor

from bench.kernels.diagonal_lstm import triton_kernels, triton_weights
from bench.kernels.diagonal_lstm.first_order import refuse_second

EMULATED = not isinstance(triton_kernels.forward, triton.JITFunction)
"""Whether Triton's interpreter runs the kernels on a CPU."""


class Tiles(NamedTuple):
    """Sizes of a program's tiles, for rows of the map, channels, units and rows of the readout: powers of two."""

    rows: int
    inputs: int
    units: int
    shown: int


def tiles(m: int, channels: int, t: int, p: int) -> Tiles:
    """Return the tiles for m rows of the map, channels of the context, t units and p rows of the readout."""
    return Tiles(_tile(m), _tile(channels), _tile(t), _tile(p))


def _tile(size: int) -> int:
    tile = 16
    while tile < size:
        tile *= 2
    return tile


def warps(tile: Tiles) -> int:
    """Return the number of warps of a program of either pass."""
    return 8 if tile.rows * tile.units > 64 * 32 else 4


def stages(products: str) -> int:
    """Return for how many steps of a pass cells are in shared memory at once. fp32 needs at least twice the space."""
    return 3 if products == "bf16" else 2


def warps_of_weights(tile: Tiles, products: str) -> int:
    """Return the number of warps of a program of `weight_gradients`, whose threads hold all sums in registers."""
    sums = 4 * tile.units * (tile.inputs + 2 * tile.units)
    return 4 if products == "bf16" and sums <= 128 * 96 else 8


def cells_at_once(tile: Tiles, products: str) -> int:
    """Return how many cells a program of `weight_gradients` multiplies at once.

    Shared memory also holds the cells of the next steps.
    """
    return 64 if products == "bf16" and tile.inputs <= 256 else 32


SHARED_BYTES = 232_448
"""Shared memory of an SM for one program, on an H100 or H200. The self-test detects devices with less."""


def supports_sizes(m: int, n: int, channels: int, t: int, p: int, products: str) -> bool:
    """Return whether programs of these sizes fit an SM, and 32 bits can index the numbers of an image.

    The bounds on rows and weights were found by compiling for sm_90 with Triton 3.6 and 3.8. Within those of fp32 the
    largest program has 220,160 bytes of shared memory.

    Args:
        m: rows of the map.
        n: columns of the map.
        channels: channels of the context.
        t: units.
        p: rows of the readout.
        products: precision of products, see `PRODUCTS` of the package.
    """
    tile = tiles(m, channels, t, p)
    weights = (tile.inputs + 2 * tile.units) * 4 * tile.units + tile.units * tile.shown
    if products == "bf16":
        fits = tile.rows <= 128 and weights <= 40_000 and shared_bytes(tile) <= SHARED_BYTES
    else:
        fits = tile.rows <= 64 and weights <= 12_800 and tile.shown <= 64
    return fits and (m + 2) * (n + 2) * max(4 * t, channels, p) < 2**31


def shared_bytes(tile: Tiles) -> int:
    """Return an upper bound of the shared memory of `triton_kernels.backward` in bf16, the program that needs most.

    It holds cells of the current steps, weights, and layout conversions. The factors were fitted to 64 sizes compiled
    for sm_90. For sizes that fit an SM, the bound exceeds the actual size by at most 46,000 bytes.
    """
    rows, inputs, units, shown = tile
    cells, weights = rows * (5.2 * inputs + 22 * units), units * (15.5 * inputs + 40 * units)
    return round(cells + weights + (shown - 16) * (1.6 * rows + units))


@torch.compiler.assume_constant_result
def products(dtype: torch.dtype) -> str:
    """Return the precision of products for a dtype.

    fp32 uses six products of bf16, because the compiler's code for plain fp32 spills registers. If
    `torch.set_float32_matmul_precision` is below "highest", it uses one product of tf32.
    """
    if dtype == torch.bfloat16:
        return "bf16"
    return "bf16x6" if torch.get_float32_matmul_precision() == "highest" else "tf32"


@torch.library.custom_op("bench::diagonal_lstm_triton", mutates_args=())
def operator(
    context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor, products: str, keep: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return readout · h (2, B, p, m, n), and if `keep` also h and c, (2, B, m, n, t), in their direction's columns.

    All arguments but the last two are those of the package's `diagonal_lstm`; `products` is one of its `PRODUCTS`.
    """
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    out, states, memories = _outputs(context, readout, keep)
    tile = tiles(m, channels, t, p)
    with torch.cuda.device_of(context):
        triton_kernels.forward[batch, 2](
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
            num_stages=stages(products),
        )
    return out, states, memories


def _outputs(context: Tensor, readout: Tensor, keep: bool) -> tuple[Tensor, Tensor, Tensor]:
    (batch, _, m, n), (_, p, t) = context.shape, readout.shape
    kept = (2, batch, m, n, t) if keep else (0,)
    return context.new_empty(2, batch, p, m, n), context.new_empty(kept), context.new_empty(kept)


def _cells(context: Tensor) -> Tensor:
    """Return (B, C, m, n) as contiguous (B, m, n, C), without a copy if possible."""
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
    """Return the gradients of context, bias, both kernels and readout; the last is empty unless requested.

    `grad` (2, B, p, m, n) is that of the output; `states` and `memories` are the h and c that `operator` saved.
    """
    (batch, channels, m, n), (_, p, t) = context.shape, readout.shape
    x, given = _cells(context), grad.contiguous()
    d_x = x.new_empty(2, batch, m, n, channels)
    d_gates = x.new_empty(2, batch, m, n, 4 * t)
    tile = tiles(m, channels, t, p)
    with torch.cuda.device_of(context):
        triton_kernels.backward[batch, 2](
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
            num_stages=stages(products),
        )
    d_bias, d_kernel_x, d_kernel_h, d_readout = weight_gradients(x, states, d_gates, given, products)
    return (
        torch.add(*d_x).permute(0, 3, 1, 2),
        d_bias.to(bias.dtype),
        d_kernel_x.to(kernel_x.dtype).contiguous(),
        d_kernel_h.to(kernel_h.dtype).contiguous(),
        d_readout.to(readout.dtype).contiguous() if with_readout else readout.new_empty(2, 0, t),
    )


def weight_gradients(
    x: Tensor, states: Tensor, d_gates: Tensor, grad: Tensor, products: str
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of all weights, in fp32. `reference.weight_gradients` is the reference.

    Args:
        x: (B, m, n, C), the context.
        states: (2, B, m, n, t), h in the columns of its direction, as `operator` saves it.
        d_gates: (2, B, m, n, 4t), the gradient of the gates' sums, in the columns of its direction.
        grad: (2, B, p, m, n), the gradient of the output.
        products: precision of products, see `PRODUCTS` of the package. Sums are fp32.

    Returns:
        The gradients of bias (2, B, 4t), kernel_x (2, 4t, C), kernel_h (2, 4t, 2t) and readout (2, p, t).
    """
    (batch, m, n, channels), t, p = x.shape, states.shape[4], grad.shape[2]
    sizes = 4 * t * channels, 8 * t * t, p * t
    d_bias = x.new_empty(2, batch, 4 * t, dtype=torch.float32)
    parts = x.new_empty(2, batch, sum(sizes), dtype=torch.float32)
    tile = tiles(m, channels, t, p)
    with torch.cuda.device_of(x):
        triton_weights.weight_gradients[batch, 2](
            *(x, states, d_gates, grad, d_bias, parts),
            *(batch, m, n, channels, t, p),
            CELLS=cells_at_once(tile, products),
            INPUTS=tile.inputs,
            UNITS=tile.units,
            SHOWN=tile.shown,
            PRODUCTS=products,
            EMULATED=EMULATED,
            num_warps=warps_of_weights(tile, products),
        )
    shapes = (4 * t, channels), (4 * t, 2 * t), (p, t)
    sums = zip(parts.sum(1).split(sizes, 1), shapes, strict=True)
    d_kernel_x, d_kernel_h, d_readout = (part.unflatten(1, shape) for part, shape in sums)
    return d_bias, d_kernel_x, d_kernel_h, d_readout


@gradients.register_fake
def _(grad: Tensor, context: Tensor, *others: Any) -> tuple[Tensor, ...]:
    bias, kernel_x, kernel_h, readout = others[:4]
    batch, channels, m, n = context.shape
    return (
        context.new_empty(batch, m, n, channels).permute(0, 3, 1, 2),
        *(given.new_empty(given.shape) for given in (bias, kernel_x, kernel_h)),
        readout.new_empty(2, readout.shape[1] if others[-1] else 0, readout.shape[2]),
    )


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
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
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`. Differentiable once."""
    arguments = (context, bias, kernel_x, kernel_h, readout)
    keep = torch.is_grad_enabled() and any(a.requires_grad for a in arguments)
    states: Tensor = operator(*arguments, products(context.dtype), keep)[0]
    return states
