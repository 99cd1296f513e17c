"""Whether the diagonal LSTM can multiply in bf16 by AMX on this machine."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor

from bench.kernels.diagonal_lstm import reference
from bench.kernels.diagonal_lstm.self_test import problem_with
from bench.kernels.transforms import assume_constant_result

NAME = "amx"
"""The name in records."""

TOLERANCE = 1e-2
"""Largest relative error of values and of each gradient that the self-test accepts."""


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`, in fp32.

    The bias is in fp32, all other arguments are in bf16.
    """
    from bench.kernels.diagonal_lstm import amx_op

    return amx_op.diagonal_lstm(context, bias, kernel_x, kernel_h, readout)


@assume_constant_result
def supports(channels: int, t: int) -> bool:
    """Return whether AMX can be used for C channels and t units on this machine, where numba works."""
    from bench.kernels.diagonal_lstm import amx_op

    return amx_op.supports(channels, t) and works()


@lru_cache
def works() -> bool:
    """Return whether the implementation passes its self-test; if not, warn once."""

    def reading(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
        return torch.einsum("dpt,dbtij->dbpij", readout, reference.diagonal_lstm(context, bias, kernel_x, kernel_h))

    sizes = {"batch": 49, "m": 3, "n": 4, "channels": 32, "t": 32, "p": 2}
    with ThreadPoolExecutor(1) as executor:  # a new thread has none of the caller's modes, such as autocast
        problem = executor.submit(
            problem_with, diagonal_lstm, reading, torch.device("cpu"), torch.bfloat16, TOLERANCE, sizes
        ).result()
    if problem:
        warnings.warn(
            f"the diagonal LSTM in bf16 by AMX does not work here ({problem}): it is computed in fp32",
            RuntimeWarning,
            stacklevel=4,
        )
    return not problem
