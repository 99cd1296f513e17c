"""Rows of a batch, computed as if the whole batch were there: batch normalisation and random draws.

Inside `rows_of` a network sees the rows start … stop of a batch of which other processes see the rest. Batch
normalisation, as a module or a function and wherever it is called, takes its statistics over all of them, and so do its
gradients. What is drawn at random is drawn for all, of which each process keeps its rows: processes whose generators
agree draw together what one process would.

A draw counts as one for the images where its first dimension is a multiple of the rows, as in dropout or in
`torch.randn(len(x), …)`, whatever its purpose was; any other is left as it is, alike on every process. So are draws in
fused kernels, as of scaled dot-product attention with dropout on CUDA: there the first rows of every process get the
same. What else in a module looks from image to image, such as a mean over the batch, cannot be known, and sees the rows
of its own process alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

_DRAWS = frozenset(
    getattr(torch.ops.aten, name)
    for name in (
        *("bernoulli", "bernoulli_", "native_dropout", "multinomial", "rand", "rand_like", "randn", "randn_like"),
        *("randint", "randint_like", "random", "random_", "normal", "normal_", "uniform", "uniform_"),
        *("exponential", "exponential_", "cauchy", "cauchy_", "geometric", "geometric_", "log_normal", "log_normal_"),
    )
)


class Rows(NamedTuple):
    """The rows start … stop − 1 of a batch of `total`; one or more."""

    start: int
    stop: int
    total: int


@contextmanager
def rows_of(
    rows: Rows, add: Callable[[Tensor], Tensor], parts: int, part: int, questions: Rows | None = None
) -> Iterator[None]:
    """In here, this thread computes rows of a batch.

    Args:
        rows: which.
        questions: the same of the questions, where there are several about an image.
        add: sums a tensor over the processes in place, and returns it; each calls it as often, with the same shapes.
        parts: how many processes there are.
        part: which one of them this is, 0 … parts − 1.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():  # in which a mode would see functions that draw, and not their draws
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        stack.enter_context(_WholeNorms(add, parts, part))
        stack.enter_context(_WholeDraws([*([questions] if questions else []), rows]))
        yield


class _WholeNorms(TorchFunctionMode):
    """`F.batch_norm`, which every `nn.BatchNorm` calls, with the statistics of the whole batch."""

    def __init__(self, add: Callable[[Tensor], Tensor], parts: int, part: int) -> None:
        super().__init__()
        self._how = add, parts, part

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return self._batch_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        x: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        """As F.batch_norm; x (B, C, …), its rows of the batch."""
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        y, mean, var, n = _Norm.apply(x, weight, bias, eps, self._how)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * n / (n - 1)).to(running_var.dtype), momentum)
        return y


class _Norm(torch.autograd.Function):
    """x → y, and mean and variance (C,) and count () of the whole batch, which carry no gradient.

    In single precision at least. One exchange forward, of every process's count, mean and variance, and one backward.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, how: Any) -> Any:
        add, parts, part = how
        channels = x.shape[1]
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(exact, _others(x), correction=0)
        told = exact.new_zeros(parts, 1 + 2 * channels)
        told[part] = torch.cat([exact.new_full((1,), x.numel() // channels), mean, var])
        counts, means, variances = add(told).split([1, channels, channels], dim=1)
        n = counts.sum()
        if x.device.type == "cpu" and n < 2:  # which on CUDA the host need not wait for
            raise ValueError(f"batch normalisation needs more than 1 value per channel, got {int(n)}")
        mean = (counts * means).sum(0) / n
        var = (counts * (variances + (means - mean).square())).sum(0) / n
        scale = (var + eps).rsqrt()
        y = (exact - _beside(mean, x)) * _beside(scale, x)
        if weight is not None:
            y = y * _beside(weight, x)
        if bias is not None:
            y = y + _beside(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, n)
        ctx.add = add
        ctx.mark_non_differentiable(mean, var, n)
        return y.to(x.dtype), mean, var, n

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        x, weight, mean, scale, n = ctx.saved_tensors
        grad = grad.to(mean.dtype)
        normal = (x.to(mean.dtype) - _beside(mean, x)) * _beside(scale, x)
        to_bias, to_weight = grad.sum(_others(x)), (grad * normal).sum(_others(x))
        to_x = None
        if ctx.needs_input_grad[0]:
            of_all = ctx.add(torch.stack([to_bias, to_weight])) / n
            centred = grad - _beside(of_all[0], x) - normal * _beside(of_all[1], x)
            to_x = (centred * _beside(scale if weight is None else scale * weight, x)).to(x.dtype)
        wanted = ctx.needs_input_grad
        return to_x, to_weight if wanted[1] else None, to_bias if wanted[2] else None, None, None


def _others(x: Tensor) -> list[int]:
    """All dimensions but the channels'."""
    return [0, *range(2, x.dim())]


def _beside(values: Tensor, x: Tensor) -> Tensor:
    """(C,) as it is multiplied with x (B, C, …)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


class _WholeDraws(TorchDispatchMode):
    """Draws for the whole batch, of which the rows are kept."""

    def __init__(self, kinds: Sequence[Rows]) -> None:
        """`kinds`: of what there may be draws, the finest first."""
        super().__init__()
        self._kinds = kinds

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.overloadpacket not in _DRAWS:
            return func(*args, **kwargs)
        rows = next(filter(None, (self._rows_in(value) for value in args)), None)
        if rows is None:
            return func(*args, **kwargs)
        drawn = tree_map_only(
            Tensor, lambda whole: _place(whole, rows).clone(), func(*(_sized(value, rows) for value in args), **kwargs)
        )
        if func._schema.name.endswith("_"):
            return args[0].copy_(drawn)
        return drawn

    def _rows_in(self, value: Any) -> Rows | None:
        """The first kind of rows that an argument, a tensor or the size of one, holds a multiple of."""
        length = _length(value)
        return next((rows for rows in self._kinds if length and length % (rows.stop - rows.start) == 0), None)


def _length(value: Any) -> int:
    """The first dimension of a tensor or of a size; 0 where there is none."""
    shape = value.shape if isinstance(value, Tensor) else value if isinstance(value, list | tuple) else ()
    return shape[0] if len(shape) else 0


def _sized(value: Any, rows: Rows) -> Any:
    """An argument for all rows in place of ours; whatever is of another length stays what it is."""
    own, length = rows.stop - rows.start, _length(value)
    if not length or length % own:
        return value
    shape = value.shape if isinstance(value, Tensor) else value
    whole = (length // own * rows.total, *shape[1:])
    if not isinstance(value, Tensor):
        return whole
    # In the same order in memory, in which it is filled; ones, as a probability or a scale, where others' rows are.
    order = sorted(range(value.dim()), key=value.stride, reverse=True)
    wide = torch.empty_permuted(whole, order, dtype=value.dtype, device=value.device).fill_(1)
    _place(wide, rows).copy_(value)
    return wide


def _place(whole: Tensor, rows: Rows) -> Tensor:
    """Our rows of a tensor for all."""
    times = whole.shape[0] // rows.total
    return whole[times * rows.start : times * rows.stop]
