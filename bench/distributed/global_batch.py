"""Batch normalisation and random draws over the global batch, while each process computes some of its rows.

Inside `global_batch_rows`, BatchNorm and random draws behave as for the full global batch. BatchNorm, as a module or a
function, computes statistics and gradients over the rows of all processes. Random numbers are drawn for all rows, and
each process keeps its own. If the generators of the processes agree, they draw together what a single process would
draw.

Limitations:

- A draw is taken to be per row if its first dimension is a multiple of the number of rows, as in dropout or in
  `torch.randn(len(x), …)`. All other draws are the same on every process.
- Draws in fused kernels are not seen, for example in scaled dot-product attention with dropout on CUDA. Every process
  then uses the same numbers for its rows.
- Other operations over the batch, such as a mean over all rows, see only the rows of their own process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
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


class RowRange(NamedTuple):
    """The rows start … stop − 1 of a batch of `total`; one or more."""

    start: int
    stop: int
    total: int


@contextmanager
def global_batch_rows(
    rows: RowRange, add: Callable[[Tensor], Tensor], parts: int, part: int, questions: RowRange | None = None
) -> Iterator[None]:
    """Inside this context, BatchNorm and random draws of this thread behave as for the full global batch.

    Args:
        rows: the rows of this process.
        add: sums a tensor over the processes in place, and returns it. All processes call it equally often, with the
            same shapes.
        parts: number of processes.
        part: rank of this process, 0 … parts − 1.
        questions: the rows of the questions, if there are several questions about an image.
    """
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():  # in inference mode, a dispatch mode does not see the draws of functions
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.no_grad())
        stack.enter_context(_GlobalBatchNorm(add, parts, part))
        stack.enter_context(_GlobalDraws([*([questions] if questions else []), rows]))
        yield


class _GlobalBatchNorm(TorchFunctionMode):
    """Replaces `F.batch_norm`, which every `nn.BatchNorm` calls, by one with the statistics of the global batch."""

    def __init__(self, add: Callable[[Tensor], Tensor], parts: int, part: int) -> None:
        super().__init__()
        self._how = add, parts, part

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
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
        """Return `F.batch_norm` of the global batch, for the rows x (B, C, …) of this process."""
        if not training:
            return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
        y: Tensor
        y, mean, var, n = _Norm.apply(x, weight, bias, eps, self._how)
        if running_mean is not None and running_var is not None:
            with torch.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                running_var.lerp_((var * n / (n - 1)).to(running_var.dtype), momentum)
        return y


class _Norm(torch.autograd.Function):
    """Batch normalisation over the global batch: x → y, mean (C,), variance (C,) and count ().

    Mean, variance and count carry no gradient. Computed in single precision at least. The forward pass exchanges count,
    mean and variance of every process in one call; the backward pass needs one call too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, how: Any) -> Any:
        """Return y (B, C, …), mean, variance and count."""
        add, parts, part = how
        channels = x.shape[1]
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        var, mean = torch.var_mean(exact, _all_but_channels(x), correction=0)
        moments = exact.new_zeros(parts, 1 + 2 * channels)
        moments[part] = torch.cat([exact.new_full((1,), x.numel() // channels), mean, var])
        counts, means, variances = add(moments).split([1, channels, channels], dim=1)
        n = counts.sum()
        if x.device.type == "cpu" and n < 2:  # on CUDA, this check would make the host wait for the device
            raise ValueError(f"batch normalisation needs more than 1 value per channel, got {int(n)}")
        mean = (counts * means).sum(0) / n
        var = (counts * (variances + (means - mean).square())).sum(0) / n
        scale = (var + eps).rsqrt()
        y = (exact - _per_channel(mean, x)) * _per_channel(scale, x)
        if weight is not None:
            y = y * _per_channel(weight, x)
        if bias is not None:
            y = y + _per_channel(bias, x)
        ctx.save_for_backward(x, weight, mean, scale, n)
        ctx.add = add
        ctx.mark_non_differentiable(mean, var, n)
        return y.to(x.dtype), mean, var, n

    @staticmethod
    def backward(ctx: Any, grad: Tensor, *_: Any) -> Any:
        """Return the gradients of x, weight and bias."""
        x, weight, mean, scale, n = ctx.saved_tensors
        grad = grad.to(mean.dtype)
        normal = (x.to(mean.dtype) - _per_channel(mean, x)) * _per_channel(scale, x)
        to_bias, to_weight = grad.sum(_all_but_channels(x)), (grad * normal).sum(_all_but_channels(x))
        to_x = None
        if ctx.needs_input_grad[0]:
            means = ctx.add(torch.stack([to_bias, to_weight])) / n
            centred = grad - _per_channel(means[0], x) - normal * _per_channel(means[1], x)
            to_x = (centred * _per_channel(scale if weight is None else scale * weight, x)).to(x.dtype)
        wanted = ctx.needs_input_grad
        return to_x, to_weight if wanted[1] else None, to_bias if wanted[2] else None, None, None


def _all_but_channels(x: Tensor) -> list[int]:
    """Return all dimensions of x except that of the channels."""
    return [0, *range(2, x.dim())]


def _per_channel(values: Tensor, x: Tensor) -> Tensor:
    """Return values (C,) in a shape that broadcasts with x (B, C, …)."""
    return values.view(1, -1, *[1] * (x.dim() - 2))


class _GlobalDraws(TorchDispatchMode):
    """Draws random numbers for the global batch, and keeps the rows of this process."""

    def __init__(self, kinds: Sequence[RowRange]) -> None:
        """Set the rows that draws may be about, of questions first and of images last."""
        TorchDispatchMode.__init__(self)
        self._kinds = kinds

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> object:
        kwargs = kwargs or {}
        if func.overloadpacket not in _DRAWS:
            return func(*args, **kwargs)
        rows = next(filter(None, (self._rows_in(value) for value in args)), None)
        if rows is None:
            return func(*args, **kwargs)
        drawn = tree_map_only(
            Tensor,
            lambda whole: _own_rows(whole, rows).clone(),
            func(*(_enlarged(value, rows) for value in args), **kwargs),
        )
        if func._schema.name.endswith("_"):
            return args[0].copy_(drawn)
        return drawn

    def _rows_in(self, value: object) -> RowRange | None:
        """Return the first kind of rows whose number divides the first dimension of a tensor or of a size."""
        length = _length(value)
        return next((rows for rows in self._kinds if length and length % (rows.stop - rows.start) == 0), None)


def _length(value: object) -> int:
    """Return the first dimension of a tensor or of a size; 0 if there is none."""
    shape = value.shape if isinstance(value, Tensor) else value if isinstance(value, list | tuple) else ()
    return shape[0] if len(shape) else 0


def _enlarged(value: Any, rows: RowRange) -> object:
    """Return an argument of a draw, enlarged to the global batch. Arguments of other lengths are returned unchanged."""
    own, length = rows.stop - rows.start, _length(value)
    if not length or length % own:
        return value
    shape = value.shape if isinstance(value, Tensor) else value
    global_shape = (length // own * rows.total, *shape[1:])
    if not isinstance(value, Tensor):
        return global_shape
    # Keep the memory order, because draws fill memory in order. Other rows get ones, a valid probability or scale.
    order = sorted(range(value.dim()), key=value.stride, reverse=True)
    enlarged = torch.empty_permuted(global_shape, order, dtype=value.dtype, device=value.device).fill_(1)
    _own_rows(enlarged, rows).copy_(value)
    return enlarged


def _own_rows(whole: Tensor, rows: RowRange) -> Tensor:
    """Return the rows of this process from a tensor for the global batch."""
    times = whole.shape[0] // rows.total
    return whole[times * rows.start : times * rows.stop]
