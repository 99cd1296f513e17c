"""The contract of an attention mechanism, and the modules that apply mechanisms in the network.

Shapes: B images, T questions, C channels, H × W positions of a feature map, Q query width, P vectors per image, D
numbers per vector, L attention maps.

A mechanism is an `nn.Module` that is constructed as `Class(channels, query_dim, **options)` and called as `module(x,
query)`, with features x (B, C, H, W) and a one-hot query (B, Q). It returns one of:

- a score map (B, 1, H, W) of any real numbers. The network turns it into an attention map by a sigmoid (all slots but
  the last) or by a softmax over positions (last slot), and multiplies the features by this map;
- `Scored`: a score map, together with the features to multiply. Use it if the mechanism changes the features first;
- `Changed`: features to which the mechanism has applied its attention, with or without a map.

A training step asks several questions about each image. A mechanism can avoid computing the same thing for each
question with two more methods:

- `prepare(x)` returns what does not depend on the query: one tensor whose first dimension is B, or a tuple of such
  tensors and numbers;
- `answer(prepared, query)` computes the rest. `prepared` has one row for each row of `query`.

`forward(x, query)` must then equal `answer(prepare(x), query)`. If these methods are missing, the module is called with
the features of each image repeated for each question. A mechanism that needs no repeated rows can add a third method,
`answer_shared(prepared, query, image_index)`: there `prepared` has one row per image, and `image_index` is an
`ImageIndex`.

A mechanism that works in the last slot only and needs the features of several slots is a `Readout`.

Class attributes describe a mechanism: `uses_query = False` if it ignores the query, and `sampled = True` if it draws
from torch's global generator in evaluation too (`bench show --samples` then shows several draws).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

from bench.attention.layers import normalize_map
from bench.kernels import gate

BN_EPS = 0.01
"""BatchNorm's ε after attention, as in the PAN authors' code."""


class Scored(NamedTuple):
    """Features (B, C, H, W) and the score map (B, 1, H, W) that weights them."""

    features: Tensor
    score: Tensor


class Changed(NamedTuple):
    """Features (B, C, H, W) after attention.

    Attributes:
        mask: the attention map (B, 1, H, W) in 0 … 1; None if the attention is not spatial.
        warp: (B, 2, 3), if the features were resampled: the feature at position p was sampled from the input at W · (p,
            1). Positions are in −1 … 1.
    """

    features: Tensor
    mask: Tensor | None = None
    warp: Tensor | None = None


class Reading(NamedTuple):
    """The input of the classifier: `vectors` (B, P, D).

    Attributes:
        masks: maps (B, 1, H, W) of the last L slots, not negative; [] if the mechanism has no map.
        log_weights: (B, P), if the answer is the weighted mean of P answers; their exponentials sum to 1. None if P =
            1.
        warp: as in `Changed`.
    """

    vectors: Tensor
    masks: list[Tensor]
    log_weights: Tensor | None = None
    warp: Tensor | None = None


ImageIndex = Tensor | int | None
"""The image that each of T questions is about, in one of three forms.

- i8 (T,): the index of the image of each question, in any order;
- K: there are K consecutive questions about each image;
- None: question t is about image t.
"""


def repeat_for_questions(x: Any, image_index: ImageIndex) -> Any:
    """Repeat the row of each image for each question about it: (B, …) → (T, …), in the same memory format.

    A tuple is handled element by element. Values that are not tensors are returned unchanged.
    """
    if isinstance(x, tuple):
        return tuple(repeat_for_questions(part, image_index) for part in x)
    if image_index is None or not isinstance(x, Tensor):
        return x
    if x.dim() == 4 and not x.is_contiguous():  # channels last; index_select would return channels first
        return repeat_for_questions(x.permute(0, 2, 3, 1).contiguous(), image_index).permute(0, 3, 1, 2)
    if isinstance(image_index, Tensor):
        return x.index_select(0, image_index)
    rows: Tensor = x.unsqueeze(1).expand(-1, image_index, *x.shape[1:]).flatten(0, 1)  # the gradient is a plain sum
    return rows


def call_mechanism(module: nn.Module, x: Any, query: Tensor, image_index: ImageIndex) -> Any:
    """Apply a mechanism to the features x of B images and the one-hot queries (T, Q) of questions about them.

    Args:
        module: the mechanism.
        x: features, (B, C, H, W).
        query: one-hot, (T, Q).
        image_index: the image that each question is about.

    Returns:
        The output of the mechanism, for T questions.
    """
    if image_index is not None and hasattr(module, "prepare"):
        shared: Any = module
        prepared = shared.prepare(x)
        if hasattr(module, "answer_shared"):
            return shared.answer_shared(prepared, query, image_index)
        return shared.answer(repeat_for_questions(prepared, image_index), query)
    return module(repeat_for_questions(x, image_index), query)


class SlotFeatures(Sequence[Tensor]):
    """The features of all slots, shallow to deep.

    The features of the first slots, `images` in number, have one row per image. `features[k]` repeats these rows, so
    that it has one row per question for every slot.

    Attributes:
        global_feature: the global feature (T, G) of the network, with as many rows as the last features; None if the
            network has none.
    """

    def __init__(
        self, features: Sequence[Tensor], images: int, image_index: ImageIndex, global_feature: Tensor | None = None
    ) -> None:
        self._features, self._images, self._image_index = features, images, image_index
        self.global_feature = global_feature

    def __len__(self) -> int:
        return len(self._features)

    def __getitem__(self, k: Any) -> Any:
        chosen = range(len(self))[k]
        return [self._at(j) for j in chosen] if isinstance(k, slice) else self._at(chosen)

    def _at(self, k: int) -> Tensor:
        """Return the features of slot k, one row per question."""
        features: Tensor = repeat_for_questions(self._features[k], self._image_index if k < self._images else None)
        return features


class BlockGate(nn.Module):
    """Attention without a norm: features · sigmoid(score). In a residual block, it acts before the sum."""

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, x: Tensor, query: Tensor, image_index: ImageIndex = None) -> Changed:
        """Return the features after attention and the map, for T questions, see `Gate.forward`."""
        out = call_mechanism(self.attend, x, query, image_index)
        if isinstance(out, Changed):
            return out
        features, score = out if isinstance(out, Scored) else (repeat_for_questions(x, image_index), out)
        mask = score.sigmoid()
        return Changed(features * mask, mask)


class Gate(nn.Module):
    """Attention in every slot but the last: BatchNorm(features · sigmoid(score)) (PAN Eq. 1–2; ARNN suppl. Table 2)."""

    def __init__(self, attend: nn.Module, channels: int) -> None:
        super().__init__()
        self.attend = attend
        self.norm = nn.BatchNorm2d(channels, eps=BN_EPS)

    def forward(self, x: Tensor, query: Tensor, image_index: ImageIndex = None) -> Changed:
        """Return the features after attention and the map, for T questions.

        Args:
            x: features, (B, C, H, W).
            query: one-hot, (T, Q).
            image_index: the image that each question is about.
        """
        out = call_mechanism(self.attend, x, query, image_index)
        if isinstance(out, Changed):
            return out._replace(features=self.norm(out.features))
        if isinstance(out, Scored):
            mask = out.score.sigmoid()
            return Changed(self.norm(out.features * mask), mask)
        mask = out.sigmoid()
        return Changed(apply_gate(x, mask, image_index, self.norm), mask)


def apply_gate(x: Tensor, mask: Tensor, image_index: ImageIndex, norm: nn.BatchNorm2d) -> Tensor:
    """Return norm(x[image_index] · mask), by a compiled kernel where possible, which does not repeat x in memory."""
    state: Any = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    if image_index is None or not _is_plain_batch_norm(norm) or not gate.takes_gate(x, mask, image_index, *state):
        out: Tensor = norm(repeat_for_questions(x, image_index) * mask)
        return out
    assert norm.momentum is not None
    if norm.training and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return gate.gated_norm(x, mask, image_index, state, norm.training, norm.momentum, norm.eps)


def _is_plain_batch_norm(norm: nn.BatchNorm2d) -> bool:
    """Return whether calling the module is the same as `F.batch_norm` with its momentum."""
    usual = type(norm) is nn.BatchNorm2d and norm.track_running_stats and norm.momentum is not None
    return usual and not has_hooks(norm)


def has_hooks(module: nn.Module) -> bool:
    """Return whether hooks run when the module is called."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or nn.modules.module._has_any_global_hook()


class Readout(nn.Module):
    """Base class of attention in the last slot that reads the features of several slots.

    In a network whose slots have different channels, a class that has the argument `level_channels` gets the channels
    of the `levels` slots as a tuple, and reads them as they are. Other classes read every slot as `channels` channels,
    because the network projects the others by 1×1 convolutions. A class can also have the argument `global_channels`:
    the width of the global feature of the network, or None; the feature itself is `features.global_feature`.

    Attributes:
        levels: number of slots, counted from the last, whose vectors are concatenated.
        mask_power: exponent of the product of the maps before it is measured.
        uses_global: whether it reads the global feature of the network.
    """

    levels = 1
    mask_power = 1.0
    uses_global = False

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        """Return the classifier's input.

        Args:
            features: the features (B, C, H, W) of every slot, shallow to deep.
            query: one-hot, (B, Q).
        """
        raise NotImplementedError

    def read(self, features: Sequence[Tensor], query: Tensor, image_index: ImageIndex) -> Reading:
        """Return the classifier's input for T questions.

        Args:
            features: the features of every slot, one row per image.
            query: one-hot, (T, Q).
            image_index: the image that each question is about.
        """
        if hasattr(self, "prepare"):
            shared: Any = self
            out: Reading = shared.answer(repeat_for_questions(shared.prepare(features), image_index), query)
        else:
            shared_feature = repeat_for_questions(getattr(features, "global_feature", None), image_index)
            repeated = SlotFeatures(features, len(features), image_index, shared_feature)
            out = self(features if image_index is None else repeated, query)
        return out


class PooledReadout(Readout):
    """Attention in the last slot over positions: a = softmax(score), the vector is Σ a · features (PAN Eq. 4, 8–9).

    If the mechanism returns `Changed`, its features are averaged, and its map is scaled to sum to 1.
    """

    def __init__(self, attend: nn.Module) -> None:
        super().__init__()
        self.attend = attend

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        """Return the classifier's input, see `Readout.forward`."""
        return self.read(features, query, None)

    def read(self, features: Sequence[Tensor], query: Tensor, image_index: ImageIndex) -> Reading:
        """Return the classifier's input for T questions, see `Readout.read`."""
        x = features[-1]
        out = call_mechanism(self.attend, x, query, image_index)
        if isinstance(out, Changed):
            masks = [] if out.mask is None else [normalize_map(out.mask)]
            return Reading(out.features.mean(dim=(2, 3)).unsqueeze(1), masks, warp=out.warp)
        x, score = out if isinstance(out, Scored) else (repeat_for_questions(x, image_index), out)
        mask = score.flatten(1).softmax(dim=1).view_as(score)
        return Reading((x * mask).sum(dim=(2, 3)).unsqueeze(1), [mask])


class AverageReadout(Readout):
    """No attention: the mean of the features over positions."""

    def forward(self, features: Sequence[Tensor], query: Tensor) -> Reading:
        """Return the classifier's input, see `Readout.forward`. The query is ignored."""
        return Reading(features[-1].mean(dim=(2, 3)).unsqueeze(1), [])
