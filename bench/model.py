"""The attribute CNN of both papers: four convolutions, with an attention slot after each pooling.

ARNN suppl. Table 2; PAN Fig. 5.

Shapes: B images, H × W pixels, S stages, K classes, Q queries. Images of 100 px give maps of 50, 25, 12 and 6 px,
images of 224 px maps of 112 to 7 px.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._pytree import _register_namedtuple

from bench.attention import NONE, NetworkSpec, resolve_network
from bench.attention.base import (
    BN_EPS,
    AverageReadout,
    Gate,
    ImageIndex,
    PooledReadout,
    Reading,
    Readout,
    SlotFeatures,
    repeat_for_questions,
)
from bench.attention.layers import normalize_map, one_hot
from bench.attention.warps import compose_frame, warp_to_image
from bench.config import DEFAULT_WIDTH
from bench.kernels.pool import pooled_relu
from bench.pretrained import find_entry, load_pretrained
from mnistref.spec import VariantSpec
from mnistref.variants import get_variant


class Output(NamedTuple):
    """The output of the network.

    Attributes:
        logits: (B, K); log-probabilities if several vectors answer (`han`).
        masks: attention maps as they lie in the image, shallow to deep, (B, 1, h, w) each; [] if there are none. Values
            are in 0 … 1; the map of the last slot sums to 1.
        last_mask: whether the last slot has a map.
        mask_power: exponent of the product of the maps before it is measured.
        slots: the slot of each map, 1 … S.
    """

    logits: Tensor
    masks: list[Tensor]
    last_mask: bool = True
    mask_power: float = 1.0
    slots: tuple[int, ...] = ()


_register_namedtuple(Output, serialized_type_name="bench.model.Output")  # lets torch.export save and load it


class Head(nn.Module):
    """The classifier: BatchNorm, dropout, one linear layer.

    If no mechanism in the network uses the query, the query is a further input of the linear layer.

    Args:
        width: D, numbers per vector.
        classes: number of classes, K.
        query_dim: Q, if the query is an input; otherwise 0.
        dropout: probability.
    """

    def __init__(self, width: int, classes: int, query_dim: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, eps=BN_EPS)
        self.dropout = nn.Dropout(dropout)
        self.query_dim = query_dim
        self.classify = nn.Linear(width + query_dim, classes)

    def forward(self, reading: Reading, query: Tensor) -> Tensor:
        """Return the logits (B, K).

        If there are P vectors per image, return log Σ_p weight_p · p(class | vector p).
        """
        batch, vectors, width = reading.vectors.shape
        x = self.dropout(self.norm(reading.vectors.reshape(-1, width)))
        if self.query_dim:
            x = torch.cat([x, query.repeat_interleave(vectors, dim=0)], dim=1)
        logits: Tensor = self.classify(x).view(batch, vectors, self.classify.out_features)
        if reading.log_weights is None:
            return logits.squeeze(1)
        return (logits.log_softmax(-1) + reading.log_weights.unsqueeze(-1)).logsumexp(1)


class AttributeCNN(nn.Module):
    """Conv 3×3@width, ReLU, 2×2 max pooling and an attention slot, S times; then the classifier.

    Args:
        attn: the name of a mechanism, a slot list such as "none,arnn", or what `resolve_network` made of one.
        classes: number of classes, K.
        queries: number of different queries, Q.
        stages: number of stages, S.
        dropout: probability of the dropout before the classifier.
        width: channels of each convolution; 32 in the papers. A NetworkSpec has its own.
    """

    def __init__(
        self,
        attn: str | NetworkSpec,
        classes: int,
        queries: int,
        stages: int = 4,
        dropout: float = 0.5,
        width: int = DEFAULT_WIDTH,
    ) -> None:
        super().__init__()
        network = attn if isinstance(attn, NetworkSpec) else resolve_network(attn, width, stages)
        mechanisms, width = network.slots(stages), network.width
        self.queries = queries
        self.query_slots = {k for k, m in enumerate(mechanisms) if m.uses_query}
        # Create the backbone first, so that one seed gives it the same weights for every mechanism.
        self.stages = nn.ModuleList(nn.Conv2d(width if k else 3, width, 3, padding=1) for k in range(stages))
        last = mechanisms[-1]
        appended = 0 if self.query_slots else queries
        self.head = Head(width * last.levels, classes, appended, dropout)
        self.gates = nn.ModuleDict(
            {
                str(k): Gate(m.build_module(width, queries), width)
                for k, m in enumerate(mechanisms[:-1])
                if m.name != NONE
            }
        )
        self.readout = _readout(last.build_module(width, queries, last=True) if last.name != NONE else AverageReadout())

    def forward(self, images: Tensor, query: Tensor, image_index: Tensor | None = None) -> Output:
        """Answer questions about images.

        All layers before the first mechanism that uses the query are computed once per image.

        Args:
            images: (B, 3, H, W) in 0 … 1. In evaluation, B may be 0.
            query: i8 in 0 … Q − 1, of shape (B,) for one question about each image, (B, K) for K questions about each
                image, or (T,) with `image_index`.
            image_index: i8 (T,), the index of the image of each of T questions, in any order.

        Returns:
            Logits (B, classes), (B, K, classes) or (T, classes), and masks whose shapes begin with the same dimensions.
                In training, BatchNorm computes its statistics over images before the first mechanism that uses the
                query, and over questions from there on.

        Raises:
            ValueError: the batch is empty in training. (BatchNorm has no statistics of an empty batch.)
        """
        if self.training and not len(images):
            raise ValueError("empty batch: give 2 images or more in training (evaluation returns empty logits)")
        shape = query.shape
        queries = self.queries
        questions = one_hot(query.flatten(), queries, images) if queries else images.new_zeros(query.numel(), 0)
        out = self._answer(images, questions, shape[1] if len(shape) == 2 else image_index)
        if len(shape) == 1:
            return out
        masks = [torch.unflatten(mask, 0, shape) for mask in out.masks]
        return out._replace(logits=torch.unflatten(out.logits, 0, shape), masks=masks)

    def _answer(self, images: Tensor, query: Tensor, image_index: ImageIndex) -> Output:
        """Return the output for the one-hot queries (T, Q) of questions about the images."""
        no_query = query.new_zeros(len(images), self.queries)  # for slots that ignore the query
        x, frame = images, None
        rows = image_index  # how rows of x map to questions: None as soon as x has one row per question
        image_slots = 0  # number of slots whose features have one row per image
        features: list[Tensor] = []
        frames: list[Tensor | None] = []
        masks: list[Tensor] = []
        slots: list[int] = []
        for k, convolve in enumerate(self.stages):
            x = pooled_relu(convolve(x))
            if str(k) in self.gates:
                here = rows if k in self.query_slots else None
                # 1 question per row is the same as None, but lets the gate use the kernel for several questions.
                per_row = 1 if here is None and image_index is not None else here
                x, mask, warp = self.gates[str(k)](x, no_query if rows is not None and here is None else query, per_row)
                if here is not None:  # from here on, x has one row per question
                    frame, frames, masks = repeat_for_questions((frame, tuple(frames), tuple(masks)), rows)
                    frames, masks, image_slots, rows = [*frames], [*masks], len(features), None
                frame = compose_frame(frame, warp)
                if mask is not None:
                    masks.append(warp_to_image(mask, frame))
                    slots.append(k + 1)
            features.append(x)
            frames.append(frame)
        reading = self._read(SlotFeatures(features, image_slots, image_index), query, no_query, rows)
        if rows is not None:
            frame, frames, masks = repeat_for_questions((frame, tuple(frames), tuple(masks)), rows)
            frames, masks = [*frames], [*masks]
        frames[-1] = compose_frame(frame, reading.warp)
        for k in range(len(frames) - len(reading.masks), len(frames)):
            mask, slot_frame = reading.masks[k - len(frames)], frames[k]
            masks.append(mask if slot_frame is None else normalize_map(warp_to_image(mask, slot_frame)))
            slots.append(k + 1)
        return Output(self.head(reading, query), masks, bool(reading.masks), self.readout.mask_power, tuple(slots))

    def _read(self, features: Sequence[Tensor], query: Tensor, no_query: Tensor, rows: ImageIndex) -> Reading:
        """Return the last slot's output for each question; `rows` is None if features have one row per question."""
        if rows is None or len(self.stages) - 1 in self.query_slots:
            return self.readout.read(features, query, rows)
        vectors, masks, *others = self.readout(features, no_query)
        return Reading(
            repeat_for_questions(vectors, rows),
            list(repeat_for_questions(tuple(masks), rows)),
            *repeat_for_questions(tuple(others), rows),
        )


def _readout(module: nn.Module) -> Readout:
    return module if isinstance(module, Readout) else PooledReadout(module)


def create_model(
    attn: str | NetworkSpec,
    variant: str | None = None,
    *,
    classes: int = 5,
    queries: int = 10,
    size: tuple[int, int] = (100, 100),
    dropout: float = 0.5,
    width: int = DEFAULT_WIDTH,
    pretrained: bool = False,
) -> AttributeCNN:
    """Return the network for a variant, or for a number of classes, of queries, and an image size.

    Images of 200 px and more get a fifth stage, as in the scalability study of ARNN. The network is in training mode;
    call `eval()` before it answers questions.

    Args:
        attn: the name of a mechanism, a slot list such as "none,arnn", or what `resolve_network` made of one.
        variant: the name of a variant, which then determines `classes`, `queries` and `size`.
        classes: number of classes, K.
        queries: number of different queries, Q.
        size: (H, W) of the images in pixels.
        dropout: probability of the dropout before the classifier.
        width: channels of each convolution. A NetworkSpec has its own.
        pretrained: whether to load the trained weights for the variant, see `bench.list_models`. The file is found in
            `results/` of a checkout, or in the folder that the environment variable `BENCH_WEIGHTS` names.

    Raises:
        UsageProblemError: there is no such mechanism or variant, or no trained weights, and the message lists those
            that exist; or a slot list has more names than the network has slots.
        DataProblemError: the file of the weights is missing or damaged.
    """
    if variant is not None:
        known = get_variant(variant)
        classes, queries, size = known.classes, known.queries, (known.canvas, known.canvas)
    stages = number_of_stages(min(size))
    network = attn if isinstance(attn, NetworkSpec) else resolve_network(attn, width, stages)
    entry = find_entry(network.name, variant, network.width) if pretrained else None
    model = AttributeCNN(network, classes, queries, stages, dropout)
    if entry is not None:
        load_pretrained(model, entry)
        model.to(memory_format=torch.channels_last)  # as in the test of the run, so that answers have the same bits
    return model


def number_of_stages(size: int) -> int:
    """Return the number of stages of a network for images of `size` pixels."""
    return 5 if size >= 200 else 4


def build(
    attn: str | NetworkSpec, variant: VariantSpec, seed: int, device: torch.device, width: int = DEFAULT_WIDTH
) -> AttributeCNN:
    """Return the network for a variant on its device, in channels last, with weights drawn from the seed."""
    torch.manual_seed(seed)
    size = (variant.canvas, variant.canvas)
    model = create_model(attn, classes=variant.classes, queries=variant.queries, size=size, width=width)
    return model.to(device).to(memory_format=torch.channels_last)


def count_parameters(attn: str, variant: str = "mbg") -> int:
    """Return the number of learned parameters of a network for a variant."""
    return sum(p.numel() for p in create_model(attn, variant).parameters())
