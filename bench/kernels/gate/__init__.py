"""The gate on features that several questions share, y = BatchNorm(x[of] · mask), compiled for the CPU.

`takes` says whether the compiled gate does a case. It answers only where nothing could tell the difference but by
rounding; everywhere else the caller runs the plain operators, which are the reference.
"""

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from bench.kernels.transforms import in_func_transform

TOLERANCE = 1e-5
"""Largest relative error, of values and of each gradient, that the self-test lets pass."""

PIECE = 8
"""The number of channels must be a multiple of this."""


def takes(x: Tensor, mask: Tensor, of: Tensor | int, *norm: Tensor | None) -> bool:
    """Return whether `gated_norm` does this: fp32 on the CPU, channels last.

    It does not where anything may look at single operations or change them: a transform of `torch.func`, forward-mode
    differentiation, export, compilation, tracing, or a mode, as of several processes that share a batch.

    Args:
        x, mask, of: as in `gated_norm`.
        norm: weight, bias, running mean and running variance, (C,) each.
    """
    for numbers in (x, mask, *norm):
        if numbers is None or type(numbers) not in (Tensor, nn.Parameter):
            return False
        if numbers.dtype != torch.float32 or not numbers.is_cpu:
            return False
    return not _watched() and _fits(x, mask, of) and compiled_works()


def gated_norm(
    x: Tensor,
    mask: Tensor,
    of: Tensor | int,
    norm: Sequence[Tensor],
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return F.batch_norm(x[of] · mask, …), (T, C, H, W), channels last.

    In training the statistics are those of all T maps, and the running ones move on.

    Args:
        x: (B, C, H, W), the features of images.
        mask: (T, 1, H, W), of the questions.
        of: i8 (T,), the image of each question, in any order; or K, so many about each image, one image after the
            other.
        norm: weight, bias, running mean and running variance, (C,) each.
    """
    from bench.kernels.gate import cpu

    index = of if isinstance(of, Tensor) else torch.arange(len(x)).repeat_interleave(of)
    return cpu.gated_norm(x, mask, index, norm, training, momentum, eps)


def _fits(x: Tensor, mask: Tensor, of: Tensor | int) -> bool:
    """Whether shapes, layout and the numbers of images are as the compiled gate wants them."""
    if x.dim() != 4 or x.shape[1] % PIECE or not x.numel():
        return False
    questions = len(of) if isinstance(of, Tensor) else of * len(x)
    if mask.shape != (questions, 1, *x.shape[2:]) or mask.numel() < 2 or not x.permute(0, 2, 3, 1).is_contiguous():
        return False
    if not isinstance(of, Tensor):
        return True
    if type(of) is not Tensor or of.dim() != 1 or of.dtype != torch.int64 or not of.is_cpu:
        return False
    low, high = of.aminmax()
    return bool(low >= 0) and bool(high < len(x))


def _watched() -> bool:
    """Whether anything looks at each operation."""
    return (
        in_func_transform()
        or forward_ad._current_level >= 0
        or torch.compiler.is_compiling()
        or torch.compiler.is_exporting()
        or torch.jit.is_tracing()
        or torch._C._len_torch_function_stack() > 0
        or torch._C._len_torch_dispatch_stack() > 0
    )


@lru_cache
def compiled_works() -> bool:
    """Whether the compiled gate is there and right; if not, one warning says why."""
    # In a thread of its own, where no mode of the caller's (inference, autocast, no gradients) is on.
    with ThreadPoolExecutor(1) as aside:
        problem = aside.submit(_problem).result()
    if problem:
        warnings.warn(
            f"the compiled gate does not work here ({problem}): plain operators take over, and take longer",
            RuntimeWarning,
            stacklevel=3,
        )
    return not problem


def _problem() -> str:
    """Why the compiled gate cannot be used, or an empty string: the self-test."""
    try:
        of, results = torch.tensor([1, 0, 0, 2, 1, 0]), []
        for dtype in (torch.float32, torch.float64):
            generator = torch.Generator().manual_seed(0)
            x = torch.randn(3, PIECE, 5, 3, generator=generator).contiguous(memory_format=torch.channels_last)
            mask = torch.rand(len(of), 1, 5, 3, generator=generator)
            x, mask = x.to(dtype).requires_grad_(), mask.to(dtype).requires_grad_()
            weight, bias, mean, var = torch.rand(4, PIECE, generator=generator).to(dtype)
            inputs = (x, mask, weight.requires_grad_(), bias.requires_grad_())
            if dtype == torch.float32:
                out = gated_norm(x, mask, of, (weight, bias, mean, var), True, 0.1, 0.01)
            else:
                out = torch.nn.functional.batch_norm(x[of] * mask, mean, var, weight, bias, True, 0.1, 0.01)
            slope = torch.randn(out.shape, generator=generator).to(dtype)
            results.append((out, *torch.autograd.grad((out * slope).sum(), inputs), mean, var))
    except Exception as error:  # whatever it is, there are the plain operators
        return f"{type(error).__name__}: {error}"
    worst = max(float((a - b).detach().norm() / b.detach().norm()) for a, b in zip(*results, strict=True))
    return "" if worst <= TOLERANCE else f"its error is {worst:.1e}"
