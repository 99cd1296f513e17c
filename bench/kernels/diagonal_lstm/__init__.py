"""The diagonal LSTM of AttentionRNN: one signature, several implementations, and the choice between them."""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bench.kernels.diagonal_lstm import reference, torch_packed
from bench.kernels.diagonal_lstm.implementation_log import ImplementationError, note
from bench.kernels.diagonal_lstm.self_test import example, problem_with, relative_error
from bench.kernels.transforms import in_func_transform

__all__ = ["ImplementationError", "diagonal_lstm", "example", "relative_error"]

VARIABLE = "BENCH_DIAGONAL_LSTM"
"""The environment variable that names the implementation, where no argument does."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest relative error, of values and of each gradient, that the self-test lets pass."""

PRODUCTS = {"bf16x6": 1e-5, "tf32": 1e-3, "bf16": 1e-2}
"""The same, for `triton`, by what it multiplies."""


def _read_out(states: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """For an implementation that gives h: the readout after it."""

    def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
        return torch.einsum("dpt,dbtij->dbpij", readout, states(context, bias, kernel_x, kernel_h))

    return diagonal_lstm


def _compiled(*arguments: Tensor) -> Tensor:
    from bench.kernels.diagonal_lstm import numba_op

    return numba_op.diagonal_lstm(*arguments)


def _launched(*arguments: Tensor) -> Tensor:
    from bench.kernels.diagonal_lstm import triton_op

    return triton_op.diagonal_lstm(*arguments)


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "cpu": _compiled,
    "packed": _read_out(torch_packed.diagonal_lstm),
    "reference": _read_out(reference.diagonal_lstm),
    "triton": _launched,
}
"""`cpu` is compiled by numba, for fp32 and fp64 on the CPU; `triton` for fp32 and bf16 on CUDA. The others are plain
PyTorch, for any device and dtype: `packed` is the faster, `reference` the plainer."""

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

    The states are computed in the dtype of the kernels, also under autocast: rounding would add up along the way. But
    `triton`, whose sums are of fp32 whatever it multiplies, takes bf16 from autocast, and tf32 where
    `torch.set_float32_matmul_precision` allows it.

    Returns:
        readout · h, (2, B, p, m, n). h[0] at (i, j) has seen exactly the cells (i′, j′) with i′ ≤ i, j′ ≤ j; h[1]
        exactly those with i′ ≤ i − 1, j′ ≥ j, and is zero in the top row. Outside the map h = c = 0.

    Raises:
        ImplementationError: for an unknown implementation, or one that does not take the device or the dtype; for
            "triton" where it does not work or does not take the sizes; and for any but "reference", which is the choice
            there, in a transform of `torch.func`, in forward-mode differentiation and in `torch.export`.
        NotImplementedError: in a second differentiation, which "reference" alone allows.
    """
    device, dtype = context.device, kernel_h.dtype
    chosen = choose(device.type, dtype, implementation)
    if context.numel() == 0:
        chosen = ELSEWHERE
    t, (_, channels, m, n) = kernel_h.shape[2] // 2, context.shape
    if chosen == "triton":
        if _is_cast(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16:
            dtype = torch.bfloat16
        problem = unfit(device, dtype, m, n, channels, t, t if readout is None else readout.shape[1])
        if problem:
            _refuse_fallback(problem, implementation, device.type)
            _warn_once(problem)
            chosen, dtype = ELSEWHERE, kernel_h.dtype
    if context.numel():
        note(chosen)
    with torch.autocast(device.type, enabled=False) if _is_cast(device.type) else nullcontext():
        if readout is None:
            readout = torch.eye(t, dtype=dtype, device=device).expand(2, t, t)
        kernels = kernel_x.to(dtype), kernel_h.to(dtype)
        return IMPLEMENTATIONS[chosen](context.to(dtype), bias.to(kernel_h.dtype), *kernels, readout.to(dtype))


@torch.compiler.assume_constant_result  # torch.compile runs it, and does not look inside
def choose(device: str, dtype: torch.dtype, implementation: str | None = None) -> str:
    """Return the implementation for a device and a dtype. Raise ImplementationError for one that does not take them.

    The environment variable is ignored for a dtype that its implementation does not take while it takes the device.
    Where the compiled one is named, or would be the choice, but does not work here: a warning, once, and `ELSEWHERE`.
    What `triton` works for depends on the sizes, see `unfit`.
    """
    name = implementation or wish(device, dtype)
    _refuse(name, device, dtype)
    if _takes_reference_alone():
        if implementation not in (None, "reference"):
            raise ImplementationError(
                f"the implementation {implementation!r} knows no torch.func transforms, no forward-mode "
                "differentiation and no torch.export; 'reference' does"
            )
        return "reference"
    on_cpu, on_gpu = _on_cpu(device, dtype), _on_gpu(device, dtype)
    if name == "cpu" or (name is None and on_cpu):
        return "cpu" if compiled_works(dtype) else ELSEWHERE
    return name or ("triton" if on_gpu else ELSEWHERE)


def _is_cast(device: str) -> bool:
    """Whether autocast is on. Some devices, such as meta, do not know it."""
    return _knows_autocast(device) and torch.is_autocast_enabled(device)


@torch.compiler.assume_constant_result  # torch.compile of PyTorch 2.11 cannot look inside
def _knows_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


def _takes_reference_alone() -> bool:
    """Whether a transform of `torch.func`, forward-mode differentiation or `torch.export` is on.

    An exported program is for places where this package is not, so it has PyTorch's own operators alone.
    """
    return in_func_transform() or forward_ad._current_level >= 0 or torch.compiler.is_exporting()


def wish(device: str, dtype: torch.dtype = torch.float32) -> str | None:
    """Return what the environment variable asks for, if anything.

    Raise ImplementationError for what the device takes in no dtype.
    """
    name = os.environ.get(VARIABLE) or None
    _refuse(name, device, torch.float32)
    fits = {"cpu": _on_cpu(device, dtype), "triton": dtype in (torch.float32, torch.bfloat16)}
    return name if fits.get(name or "", True) else None


def _refuse(name: str | None, device: str, dtype: torch.dtype) -> None:
    if name is not None and name not in IMPLEMENTATIONS:
        raise ImplementationError(f"no implementation {name!r} of the diagonal LSTM: {', '.join(IMPLEMENTATIONS)}")
    if name == "cpu" and not _on_cpu(device, dtype):
        raise ImplementationError(f"the implementation 'cpu' takes fp32 and fp64 on the CPU, not {dtype} on {device}")
    if name == "triton" and not _on_gpu(device, dtype):
        raise ImplementationError(f"the implementation 'triton' takes fp32 and bf16 on CUDA, not {dtype} on {device}")


def _refuse_fallback(problem: str, implementation: str | None, device: str) -> None:
    """Raise ImplementationError where `triton`, which has a problem, was asked for by name."""
    asked = f"the implementation {implementation!r}" if implementation else f"{VARIABLE}={wish(device)}"
    if "triton" in (implementation, wish(device)):
        raise ImplementationError(
            f"{asked}: the Triton diagonal LSTM does not work here ({problem}); leave that out to fall back on "
            f"{ELSEWHERE!r}, which takes longer"
        )


def _on_cpu(device: str, dtype: torch.dtype) -> bool:
    return device == "cpu" and dtype in TOLERANCE


def _on_gpu(device: str, dtype: torch.dtype) -> bool:
    return dtype in (torch.float32, torch.bfloat16) and (device == "cuda" or _interpreted())


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def unfit(device: torch.device, dtype: torch.dtype, m: int, n: int, channels: int, t: int, p: int) -> str:
    """Return why `triton` cannot be used for these sizes here, or an empty string.

    Under torch.compile, where sizes may be unknown, whether it works is tried for the usual ones.
    """
    if problem := _import_problem():
        return problem
    from bench.kernels.diagonal_lstm import triton_op

    compiling = torch.compiler.is_compiling()
    if not triton_op.takes(m, n, channels, t, p, triton_op.products(dtype)):
        if compiling:
            return "an SM has no room for these sizes"
        return (
            f"an SM has no room for a map of {m} × {n} with {channels} channels, {t} units and {p} rows of the readout "
            f"in {triton_op.products(dtype)}"
        )
    if compiling:
        return _problem_of(device, dtype, 64, 32, 32, 2)
    return _problem_of(device, dtype, triton_op.tiles(m, channels, t, p).rows, channels, t, p)


@torch.compiler.assume_constant_result
def _problem_of(device: torch.device, dtype: torch.dtype, rows: int, channels: int, t: int, p: int) -> str:
    from bench.kernels.diagonal_lstm import triton_op

    return triton_problem(device, dtype, triton_op.products(dtype), 4 if _interpreted() else rows, channels, t, p)


@torch.compiler.assume_constant_result
def _import_problem() -> str:
    return import_problem()


@lru_cache
def import_problem() -> str:
    """Return why Triton is not there, or an empty string."""
    try:
        import_module("bench.kernels.diagonal_lstm.triton_op")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@lru_cache
def compiled_works(dtype: torch.dtype) -> bool:
    """Whether the compiled implementation is there and right; if not, one warning says why."""
    sizes = {"batch": 33, "m": 3, "n": 4, "channels": 5, "t": 6, "p": 2}
    problem = _tried("cpu", torch.device("cpu"), dtype, TOLERANCE[dtype], sizes)
    if problem:
        _warn("compiled", problem)
    return not problem


@lru_cache
def triton_problem(
    device: torch.device, dtype: torch.dtype, products: str, rows: int, channels: int, t: int, p: int
) -> str:
    """Return why `triton`, whose compiler makes another program for each of these sizes, does not work for them."""
    sizes = {"batch": 2, "m": rows - 1, "n": 4, "channels": channels, "t": t, "p": p}
    return _tried("triton", device, dtype, PRODUCTS[products], sizes)


def _tried(name: str, device: torch.device, dtype: torch.dtype, tolerance: float, sizes: dict[str, int]) -> str:
    both = IMPLEMENTATIONS[name], IMPLEMENTATIONS["reference"]
    with ThreadPoolExecutor(1) as aside:  # where no mode of the caller's (fake tensors, inference, autocast) is on
        return aside.submit(problem_with, *both, device, dtype, tolerance, sizes).result()


@torch.compiler.assume_constant_result
def _warn_once(problem: str) -> None:
    warn_of_triton(problem)


@lru_cache
def warn_of_triton(problem: str) -> None:
    """Warn that `ELSEWHERE` runs in place of `triton`, once of each problem."""
    _warn("Triton", problem)


def _warn(kind: str, problem: str) -> None:
    warnings.warn(
        f"the {kind} diagonal LSTM does not work here ({problem}): {ELSEWHERE!r} takes over, and takes longer",
        RuntimeWarning,
        stacklevel=6,
    )
