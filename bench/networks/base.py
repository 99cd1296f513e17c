"""The base class of networks: it fills the slots with mechanisms, and answers several questions about each image.

Shapes: B images of H × W pixels, T questions, K classes, Q queries.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn

from bench.attention import NONE, NetworkSpec
from bench.attention.base import AverageReadout, BlockGate, Gate, PooledReadout, Readout
from bench.attention.layers import one_hot
from bench.attention.mechanism import Mechanism
from bench.attention.slot import BLOCK, GATE, READOUT, Layout, Slot
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import make_heads
from bench.networks.output import Output
from bench.networks.readouts import GlobalReadout, ProjectedReadout


class SlotNetwork(nn.Module, ABC):
    """A network with slots for attention.

    A subclass calls `_plan` first in its constructor, creates its layers and then the classifier `head`, and calls
    `_add_mechanisms` last, so that one seed gives the layers the same weights for every mechanism.

    Attributes:
        spec: what the network was made from.
        layout: the slots.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        query_slots: indices of the slots whose mechanism uses the query.
        head: the classifier, see `bench.networks.heads`.
        gates: the mechanisms of all slots but the readout, by the index of the slot.
        readout: pools the features for the classifier.
    """

    head: nn.Module
    gates: nn.ModuleDict
    readout: Readout

    @classmethod
    @abstractmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots for images of size (H, W) in pixels."""

    @classmethod
    @abstractmethod
    def create(
        cls, network: NetworkSpec, classes: int, queries: int, size: tuple[int, int], dropout: float = 0.5
    ) -> Self:
        """Return a network, see `bench.networks.create`."""

    @abstractmethod
    def features(self, images: Tensor, run: ForwardPass) -> Tensor | None:
        """Compute all features, and pass them through the slots.

        Args:
            images: (B, 3, H, W) in 0 … 1.
            run: `run.gate` and `run.block` apply the mechanisms; `run.keep` takes the features of the other levels,
                last those that the readout reads.

        Returns:
            The global feature for the readout, (B, G) or (T, G); None if there is none.
        """

    @property
    def halvings(self) -> int:
        """How often the network halves the image, rounding down: a smaller image has no features left."""
        return 0

    @abstractmethod
    def layer_before(self, slot: int) -> nn.Module:
        """Return the convolutions whose features a slot sees, or the residual block that contains it."""

    @property
    def explained_layer(self) -> nn.Module:
        """The layer that Grad-CAM explains: the one before the readout."""
        return self.layer_before(len(self.layout.slots) - 1)

    @property
    @abstractmethod
    def full_size_channels(self) -> int:
        """The number of channels whose features at the size of the image take as much memory as the largest layer."""

    def _plan(self, network: NetworkSpec, layout: Layout, classes: int, queries: int) -> list[Mechanism]:
        """Set the slots, and return the mechanism of each slot, shallow to deep."""
        mechanisms = network.fill(layout)
        self.spec, self.layout, self.classes, self.queries = network, layout, classes, queries
        self.query_slots = {k for k, m in enumerate(mechanisms) if queries and m.uses_query}
        return mechanisms

    @property
    def appended_queries(self) -> int:
        """The width of the query that the classifier reads: Q if no mechanism uses it, otherwise 0."""
        return 0 if self.query_slots else self.queries

    def vector_widths(self, readout: Mechanism) -> tuple[int, ...]:
        """Return how many numbers of the classifier's input come from each level that a mechanism reads."""
        if readout.name == NONE and self.layout.global_channels:
            return (self.layout.global_channels,)
        channels = self.layout.level_channels(readout.levels)
        return channels if readout.takes_level_channels else (channels[-1],) * readout.levels

    def _add_mechanisms(self, mechanisms: Sequence[Mechanism]) -> None:
        """Create the mechanisms of the slots."""
        gates = {}
        for k, (mechanism, slot) in enumerate(zip(mechanisms, self.layout.slots, strict=True)):
            if mechanism.name != NONE and slot.kind != READOUT:
                module = mechanism.build_module(slot.channels, self.queries)
                gates[str(k)] = Gate(module, slot.channels) if slot.kind == GATE else BlockGate(module)
        self.gates = nn.ModuleDict(gates)
        self.readout = self._build_readout(mechanisms[-1])

    def _build_readout(self, mechanism: Mechanism) -> Readout:
        if mechanism.name == NONE:
            return GlobalReadout() if self.layout.global_channels else AverageReadout()
        channels = self.layout.level_channels(mechanism.levels)
        inputs = {"level_channels": channels, "global_channels": self.layout.global_channels or None}
        module = mechanism.build_module(channels[-1], self.queries, last=True, inputs=inputs)
        readout = module if isinstance(module, Readout) else PooledReadout(module)
        if mechanism.takes_level_channels or len(set(channels)) == 1:
            return readout
        return ProjectedReadout(readout, channels)

    def forward(self, images: Tensor, query: Tensor | None = None, image_index: Tensor | None = None) -> Output:
        """Answer questions about images.

        All layers before the first mechanism that uses the query are computed once per image.

        Args:
            images: (B, 3, H, W) in 0 … 1. In evaluation, B may be 0.
            query: i8 in 0 … Q − 1, of shape (B,) for one question about each image, (B, K) for K questions about each
                image, or (T,) with `image_index`. Of a network without queries, it may be None, and its values are
                ignored.
            image_index: i8 (T,), the index of the image of each of T questions, in any order.

        Returns:
            Logits (B, classes), (B, K, classes) or (T, classes), and masks whose shapes begin with the same dimensions.
                In training, BatchNorm computes its statistics over images before the first mechanism that uses the
                query, and over questions from there on.

        Raises:
            ValueError: the batch is empty in training (BatchNorm has no statistics of an empty batch); `query` is
                None, and the network has queries; or `query` has another number of rows than there are images.
        """
        if self.training and not len(images):
            raise ValueError("empty batch: give 2 images or more in training (evaluation returns empty logits)")
        if query is None:
            if self.queries:
                raise ValueError(f"query is None: give the index of the query of each image, 0 … {self.queries - 1}")
            query = torch.zeros(len(images), dtype=torch.long, device=images.device)
        shape = query.shape
        if image_index is None and len(query) != len(images):
            raise ValueError(
                f"query of shape {tuple(shape)} for {len(images)} images: give a row for each image, or image_index"
            )
        hot = one_hot(query.flatten(), self.queries, images) if self.queries else images.new_zeros(query.numel(), 0)
        run = ForwardPass(self, images, hot, shape[1] if len(shape) == 2 else image_index)
        out = run.answer(self.features(images, run))
        if len(shape) == 1:
            return out
        masks = [torch.unflatten(mask, 0, shape) for mask in out.masks]
        return out._replace(logits=torch.unflatten(out.logits, 0, shape), masks=masks)


class StandardNetwork(SlotNetwork):
    """A network whose constructor has the usual arguments. A subclass declares its layers and its classifier.

    Args:
        network: mechanisms and width, see `bench.networks.resolve`. Each class says what its width scales.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        size: (H, W) of the images in pixels.
        dropout: probability of the dropouts of the classifier; ignored by networks without it.
    """

    def __init__(
        self,
        network: NetworkSpec,
        classes: int,
        queries: int = 0,
        size: tuple[int, int] = (32, 32),
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        mechanisms = self._plan(network, self.layout_of(network.width, size), classes, queries)
        self._add_layers(network.width, dropout)
        make_head = partial(self._make_head, classes=classes, dropout=dropout)
        self.head = make_heads(mechanisms[-1], self.vector_widths(mechanisms[-1]), make_head)
        self._add_mechanisms(mechanisms)

    @classmethod
    def create(
        cls, network: NetworkSpec, classes: int, queries: int, size: tuple[int, int], dropout: float = 0.5
    ) -> Self:
        """Return a network, see `bench.networks.create`."""
        return cls(network, classes, queries, size, dropout)

    @abstractmethod
    def _add_layers(self, width: int, dropout: float) -> None:
        """Create all layers but the classifier, and draw their weights."""

    @abstractmethod
    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        """Return the classifier of vectors with `width` numbers."""


def residual_layout(name: str, channels: Sequence[int], blocks: int, size: tuple[int, int]) -> Layout:
    """Return the slots of a residual network: one in each block, and the readout. The levels are the ends of stages.

    Args:
        name: beginning of the names of the stages.
        channels: the channels of each stage.
        blocks: number of blocks in a stage.
        size: (H, W) of the features of the first stage. Each further stage halves it, rounding up.
    """
    slots = []
    for stage, width in enumerate(channels):
        if stage:
            size = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        slots += [Slot(f"{name}{stage + 1}.{k}", width, size, BLOCK) for k in range(blocks)]
    slots.append(Slot("readout", channels[-1], size, READOUT))
    ends = range(blocks - 1, blocks * (len(channels) - 1), blocks)
    return Layout(tuple(slots), (*ends, len(slots) - 1))


def initialize_convolutions(network: nn.Module) -> None:
    """Draw the weights of all convolutions as torchvision's ResNet does (He et al., 2015, fan out)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
