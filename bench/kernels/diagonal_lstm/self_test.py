"""The self-test of an implementation of the diagonal LSTM: it is compared with the reference on small inputs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor


def problem_with(
    implementation: Callable[..., Tensor],
    reference: Callable[..., Tensor],
    device: torch.device,
    dtype: torch.dtype,
    tolerance: float,
    sizes: dict[str, int],
) -> str:
    """Return why an implementation cannot be used, or an empty string.

    Args:
        implementation: the implementation, called with context, bias, both kernels and readout.
        reference: the reference implementation, called on the CPU in fp64.
        device: device of the implementation.
        dtype: dtype of the implementation.
        tolerance: maximal relative error of values and of each gradient.
        sizes: arguments of `example`.
    """
    try:
        inputs = example(**sizes)
        given = [x.to(device, dtype) for x in inputs]
        if dtype == torch.bfloat16:  # autocast keeps the bias in fp32
            given[1] = inputs[1].to(device, torch.float32)
        given = [x.requires_grad_() for x in given]
        exact = [x.requires_grad_() for x in inputs]
        results = []
        for one, arguments in ((implementation, given), (reference, exact)):
            out = one(*arguments)
            with torch.no_grad():  # without gradients, some implementations compile another kernel
                alone = one(*arguments)
            results.append((out, alone, *torch.autograd.grad(out.square().sum(), arguments)))
    except Exception as error:  # on any error, fall back to another implementation
        return f"{type(error).__name__}: {error}"
    errors = [relative_error(a.cpu(), b) for a, b in zip(*results, strict=True)]
    wrong = [error for error in errors if not error <= tolerance]  # `not <=` also catches NaN
    return f"its error is {max(wrong):.1e}" if wrong else ""


def read_out(states: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """Return an implementation with a readout, from one that returns the states h."""

    def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
        return torch.einsum("dpt,dbtij->dbpij", readout, states(context, bias, kernel_x, kernel_h))

    return diagonal_lstm


def in_new_thread(work: Callable[..., str], *arguments: Any) -> str:
    """Return the result of work in a new thread, which has none of the modes of the caller, such as autocast."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(work, *arguments).result()


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
