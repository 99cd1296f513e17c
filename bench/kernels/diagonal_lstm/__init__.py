"""The diagonal LSTM of AttentionRNN: one signature, several implementations, and the choice between them."""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib import import_module

import torch
from torch import Tensor

from bench.kernels.diagonal_lstm import packed, reference

VARIABLE = "BENCH_DIAGONAL_LSTM"
"""The environment variable that names the implementation, where no argument does."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest relative error, of values and of each gradient, that the self-test lets pass."""


def _read_out(states: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """For an implementation that gives h: the readout after it."""

    def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
        return torch.einsum("dpt,dbtij->dbpij", readout, states(context, bias, kernel_x, kernel_h))

    return diagonal_lstm


def _compiled(*arguments: Tensor) -> Tensor:
    from bench.kernels.diagonal_lstm import cpu

    return cpu.diagonal_lstm(*arguments)


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "cpu": _compiled,
    "packed": _read_out(packed.diagonal_lstm),
    "reference": _read_out(reference.diagonal_lstm),
}
"""`cpu` is compiled by numba, for fp32 and fp64 on the CPU. The others are plain PyTorch, for any device and dtype:
`packed` is the faster, `reference` the plainer."""

ELSEWHERE = "packed"
"""What runs where no compiled implementation can."""


def diagonal_lstm(
    context: Tensor,
    bias: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    implementation: str | None = None,
    readout: Tensor | None = None,
) -> Tensor:
    """States of the left and right LSTM (ARNN §3.1, Eq. 8) over every cell of a map, or a linear function of them.

    Args:
        context: (B, C, m, n), the local context X^c.
        bias: (2, B, 4t), for each direction and image; a query that is the same everywhere enters here.
        kernel_x: (2, 4t, C), K^x of each direction; gates in the order o, f, i, g.
        kernel_h: (2, 4t, 2t), K^h: the first t columns meet the state above, the others the state to the left.
        implementation: one of `IMPLEMENTATIONS`; None for that of the environment variable BENCH_DIAGONAL_LSTM, and
            without it the fastest that takes the device and the dtype.
        readout: (2, p, t), what of h is wanted, such as the weights of f_l and f_r (Eq. 10); None for h itself. A few
            rows cost next to nothing, while h is larger than the context.

    The states are computed in the dtype of the kernels, also under autocast: rounding would add up along the way.

    Returns:
        readout · h, (2, B, p, m, n). h[0] at (i, j) has seen exactly the cells (i′, j′) with i′ ≤ i, j′ ≤ j; h[1]
        exactly those with i′ ≤ i − 1, j′ ≥ j, and is zero in the top row. Outside the map h = c = 0.

    Raises:
        ValueError: for an unknown implementation, or one that does not take the device or the dtype.
    """
    device, dtype = context.device.type, kernel_h.dtype
    chosen = choose(device, dtype, implementation)
    with torch.autocast(device, enabled=False):
        if readout is None:
            t = kernel_h.shape[2] // 2
            readout = torch.eye(t, dtype=dtype, device=context.device).expand(2, t, t)
        if context.numel() == 0:
            chosen = ELSEWHERE
        return IMPLEMENTATIONS[chosen](context.to(dtype), bias.to(dtype), kernel_x, kernel_h, readout.to(dtype))


@torch.compiler.assume_constant_result  # torch.compile runs it, and does not look inside
def choose(device: str, dtype: torch.dtype, implementation: str | None = None) -> str:
    """The implementation for a device and a dtype; a wish that cannot be met is a ValueError.

    Where the compiled one is wished for, or would be the choice, but does not work here: a warning, once, and
    `ELSEWHERE`.
    """
    name = implementation or os.environ.get(VARIABLE) or None
    if name is not None and name not in IMPLEMENTATIONS:
        raise ValueError(f"no implementation {name!r} of the diagonal LSTM: {', '.join(IMPLEMENTATIONS)}")
    fits = device == "cpu" and dtype in TOLERANCE
    if name == "cpu" and not fits:
        raise ValueError(f"the implementation 'cpu' takes fp32 and fp64 on the CPU, not {dtype} on {device}")
    if name == "cpu" or (name is None and fits):
        return "cpu" if compiled_works(dtype) else ELSEWHERE
    return name or ELSEWHERE


@lru_cache
def compiled_works(dtype: torch.dtype) -> bool:
    """Whether the compiled implementation is there and right; if not, one warning says why."""
    # In a thread of its own, where no mode of the caller's (fake tensors, inference, autocast) is on.
    with ThreadPoolExecutor(1) as aside:
        problem = aside.submit(_problem, dtype).result()
    if problem:
        warnings.warn(
            f"the compiled diagonal LSTM does not work here ({problem}): {ELSEWHERE!r} takes over, and takes longer",
            RuntimeWarning,
            stacklevel=4,
        )
    return not problem


def _problem(dtype: torch.dtype) -> str:
    """Why the compiled implementation cannot be used, or an empty string: the self-test."""
    try:
        import_module("bench.kernels.diagonal_lstm.cpu")
        inputs = example(batch=33, m=3, n=4, channels=5, t=6, p=2)
        given = [x.to(dtype).requires_grad_() for x in inputs]
        exact = [x.requires_grad_() for x in inputs]
        results = []
        for name, arguments in (("cpu", given), ("reference", exact)):
            out = IMPLEMENTATIONS[name](*arguments)
            results.append((out, *torch.autograd.grad(out.square().sum(), arguments)))
    except Exception as error:  # whatever it is, there is another implementation
        return f"{type(error).__name__}: {error}"
    worst = max(relative_error(a, b) for a, b in zip(*results, strict=True))
    return "" if worst <= TOLERANCE[dtype] else f"its error is {worst:.1e}"


def relative_error(rough: Tensor, exact: Tensor) -> float:
    """‖rough − exact‖ / ‖exact‖, in the precision of `exact`."""
    rough, exact = rough.detach().to(exact.dtype), exact.detach()
    return float((rough - exact).norm() / exact.norm().clamp_min(torch.finfo(exact.dtype).tiny))


def example(batch: int, m: int, n: int, channels: int, t: int, p: int, seed: int = 0) -> list[Tensor]:
    """Arguments of `diagonal_lstm` in fp64, readout last; the gates' sums are of the order of one."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (batch, channels, m, n), (2, batch, 4 * t), (2, 4 * t, channels), (2, 4 * t, 2 * t), (2, p, t)
    scales = 1.0, 1.0, channels**-0.5, (2 * t) ** -0.5, t**-0.5
    return [
        torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
        for shape, scale in zip(shapes, scales, strict=True)
    ]
