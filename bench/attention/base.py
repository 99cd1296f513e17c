"""The contract of an attention mechanism, and what the network does with it.

Shapes: B images, C channels, H × W map, Q query width, P vectors an image, D their width, L maps.

A mechanism is a module made as `Class(channels, query_dim, **options)` and called as `module(x, query)`, with x
(B, C, H, W) and query (B, Q) one-hot. It returns one of

- a score map (B, 1, H, W), any real numbers: the network makes it a map by a sigmoid (every slot but the last) or a
  softmax over positions (the last), and multiplies the features with it;
- `Scored`: the same, over features that it changed first;
- `Changed`: features that it has attended to already, with a map of its own or none.

Many questions about one image share what does not depend on the question. A mechanism that can say what that is has two
methods more: `prepare(x)` returns it, a tensor with the images first, or several and numbers; `answer(prepared, query)`
is the rest, for as many rows of `prepared` as there are queries. `forward(x, query)` is `answer(prepare(x), query)`. A
mechanism without them is called with each image repeated. A mechanism that can answer without repeating `prepared` has
a third method, `answer_shared(prepared, query, of)`: `prepared` is of the images, `of` says which.

A mechanism for the last slot alone that needs more is a `Readout`. One that does not look at the query says so by the
class attribute `uses_query = False`; one that draws at random in evaluation too, from torch's global generator, by
`sampled = True`: `bench show --samples` shows several of its answers.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.kernels import gate
from bench.kernels.transforms import in_func_transform

BN_EPS = 0.01
"""BatchNorm's ε after attention, as in PAN's program."""


class Scored(NamedTuple):
    """Features (B, C, H, W) and the score (B, 1, H, W) to weigh them with."""

    features: Tensor
    score: Tensor


class Changed(NamedTuple):
    """Features (B, C, H, W) to go on with; `mask` (B, 1, H, W) in 0 … 1, where attention is a matter of place.

    `warp` (B, 2, 3): the features were sampled anew, each position p from W · (p, 1) of the input, in −1 … 1.
    """

    features: Tensor
    mask: Tensor | None = None
    warp: Tensor | None = None


class Reading(NamedTuple):
    """What the last slot hands to the classifier: `vectors` (B, P, D).

    `masks`: (B, 1, H, W) for each of the last L slots, not negative; [] without a map. `log_weights` (B, P), whose
    exponentials sum to 1, where the answer is the mean of P answers; None where P = 1. `warp` as in `Changed`.
    """

    vectors: Tensor
    masks: list[Tensor]
    log_weights: Tensor | None = None
    warp: Tensor | None = None


Of = Tensor | int | None
"""Which images T questions are about: i8 (T,), the image of each; or K, so many about each image, one image after the
other; or None, one about each image, in their order."""


def spread(x: Any, of: Of) -> Any:
    """Repeat what belongs to images for the questions about them: (B, …) → (T, …), in the same order in memory.

    Of a tuple each part; whatever is no tensor stays what it is.
    """
    if isinstance(x, tuple):
        return tuple(spread(part, of) for part in x)
    if of is None or not isinstance(x, Tensor):
        return x
    if x.dim() == 4 and not x.is_contiguous():  # channels last, which a copy should stay
        return spread(x.permute(0, 2, 3, 1).contiguous(), of).permute(0, 3, 1, 2)
    if isinstance(of, Tensor):
        return x.index_select(0, of)
    return x.unsqueeze(1).expand(-1, of, *x.shape[1:]).flatten(0, 1)  # its gradient is a plain sum


def ask(module: nn.Module, x: Any, query: Tensor, of: Of) -> Any:
    """Return what a mechanism makes of the questions `query` (T, Q) about the images `of` them."""
    if of is not None and hasattr(module, "prepare"):
        shared: Any = module
        prepared = shared.prepare(x)
        if hasattr(module, "answer_shared"):
            return shared.answer_shared(prepared, query, of)
        return shared.answer(spread(prepared, of), query)
    return module(spread(x, of), query)


class Levels(Sequence):
    """The features of every slot. Those of the first `images` slots are of images, and repeated when they are taken."""

    def __init__(self, features: Sequence[Tensor], images: int, of: Of) -> None:
        self._features, self._images, self._of = features, images, of

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, k: Any) -> Any:
        places = range(len(self))[k]
        return [self._at(j) for j in places] if isinstance(k, slice) else self._at(places)

    def _at(self, k: int) -> Tensor:
        return spread(self._features[k], self._of if k < self._images else None)


class Gate(nn.Module):
    """Every slot but the last. a = sigmoid(score); features · a, then BatchNorm (PAN Eq. 1–2; ARNN suppl. Table 2)."""

    def __init__(self, attend: nn.Module, channels: int) -> None:
        super().__init__()
        self.attend = attend
        self.norm = nn.BatchNorm2d(channels, eps=BN_EPS)

    def forward(self, x: Tensor, query: Tensor, of: Of = None) -> Changed:
        """x (B, C, H, W), query (T, Q) about the images `of` them → features and map, (T, …) of the same size."""
        out = ask(self.attend, x, query, of)
        if isinstance(out, Changed):
            return out._replace(features=self.norm(out.features))
        if isinstance(out, Scored):
            mask = out.score.sigmoid()
            return Changed(self.norm(out.features * mask), mask)
        mask = out.sigmoid()
        return Changed(gated(x, mask, of, self.norm), mask)


def gated(x: Tensor, mask: Tensor, of: Of, norm: nn.BatchNorm2d) -> Tensor:
    """Return norm(x[of] · mask), compiled where it can be: there no map is repeated in memory."""
    state: Any = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if of is None or not _as_made(norm) or not gate.takes_gate(x, mask, of, *state):
        return norm(spread(x, of) * mask)
    assert norm.momentum is not None
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return gate.gated_norm(x, mask, of, state, norm.training, norm.momentum, norm.eps)


def _as_made(norm: nn.BatchNorm2d) -> bool:
    """Whether calling the module is `F.batch_norm` with its momentum."""
    usual = type(norm) is nn.BatchNorm2d and norm.track_running_stats and norm.momentum is not None
    return usual and not hooked(norm)


def hooked(module: nn.Module) -> bool:
    """Whether anything but the module itself sees that it is called."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or nn.modules.module._has_any_global_hook()


class Readout(nn.Module):
    """The last slot: `forward(features, query)`, with the features of every slot, shallow to deep → `Reading`.

    `levels`: of how many slots it gives a vector, in one concatenated. `mask_power`: what the product of its maps is
    raised to before it is measured.
    """

    levels = 1
    mask_power = 1.0

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        raise NotImplementedError

    def read(self, features: Sequence[Tensor], query: Tensor, of: Of) -> Reading:
        """The same for the questions `query` (T, Q) about the images `of` them."""
        if hasattr(self, "prepare"):
            shared: Any = self
            return shared.answer(spread(shared.prepare(features), of), query)
        return self(features if of is None else Levels(features, len(features), of), query)


class PooledReadout(Readout):
    """a = softmax of the score over positions; the vector is Σ a · features (PAN Eq. 4 and 8–9).

    Features that were attended to already are averaged, and their map is scaled to sum to 1.
    """

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        return self.read(features, query, None)

    def read(self, features: Sequence[Tensor], query: Tensor, of: Of) -> Reading:
        x = features[-1]
        out = ask(self.attend, x, query, of)
        if isinstance(out, Changed):
            masks = [] if out.mask is None else [share(out.mask)]
            return Reading(out.features.mean(dim=(2, 3)).unsqueeze(1), masks, warp=out.warp)
        x, score = out if isinstance(out, Scored) else (spread(x, of), out)
        mask = score.flatten(1).softmax(dim=1).view_as(score)
        return Reading((x * mask).sum(dim=(2, 3)).unsqueeze(1), [mask])


class AverageReadout(Readout):
    """No attention: the mean of the features."""

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        return Reading(features[-1].mean(dim=(2, 3)).unsqueeze(1), [])


class QueryEmbedding(nn.Module):
    """One-hot query → D numbers, without bias: (B, Q) → (B, D); zeros where there is no query."""

    def __init__(self, query_dim: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(query_dim, width, bias=False) if query_dim else None

    def forward(self, x: Tensor, query: Tensor | None) -> Tensor:
        """`x` gives batch size, dtype and device where there is no query."""
        if self.linear is None:
            return x.new_zeros(x.shape[0], self.width)
        if query is None:
            raise ValueError(f"this module was made for a query of {self.linear.in_features}, and got none")
        return self.linear(query)


def same_conv(channels: int, width: int, kernel: int, padding: str = "zeros", bias: bool = True) -> nn.Conv2d:
    """A convolution that keeps the map's size: `kernel` odd, `padding` zeros, replicate, reflect or circular."""
    if kernel % 2 == 0:
        raise ValueError(f"a kernel of {kernel} has no middle; give an odd one")
    how: Any = padding
    return nn.Conv2d(channels, width, kernel, padding=kernel // 2, padding_mode=how, bias=bias)


def share(mask: Tensor) -> Tensor:
    """A map (B, 1, H, W) scaled to sum to 1; one that is zero everywhere becomes uniform.

    A map with NaN or a value below zero stays as it is, so that whoever measures it sees that it is none.
    """
    total = mask.sum(dim=(2, 3), keepdim=True)
    uniform = 1 / (mask.shape[2] * mask.shape[3])
    scaled = torch.where(total > 0, mask / total.clamp_min(torch.finfo(mask.dtype).tiny), uniform)
    return torch.where(mask.detach().amin(dim=(2, 3), keepdim=True) >= 0, scaled, mask)


def one_hot(query: Tensor, queries: int, like: Tensor) -> Tensor:
    """Query i8 (B,) → (B, Q) of `like`'s dtype. Numbers outside 0 … Q − 1 raise.

    In `torch.func` transforms, where numbers cannot be looked at, such a row is NaN.
    """
    if in_func_transform():
        hot = query.unsqueeze(-1) == torch.arange(queries, device=query.device)
        return hot.to(like.dtype).masked_fill(~hot.any(dim=-1, keepdim=True), torch.nan)
    return torch.nn.functional.one_hot(query, queries).to(like.dtype)
