"""Max pooling with ReLU, compiled for the CPU. It gives the same bits as plain operators, forward and backward."""

from functools import lru_cache, partial

import torch
from torch import Tensor

from bench.kernels.self_test import works
from bench.kernels.transforms import is_feature, watched
from mnistref.common.numba_jit import COMPILED


def pooled_relu(x: Tensor) -> Tensor:
    """Return F.max_pool2d(x, 2).relu(): (N, C, H, W) → (N, C, H // 2, W // 2)."""
    if not is_supported(x):
        return pool_reference(x)
    from bench.kernels.pool import numba_op

    out: Tensor = numba_op.Pooled.apply(x)
    return out


def pool_reference(x: Tensor) -> Tensor:
    """Return the result of `pooled_relu` with plain operators.

    ReLU comes after pooling, where it handles a quarter of the numbers; the result is the same.
    """
    return torch.nn.functional.max_pool2d(x, 2).relu()


def is_supported(x: Tensor) -> bool:
    """Return whether the compiled pooling supports x: fp32 or bf16 on the CPU, channels last, see `watched`."""
    if not is_feature(x) or x.dim() != 4 or min(x.shape[2:]) < 2 or not x.numel() or watched():
        return False
    return x.permute(0, 2, 3, 1).is_contiguous() and compiled_works(x.dtype)


@lru_cache
def compiled_works(dtype: torch.dtype) -> bool:
    """Return whether the compiled pooling passes its self-test in `dtype`; if it does not, emit one warning."""
    return works("pooling", partial(_tried, dtype))


def _tried(dtype: torch.dtype) -> str:
    """Return the problem of the compiled pooling, or an empty string."""
    if not COMPILED:  # without numba the passes are plain Python: correct, but far too slow
        return "numba is not installed"
    from bench.kernels.pool import numba_op

    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    x = x.to(dtype, memory_format=torch.channels_last).requires_grad_()
    results = []
    for pooling in (numba_op.Pooled.apply, pool_reference):
        out = pooling(x)
        results.append((out, *torch.autograd.grad(out.square().sum(), x)))
    return "" if all(map(torch.equal, *results)) else "its results are wrong"
