"""The attribute CNN of both papers: four convolutions, with an attention slot after each pooling.

ARNN suppl. Table 2; PAN Fig. 5.

Shapes: S stages, K classes, Q queries. Images of 100 px give maps of 50, 25, 12 and 6 px, images of 224 px maps of 112
to 7 px.
"""

from functools import partial
from typing import Self

from torch import Tensor, nn

from bench.attention import NetworkSpec, resolve_network
from bench.attention.slot import GATE, READOUT, Layout, Slot
from bench.config import DEFAULT_WIDTH
from bench.kernels.pool import pooled_relu
from bench.networks.base import SlotNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import Head, make_heads


def number_of_stages(size: int) -> int:
    """Return the number of stages of a network for images of `size` pixels."""
    return 5 if size >= 200 else 4


class AttributeCNN(SlotNetwork):
    """Conv 3×3@width, ReLU, 2×2 max pooling and an attention slot, S times; then BatchNorm, dropout and a linear layer.

    Args:
        attn: the name of a mechanism, a slot list such as "none,arnn", or what `bench.networks.resolve` made of one.
        classes: number of classes, K.
        queries: number of different queries, Q; 0 for a task without a question.
        stages: number of stages, S.
        dropout: probability of the dropout before the classifier.
        width: channels of each convolution; 32 in the papers. A NetworkSpec has its own.
        size: (H, W) of the images in pixels, for `layout`; the weights do not depend on it.
    """

    def __init__(
        self,
        attn: str | NetworkSpec,
        classes: int,
        queries: int,
        stages: int = 4,
        dropout: float = 0.5,
        width: int = DEFAULT_WIDTH,
        *,
        size: tuple[int, int] = (100, 100),
    ) -> None:
        super().__init__()
        network = attn if isinstance(attn, NetworkSpec) else resolve_network(attn, width, _layout(width, size, stages))
        width = network.width
        mechanisms = self._plan(network, _layout(width, size, stages), classes, queries)
        self.stages = nn.ModuleList(nn.Conv2d(width if k else 3, width, 3, padding=1) for k in range(stages))
        make_head = partial(Head, classes=classes, query_dim=self.appended_queries, dropout=dropout)
        self.head = make_heads(mechanisms[-1], self.vector_widths(mechanisms[-1]), make_head)
        self._add_mechanisms(mechanisms)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        return _layout(width, size, number_of_stages(min(size)))

    @classmethod
    def create(
        cls, network: NetworkSpec, classes: int, queries: int, size: tuple[int, int], dropout: float = 0.5
    ) -> Self:
        """Return a network, see `bench.networks.create`. The image size decides the number of stages."""
        return cls(network, classes, queries, number_of_stages(min(size)), dropout, size=size)

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        x = images
        for k, convolve in enumerate(self.stages):
            x = run.gate(k, pooled_relu(convolve(x)))

    @property
    def halvings(self) -> int:
        """The number of poolings."""
        return len(self.stages)

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.stages[slot]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first convolution."""
        first = self.stages[0]
        assert isinstance(first, nn.Conv2d)
        return first.out_channels


def _layout(width: int, size: tuple[int, int], stages: int) -> Layout:
    sizes = [(size[0] >> k, size[1] >> k) for k in range(1, stages + 1)]
    kinds = [GATE] * (stages - 1) + [READOUT]
    slots = [Slot(f"pool{k}", width, *pair) for k, pair in enumerate(zip(sizes, kinds, strict=True), start=1)]
    return Layout(tuple(slots), tuple(range(stages)))
