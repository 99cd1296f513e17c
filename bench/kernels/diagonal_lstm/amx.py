"""Whether the diagonal LSTM can multiply in bf16 by AMX on this machine."""

import warnings
from functools import lru_cache

import torch
from torch import Tensor

from bench.kernels.diagonal_lstm import reference
from bench.kernels.diagonal_lstm.self_test import in_new_thread, problem_with, read_out
from bench.kernels.transforms import assume_constant_result

NAME = "amx"
"""The name in records."""

MULTIPLE = 32
"""Channels and units are multiples of this, which is `numba_tiles.DEPTH`."""

TOLERANCE = 1e-2
"""Largest relative error of values and of each gradient that the self-test accepts."""


def diagonal_lstm(context: Tensor, bias: Tensor, kernel_x: Tensor, kernel_h: Tensor, readout: Tensor) -> Tensor:
    """Return the states, see `bench.kernels.diagonal_lstm.diagonal_lstm`, in fp32.

    The bias is in fp32, all other arguments are in bf16.
    """
    from bench.kernels.diagonal_lstm import amx_op

    return amx_op.diagonal_lstm(context, bias, kernel_x, kernel_h, readout)


def supports_sizes(channels: int, t: int) -> bool:
    """Return whether C channels and t units are supported: multiples of 32."""
    return min(channels, t) > 0 and channels % MULTIPLE == 0 and t % MULTIPLE == 0


@assume_constant_result
def works() -> bool:
    """Return whether the processor has AMX and the implementation passes its self-test; if it does not, warn once.

    numba must be installed.
    """
    return _works_here()


@lru_cache
def _works_here() -> bool:
    from bench.kernels.numba_tiles import tiles_available

    if not tiles_available():
        return False
    sizes = {"batch": 49, "m": 3, "n": 4, "channels": MULTIPLE, "t": MULTIPLE, "p": 2}
    both = diagonal_lstm, read_out(reference.diagonal_lstm)
    problem = in_new_thread(problem_with, *both, torch.device("cpu"), torch.bfloat16, TOLERANCE, sizes)
    if problem:
        warnings.warn(
            f"the diagonal LSTM in bf16 by AMX does not work here ({problem}): it is computed in fp32",
            RuntimeWarning,
            stacklevel=4,
        )
    return not problem
