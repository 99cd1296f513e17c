"""The most expensive operations of questions on shared features, compiled for the CPU.

These are the gate, BatchNorm(x[image_index] · mask), and the score of PAN. Neither repeats the features in memory.
`takes_gate` and `supports_query_score` return which cases are supported: those with the same results, except for
rounding. In all other cases the caller uses the plain operators, which are the reference.
"""

from collections.abc import Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.kernels.self_test import works
from bench.kernels.transforms import casts_on_cpu, is_feature, is_single, watched

TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2}
"""Maximal relative error of values and of each gradient in the self-test, by the dtype of features."""

PIECE = 8
"""The number of channels must be a multiple of this."""


def takes_gate(x: Tensor, mask: Tensor, image_index: Tensor | int, *norm: Tensor | None) -> bool:
    """Return whether `gated_norm` supports these arguments on the CPU, channels last, see `watched`.

    Features and mask are in fp32, or in bf16 under autocast; all else is in fp32.

    Args:
        x: as in `gated_norm`.
        mask: as in `gated_norm`.
        image_index: as in `gated_norm`.
        norm: weight, bias, running mean and running variance, (C,) each.
    """
    if not (is_feature(mask) and all(map(is_single, norm)) and _is_supported(x, image_index)):
        return False
    return mask.shape == (_count(x, image_index), 1, *x.shape[2:]) and mask.numel() > 1 and compiled_works(x.dtype)


def supports_query_score(
    x: Tensor, embedded_query: Tensor, image_index: Tensor | int, weight: Tensor, bias: Tensor | None
) -> bool:
    """Return whether `query_score` supports these arguments, see `takes_gate`."""
    if not (is_feature(embedded_query) and is_single(weight) and is_single(bias) and _is_supported(x, image_index)):
        return False
    if x.dtype == torch.float32 and casts_on_cpu():  # the plain convolution would give bf16
        return False
    channels = x.shape[1]
    return (
        embedded_query.shape == (_count(x, image_index), channels)
        and weight.shape == (1, channels, 1, 1)
        and compiled_works(x.dtype)
    )


def gated_norm(
    x: Tensor,
    mask: Tensor,
    image_index: Tensor | int,
    norm: Sequence[Tensor],
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """Return F.batch_norm(x[image_index] · mask, …), (T, C, H, W), channels last.

    In training, the statistics are those of all T maps, and the running statistics are updated. Arithmetic
    is in fp32 or fp64; the result has the dtype of x · mask.

    Args:
        x: (B, C, H, W), the features of images.
        mask: (T, 1, H, W), the maps of questions.
        image_index: i8 (T,), the index of the image of each question, in any order; or K, the number of consecutive
            questions about each image.
        norm: weight, bias, running mean and running variance, (C,) each.
        training: whether to use the statistics of the batch.
        momentum: of the running statistics.
        eps: ε of BatchNorm.
    """
    from bench.kernels.gate import numba_op

    return numba_op.gated_norm(x, mask, _images(x, image_index), norm, training, momentum, eps)


def query_score(x: Tensor, embedded_query: Tensor, image_index: Tensor | int, weight: Tensor, bias: Tensor) -> Tensor:
    """Return conv1×1(relu(x[image_index] + embedded_query)), (T, 1, H, W), in the dtype of x.

    Args:
        x: (B, C, H, W), the features of images.
        embedded_query: (T, C), the embeddings of queries.
        image_index: as in `gated_norm`.
        weight: (1, C, 1, 1), of the convolution.
        bias: (1,), of the convolution.
    """
    from bench.kernels.gate import score

    return score.query_score(x, embedded_query, _images(x, image_index), weight, bias)


def _is_supported(x: Tensor, image_index: Tensor | int) -> bool:
    """Return whether dtype, shape, memory layout and indices are supported by the compiled passes."""
    if not is_feature(x) or watched() or x.dim() != 4 or not x.numel():
        return False
    if x.shape[1] % PIECE or not x.permute(0, 2, 3, 1).is_contiguous():
        return False
    if not isinstance(image_index, Tensor):
        return image_index > 0
    if (
        type(image_index) is not Tensor
        or image_index.dim() != 1
        or image_index.dtype != torch.int64
        or not image_index.is_cpu
        or not len(image_index)
    ):
        return False
    low, high = image_index.aminmax()
    return bool(low >= 0) and bool(high < len(x))


def _count(x: Tensor, image_index: Tensor | int) -> int:
    """Return the number of questions."""
    return len(image_index) if isinstance(image_index, Tensor) else image_index * len(x)


def _images(x: Tensor, image_index: Tensor | int) -> Tensor:
    """Return the index of the image of each question, i8 (T,)."""
    return image_index if isinstance(image_index, Tensor) else torch.arange(len(x)).repeat_interleave(image_index)


@lru_cache
def compiled_works(dtype: torch.dtype) -> bool:
    """Return whether the compiled gate passes its self-test for features in `dtype`; if not, emit one warning."""
    return works("gate", partial(_problem, dtype))


def _problem(features: torch.dtype) -> str:
    """Return the result of the self-test: the problem, or an empty string."""
    pairs = zip(_tried(features, True), _tried(features, False), strict=True)
    worst = max(float((a - b).norm() / b.norm()) for a, b in pairs)
    return "" if worst <= TOLERANCES[features] else f"its error is {worst:.1e}"


def _tried(features: torch.dtype, compiled: bool) -> list[Tensor]:
    """Return values and gradients, compiled, or by plain operators in double precision.

    Args:
        features: the dtype of features, mask and embeddings, or that their numbers are rounded to.
        compiled: whether to use the compiled functions.
    """
    generator, dtype = torch.Generator().manual_seed(0), torch.float32 if compiled else torch.float64
    image_index = torch.tensor([1, 0, 0, 2, 1, 0])
    x = torch.randn(3, PIECE, 5, 3, generator=generator).to(features, memory_format=torch.channels_last)
    x = x if compiled else x.double()
    mask, slope = torch.rand(2, len(image_index), 1, 5, 3, generator=generator).to(features)
    embedded_query = torch.randn(len(image_index), PIECE, generator=generator).to(features)
    if not compiled:
        mask, slope, embedded_query = mask.double(), slope.double(), embedded_query.double()
    weight = torch.ones(PIECE, dtype=dtype)
    row, bias, one = weight.view(1, -1, 1, 1).clone(), torch.zeros_like(weight), torch.ones(1, dtype=dtype)
    mean, variance = torch.rand(2, PIECE, generator=generator).to(dtype)
    for given in (inputs := (x, mask, embedded_query, weight, row, bias, one)):
        given.requires_grad_()
    how = True, 0.1, 0.01
    if compiled:
        gate = gated_norm(x, mask, image_index, (weight, bias, mean, variance), *how)
        score = query_score(x, embedded_query, image_index, row, one)
    else:
        gate = F.batch_norm(x[image_index] * mask, mean, variance, weight, bias, *how)
        score = F.conv2d((x[image_index] + embedded_query[:, :, None, None]).relu(), row, one)
    gradients = torch.autograd.grad((gate.square() * slope).sum() + (score * slope).sum(), inputs)
    return [given.detach() for given in (gate, score, mean, variance, *gradients)]
