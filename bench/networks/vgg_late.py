"""VGG with late pooling: the convolutions of `vgg-att`, whose last features are classified.

LTPA §4 moves the first two poolings of VGG behind the convolutions, and adds two convolutions. Its networks with
attention therefore multiply 12 times as often as its baseline, and see four times the resolution. `vgg-late` has the
same convolutions and poolings, and no attention: it is the control that tells both effects apart.

Layers, with D for the dropout 0.4 after a convolution: [1, 1] [2D, 2] [4D, 4D, 4] = level 1, pooling, [8D, 8D, 8] =
level 2, pooling, [8D, 8D, 8] = level 3, pooling, [8D], pooling, [8D], pooling. Numbers are multiples of the width, and
the first dropout is 0.3. For images larger than 32 px, the features that remain are averaged.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from bench.attention.slot import GATE, READOUT, Layout, Slot
from bench.networks.base import StandardNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import HiddenHead
from bench.networks.vgg import convolutions, halved, initialize, pool, stages

TAIL = ((0.4,), (0.4,))
"""Dropouts of the convolutions behind the third level; a pooling precedes each, and one follows."""


def level_slots(width: int, size: tuple[int, int], kinds: Sequence[str] = (GATE, GATE, GATE)) -> list[Slot]:
    """Return the slots of the three levels.

    Args:
        width: channels of the first stage.
        size: (H, W) of the images in pixels.
        kinds: the kind of each slot.
    """
    factors = (4, 8, 8)
    return [Slot(f"l{k + 1}", factors[k] * width, halved(size, k), kinds[k]) for k in range(3)]


class Trunk(nn.Module):
    """The convolutions up to the third level.

    Args:
        width: channels of the first stage.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = stages(width)

    def forward(self, images: Tensor, run: ForwardPass) -> Tensor:
        """Return the features of the third level, (·, 8 · width, H / 4, W / 4), after its slot."""
        first, second, *levels = self.stages
        x: Tensor = second(first(images))
        for slot, level in enumerate(levels):
            x = run.gate(slot, level(pool(x) if slot else x))
        return x


class Tail(nn.Module):
    """The poolings and convolutions behind the third level.

    Args:
        width: channels of the features.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(convolutions(width, width, dropouts) for dropouts in TAIL)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last features, (·, C, H / 8, W / 8) of x (·, C, H, W)."""
        for stage in self.stages:
            x = stage(pool(x))
        return pool(x)


class LateVGG(StandardNetwork):
    """The convolutions of `vgg-att`, and the classifier of `vgg`.

    A slot acts in each level, and the readout over the last features. The width is that of the first stage.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.trunk, self.tail = Trunk(width), Tail(8 * width)
        initialize(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return HiddenHead(width, self.layout.slots[-1].channels, classes, self.appended_queries, dropout)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        slots = level_slots(width, size)
        readout = Slot("readout", 8 * width, halved(slots[-1].size, len(TAIL) + 1), READOUT)
        return Layout((*slots, readout), tuple(range(4)))

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        run.keep(3, self.tail(self.trunk(images, run)))

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.trunk.stages[slot + 2] if slot < 3 else self.tail.stages[-1]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first level, which has the size of the image."""
        return self.layout.slots[0].channels
