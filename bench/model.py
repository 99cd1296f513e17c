"""The four-conv attribute CNN of the papers, an attention slot after each pooling (ARNN suppl. Table 2; PAN Fig. 5).

Shapes: B images, H × W pixels, S stages, K classes, Q queries. 100 px give maps 50, 25, 12, 6; 224 px 112 … 7.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import _register_namedtuple

from bench.attention import NONE, slots_of
from bench.attention.base import (
    BN_EPS,
    AverageReadout,
    Gate,
    Levels,
    Of,
    PooledReadout,
    Reading,
    Readout,
    one_hot,
    share,
    spread,
)
from bench.attention.warps import enter, place
from bench.config import WIDTH
from bench.kernels.pool import pooled_relu
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant


class Output(NamedTuple):
    """`logits` (B, K); log-probabilities where several vectors answer (han).

    `masks`, shallow to deep, (B, 1, h, w) each, as they lie in the image: maps in 0 … 1, the last slot's sums to 1; []
    where there are none. `last_mask`: whether the last slot has one. `mask_power`: what their product is raised to
    before it is measured. `slots`: which slot each map is of, 1 … S.
    """

    logits: Tensor
    masks: list[Tensor]
    last_mask: bool = True
    mask_power: float = 1.0
    slots: tuple[int, ...] = ()


_register_namedtuple(Output, serialized_type_name="bench.model.Output")  # so that torch.export can save and load it


class Head(nn.Module):
    """Vectors → logits: BatchNorm, dropout, one linear layer, over the query too where nothing else has seen it."""

    def __init__(self, width: int, classes: int, query_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=BN_EPS)
        self.dropout = nn.Dropout(dropout)
        self.query_dim = query_dim
        self.classify = nn.Linear(width + query_dim, classes)

    def forward(self, reading: Reading, query: Tensor) -> Tensor:
        """The logits of the one vector; of several, log Σ_p weight_p · p(class | vector p)."""
        batch, vectors, width = reading.vectors.shape
        x = self.dropout(self.norm(reading.vectors.reshape(-1, width)))
        if self.query_dim:
            x = torch.cat([x, query.repeat_interleave(vectors, dim=0)], dim=1)
        logits = self.classify(x).view(batch, vectors, self.classify.out_features)
        if reading.log_weights is None:
            return logits.squeeze(1)
        return (logits.log_softmax(-1) + reading.log_weights.unsqueeze(-1)).logsumexp(1)


class AttributeCNN(nn.Module):
    """Conv 3×3@width, ReLU, 2×2 max pooling, attention slot; S times; then the head.

    Args:
        attn: a mechanism's name, or a slot list such as "none,arnn".
        classes: K.
        queries: Q.
        stages: S.
        dropout: before the classifier.
        width: channels of each convolution; the papers' have 32.
    """

    def __init__(
        self, attn: str, classes: int, queries: int, stages: int = 4, dropout: float = 0.5, width: int = WIDTH
    ) -> None:
        super().__init__()
        mechanisms = slots_of(attn, stages)
        self.queries = queries
        self.looking = {k for k, m in enumerate(mechanisms) if m.uses_query}
        # The backbone first: with one seed it starts alike whatever the mechanism.
        self.stages = nn.ModuleList(nn.Conv2d(width if k else 3, width, 3, padding=1) for k in range(stages))
        last = mechanisms[-1]
        unseen = 0 if any(m.uses_query for m in mechanisms) else queries
        self.head = Head(width * last.levels, classes, unseen, dropout)
        self.gates = nn.ModuleDict(
            {str(k): Gate(m.make(width, queries), width) for k, m in enumerate(mechanisms[:-1]) if m.name != NONE}
        )
        self.readout = _readout(last.make(width, queries, last=True) if last.name != NONE else AverageReadout())

    def forward(self, images: Tensor, query: Tensor, of: Tensor | None = None) -> Output:
        """Answer questions about images.

        What comes before the first mechanism that looks at the question is computed once an image.

        Args:
            images: (B, 3, H, W) in 0 … 1. In evaluation B may be 0.
            query: i8 in 0 … Q − 1: (B,), a question about each image; (B, K), K about each; or (T,) with `of`.
            of: i8 (T,), the image 0 … B − 1 of each of T questions, in any order.

        Returns:
            Logits (B, classes), (B, K, classes) or (T, classes), and masks that begin with the same dimensions. In
            training, BatchNorm takes its statistics over the images before the first mechanism that looks at the
            question, and over the questions from there on.

        Raises:
            ValueError: an empty batch in training, of which batch normalisation knows no statistics.
        """
        if self.training and not len(images):
            raise ValueError("an empty batch: training takes 2 images or more; in evaluation it gives empty logits")
        shape = query.shape
        out = self._answer(images, one_hot(query.flatten(), self.queries, images), shape[1] if len(shape) == 2 else of)
        if len(shape) == 1:
            return out
        masks = [mask.unflatten(0, shape) for mask in out.masks]
        return out._replace(logits=out.logits.unflatten(0, shape), masks=masks)

    def _answer(self, images: Tensor, asked: Tensor, of: Of) -> Output:
        """Of the questions `asked` (T, Q), one-hot, about the images `of` them."""
        unasked = asked.new_zeros(len(images), self.queries)  # what those get who do not look at the question
        x, frame, before, given = images, None, 0, of
        features: list[Tensor] = []
        frames: list[Tensor | None] = []
        masks: list[Tensor] = []
        slots: list[int] = []
        for k, convolve in enumerate(self.stages):
            x = pooled_relu(convolve(x))
            if str(k) in self.gates:
                here = of if k in self.looking else None
                # one about each of what x holds, and not None: so that it may take the way of several
                each = 1 if here is None and given is not None else here
                x, mask, warp = self.gates[str(k)](x, unasked if of is not None and here is None else asked, each)
                if here is not None:  # from here on there are questions in place of images
                    frame, frames, masks = spread((frame, tuple(frames), tuple(masks)), of)
                    frames, masks, before, of = [*frames], [*masks], len(features), None
                frame = enter(frame, warp)
                if mask is not None:
                    masks.append(place(mask, frame))
                    slots.append(k + 1)
            features.append(x)
            frames.append(frame)
        reading = self._read(Levels(features, before, given), asked, unasked, of)
        if of is not None:
            frame, frames, masks = spread((frame, tuple(frames), tuple(masks)), of)
            frames, masks = [*frames], [*masks]
        frames[-1] = enter(frame, reading.warp)
        for k in range(len(frames) - len(reading.masks), len(frames)):
            mask, lies = reading.masks[k - len(frames)], frames[k]
            masks.append(mask if lies is None else share(place(mask, lies)))
            slots.append(k + 1)
        return Output(self.head(reading, asked), masks, bool(reading.masks), self.readout.mask_power, tuple(slots))

    def _read(self, features: Sequence[Tensor], asked: Tensor, unasked: Tensor, of: Of) -> Reading:
        """What the last slot makes of the features, for each question. `of` is None if they are of questions."""
        if of is None or len(self.stages) - 1 in self.looking:
            return self.readout.read(features, asked, of)
        vectors, masks, *others = self.readout(features, unasked)
        return Reading(spread(vectors, of), list(spread(tuple(masks), of)), *spread(tuple(others), of))


def _readout(module: nn.Module) -> Readout:
    return module if isinstance(module, Readout) else PooledReadout(module)


def create_model(
    attn: str,
    variant: str | None = None,
    *,
    classes: int = 5,
    queries: int = 10,
    size: tuple[int, int] = (100, 100),
    dropout: float = 0.5,
    width: int = WIDTH,
) -> AttributeCNN:
    """The network for a variant by name, or for so many classes, queries and an image size (H, W).

    Images of 200 px and more get a fifth stage, as in ARNN's scalability study. `width`: channels of each convolution.
    """
    if variant is not None:
        known = get_variant(variant)
        classes, queries, size = known.classes, known.queries, (known.canvas, known.canvas)
    return AttributeCNN(attn, classes, queries, stages_of(min(size)), dropout, width)


def stages_of(size: int) -> int:
    """How many stages a network for images of so many pixels has."""
    return 5 if size >= 200 else 4


def build(attn: str, variant: VariantSpec, seed: int, device: torch.device, width: int = WIDTH) -> AttributeCNN:
    """The network for a variant on its device, channels last, its weights drawn from the seed."""
    torch.manual_seed(seed)
    size = (variant.canvas, variant.canvas)
    model = create_model(attn, classes=variant.classes, queries=variant.queries, size=size, width=width)
    return model.to(device).to(memory_format=torch.channels_last)


def count_parameters(attn: str, variant: str = "mbg") -> int:
    """Numbers that a network for a variant learns."""
    return sum(p.numel() for p in create_model(attn, variant).parameters())
