"""The diagonal LSTM of AttentionRNN: one signature, several implementations, and the selection of one of them."""

import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from importlib import import_module

import torch
from torch import Tensor
from torch.autograd import forward_ad

from bench.kernels.diagonal_lstm import amx, reference, torch_packed
from bench.kernels.diagonal_lstm.implementation_log import ImplementationError, record_implementation
from bench.kernels.diagonal_lstm.self_test import example, in_new_thread, problem_with, read_out, relative_error
from bench.kernels.transforms import assume_constant_result, in_func_transform

__all__ = ["ImplementationError", "diagonal_lstm", "example", "relative_error"]

VARIABLE = "BENCH_DIAGONAL_LSTM"
"""Environment variable with the name of the implementation, for calls without the argument `implementation`."""

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
"""Largest relative error of values and of each gradient that the self-test of `cpu` accepts."""

PRODUCTS = {"bf16x6": 1e-5, "tf32": 1e-3, "bf16": 1e-2}
"""Largest relative error that the self-test of `triton` accepts, by the precision of its products."""


def _compiled(*arguments: Tensor) -> Tensor:
    from bench.kernels.diagonal_lstm import numba_op

    return numba_op.diagonal_lstm(*arguments)


def _launched(*arguments: Tensor) -> Tensor:
    from bench.kernels.diagonal_lstm import triton_op

    return triton_op.diagonal_lstm(*arguments)


IMPLEMENTATIONS: dict[str, Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]] = {
    "cpu": _compiled,
    "packed": read_out(torch_packed.diagonal_lstm),
    "reference": read_out(reference.diagonal_lstm),
    "triton": _launched,
}
"""`cpu` is compiled by numba for fp32 and fp64 on the CPU; `triton` takes fp32 and bf16 on CUDA. The others are PyTorch
operators for any device and dtype: `packed` is faster, `reference` is simpler."""

RECORDED = frozenset({*IMPLEMENTATIONS, amx.NAME})
"""The names that records may contain."""

FALLBACK = "packed"
"""The implementation that is used if no compiled one is available."""


def diagonal_lstm(
    context: Tensor,
    bias: Tensor,
    kernel_x: Tensor,
    kernel_h: Tensor,
    implementation: str | None = None,
    readout: Tensor | None = None,
) -> Tensor:
    """Return the states of the left and right LSTM (ARNN §3.1, Eq. 8) in each cell of a map, or a readout of them.

    States are computed in the dtype of the kernels, also under autocast, because rounding errors would accumulate.
    There are two exceptions, which always sum in fp32. `triton` multiplies in bf16 under autocast to bf16, and in tf32
    if `torch.set_float32_matmul_precision` allows it. `cpu` multiplies in bf16 under autocast to bf16 if the processor
    has AMX; records call this implementation `amx`.

    Args:
        context: (B, C, m, n), the local context X^c.
        bias: (2, B, 4t), for each direction and image. A query that is the same at every position is part of it.
        kernel_x: (2, 4t, C), K^x of each direction; gates in the order o, f, i, g.
        kernel_h: (2, 4t, 2t), K^h: the first t columns multiply the state above, the others the state to the left.
        implementation: one of `IMPLEMENTATIONS`. By default, the one that the environment variable
            BENCH_DIAGONAL_LSTM names; if it is not set, the fastest that supports the device and the dtype.
        readout: (2, p, t), linear functions of h, such as the weights of f_l and f_r (Eq. 10); None for h itself.

    Returns:
        readout · h, (2, B, p, m, n). h[0] at (i, j) depends on exactly the cells (i′, j′) with i′ ≤ i and j′ ≤ j; h[1]
        on exactly those with i′ ≤ i − 1 and j′ ≥ j, and is zero in the top row. Outside the map h = c = 0.

    Raises:
        ImplementationError: the implementation does not exist, or does not support the device or the dtype; "triton"
            does not work here, or does not support the sizes; or it is not "reference" inside a transform of
            `torch.func`, in forward-mode differentiation or in `torch.export`, which "reference" only supports.
        NotImplementedError: a second differentiation of an implementation other than "reference".
    """
    device, dtype = context.device, kernel_h.dtype
    chosen = resolve_implementation(device.type, dtype, implementation)
    if context.numel() == 0:
        chosen = FALLBACK
    t, (_, channels, m, n) = kernel_h.shape[2] // 2, context.shape
    is_half = _is_cast(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16
    if chosen == "cpu" and dtype == torch.float32 and is_half and amx.supports_sizes(channels, t) and amx.works():
        chosen, dtype = amx.NAME, torch.bfloat16
    if chosen == "triton":
        if is_half:
            dtype = torch.bfloat16
        problem = describe_triton_problem(device, dtype, m, n, channels, t, t if readout is None else readout.shape[1])
        if problem:
            _require_fallback_allowed(problem, implementation, device.type)
            _warn_once(problem)
            chosen, dtype = FALLBACK, kernel_h.dtype
    if context.numel():
        record_implementation(chosen)
    with torch.autocast(device.type, enabled=False) if _is_cast(device.type) else nullcontext():
        if readout is None:
            readout = torch.eye(t, dtype=dtype, device=device).expand(2, t, t)
        kernels = kernel_x.to(dtype), kernel_h.to(dtype)
        compute = amx.diagonal_lstm if chosen == amx.NAME else IMPLEMENTATIONS[chosen]
        return compute(context.to(dtype), bias.to(kernel_h.dtype), *kernels, readout.to(dtype))


@assume_constant_result  # torch.compile calls it once, without tracing it
def resolve_implementation(device: str, dtype: torch.dtype, implementation: str | None = None) -> str:
    """Return the name of the implementation for a device and a dtype.

    The environment variable is ignored if its implementation supports the device, but not the dtype. If the compiled
    implementation fails its self-test, `FALLBACK` is returned, with one warning. Whether `triton` works depends on the
    sizes, see `describe_triton_problem`.

    Raises:
        ImplementationError: the implementation does not exist, or does not support the device, the dtype or the
            current transform.
    """
    name = implementation or requested_implementation(device, dtype)
    _require_supported(name, device, dtype)
    if _is_reference_needed():
        if implementation not in (None, "reference"):
            raise ImplementationError(
                f"the implementation {implementation!r} does not support torch.func transforms, forward-mode "
                "differentiation and torch.export; use 'reference'"
            )
        return "reference"
    on_cpu, on_gpu = _on_cpu(device, dtype), _on_gpu(device, dtype)
    if name == "cpu" or (name is None and on_cpu):
        return "cpu" if compiled_works(dtype) else FALLBACK
    return name or ("triton" if on_gpu else FALLBACK)


def _is_cast(device: str) -> bool:
    """Return whether autocast is on. Some devices, such as meta, do not support it."""
    return _supports_autocast(device) and torch.is_autocast_enabled(device)


@assume_constant_result  # torch.compile of PyTorch 2.11 cannot trace it
def _supports_autocast(device: str) -> bool:
    return torch.amp.is_autocast_available(device)


def _is_reference_needed() -> bool:
    """Return whether `torch.func`, forward-mode differentiation or `torch.export` (without own operators) is active."""
    return in_func_transform() or forward_ad._current_level >= 0 or torch.compiler.is_exporting()


def requested_implementation(device: str, dtype: torch.dtype = torch.float32) -> str | None:
    """Return the implementation that the environment variable names; None if it is not set, or not for this dtype.

    Raises:
        ImplementationError: the implementation does not exist, or does not support the device with any dtype.
    """
    name = os.environ.get(VARIABLE) or None
    _require_supported(name, device, torch.float32)
    supported = {"cpu": _on_cpu(device, dtype), "triton": dtype in (torch.float32, torch.bfloat16)}
    return name if supported.get(name or "", True) else None


def _require_supported(name: str | None, device: str, dtype: torch.dtype) -> None:
    if name is not None and name not in IMPLEMENTATIONS:
        raise ImplementationError(f"no implementation {name!r} of the diagonal LSTM: give {', '.join(IMPLEMENTATIONS)}")
    if name == "cpu" and not _on_cpu(device, dtype):
        raise ImplementationError(f"the implementation 'cpu' takes fp32 and fp64 on the CPU, not {dtype} on {device}")
    if name == "triton" and not _on_gpu(device, dtype):
        raise ImplementationError(f"the implementation 'triton' takes fp32 and bf16 on CUDA, not {dtype} on {device}")


def _require_fallback_allowed(problem: str, implementation: str | None, device: str) -> None:
    """Raise ImplementationError if `triton`, which has a problem, was requested by name."""
    requested = (
        f"the implementation {implementation!r}" if implementation else f"{VARIABLE}={requested_implementation(device)}"
    )
    if "triton" in (implementation, requested_implementation(device)):
        raise ImplementationError(
            f"{requested}: the Triton diagonal LSTM does not work here ({problem}); leave it out to use the slower "
            f"{FALLBACK!r}"
        )


def _on_cpu(device: str, dtype: torch.dtype) -> bool:
    return device == "cpu" and dtype in TOLERANCE


def _on_gpu(device: str, dtype: torch.dtype) -> bool:
    return dtype in (torch.float32, torch.bfloat16) and (device == "cuda" or _interpreted())


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def describe_triton_problem(
    device: torch.device, dtype: torch.dtype, m: int, n: int, channels: int, t: int, p: int
) -> str:
    """Return why `triton` cannot be used for these sizes on this device; "" if it can.

    Under torch.compile, sizes may be unknown, so the self-test uses typical ones.

    Args:
        device: the device.
        dtype: dtype of the computation.
        m: height of the map.
        n: width of the map.
        channels: C of the context.
        t: units of the LSTM.
        p: rows of the readout.
    """
    problem: str = _import_problem()
    if problem:
        return problem
    from bench.kernels.diagonal_lstm import triton_op

    compiling = torch.compiler.is_compiling()
    if not triton_op.supports_sizes(m, n, channels, t, p, triton_op.products(dtype)):
        if compiling:
            return "an SM has no room for these sizes"
        return (
            f"an SM has no room for a map of {m} × {n} with {channels} channels, {t} units and {p} rows of the readout "
            f"in {triton_op.products(dtype)}"
        )
    if compiling:
        problem = _cached_self_test(device, dtype, 64, 32, 32, 2)
    else:
        problem = _cached_self_test(device, dtype, triton_op.tiles(m, channels, t, p).rows, channels, t, p)
    return problem


@assume_constant_result
def _cached_self_test(device: torch.device, dtype: torch.dtype, rows: int, channels: int, t: int, p: int) -> str:
    from bench.kernels.diagonal_lstm import triton_op

    return triton_self_test(device, dtype, triton_op.products(dtype), 4 if _interpreted() else rows, channels, t, p)


@assume_constant_result
def _import_problem() -> str:
    return triton_import_problem()


@lru_cache
def triton_import_problem() -> str:
    """Return why Triton cannot be imported; "" if it can."""
    try:
        import_module("bench.kernels.diagonal_lstm.triton_op")
    except ImportError as error:
        return f"{type(error).__name__}: {error}"
    return ""


@lru_cache
def compiled_works(dtype: torch.dtype) -> bool:
    """Return whether the compiled implementation passes its self-test; if not, warn once."""
    sizes = {"batch": 33, "m": 3, "n": 4, "channels": 5, "t": 6, "p": 2}
    problem = _self_test("cpu", torch.device("cpu"), dtype, TOLERANCE[dtype], sizes)
    if problem:
        _warn("compiled", problem)
    return not problem


@lru_cache
def triton_self_test(
    device: torch.device, dtype: torch.dtype, products: str, rows: int, channels: int, t: int, p: int
) -> str:
    """Return why `triton`, which compiles separate kernels for each size, fails its self-test; "" if it passes."""
    sizes = {"batch": 2, "m": rows - 1, "n": 4, "channels": channels, "t": t, "p": p}
    return _self_test("triton", device, dtype, PRODUCTS[products], sizes)


def _self_test(name: str, device: torch.device, dtype: torch.dtype, tolerance: float, sizes: dict[str, int]) -> str:
    both = IMPLEMENTATIONS[name], IMPLEMENTATIONS["reference"]
    return in_new_thread(problem_with, *both, device, dtype, tolerance, sizes)


@assume_constant_result
def _warn_once(problem: str) -> None:
    warn_triton_fallback(problem)


@lru_cache
def warn_triton_fallback(problem: str) -> None:
    """Warn that `FALLBACK` replaces `triton`, once per problem."""
    _warn("Triton", problem)


def _warn(kind: str, problem: str) -> None:
    warnings.warn(
        f"the {kind} diagonal LSTM does not work here ({problem}): using the slower {FALLBACK!r}",
        RuntimeWarning,
        stacklevel=6,
    )
