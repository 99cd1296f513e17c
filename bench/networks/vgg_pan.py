"""VGG-PAN, LTPA's network for progressive attention: the levels of `vgg-att`, whose gates have no norm.

LTPA App. A.2 and the authors' program. See `bench.networks.vgg_late` for the layers. The slots are the levels. With
`none,ltpa-pan`, the features after the tenth convolution (level 2) are multiplied by a sigmoid map and go on. Those
after the thirteenth (level 3) are weighted by a softmax map, and the classifier reads their weighted sum.

The network has no global feature: `ltpa-pan` computes one for each gate, as in the authors' program.
"""

from torch import Tensor, nn

from bench.attention.slot import READOUT, SCALE, Layout
from bench.networks.base import StandardNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import NormedHead
from bench.networks.vgg import initialize
from bench.networks.vgg_late import Trunk, level_slots


class ProgressiveVGG(StandardNetwork):
    """Three levels, and BatchNorm, ReLU, dropout and a linear layer over the vectors of the readout.

    The width is that of the first stage. The levels have 4, 8 and 8 × width channels.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.trunk = Trunk(width)
        initialize(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return NormedHead(width, classes, self.appended_queries, dropout)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        return Layout(tuple(level_slots(width, size, (SCALE, SCALE, READOUT))), (0, 1, 2))

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        self.trunk(images, run)

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.trunk.stages[slot + 2]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first level, which has the size of the image."""
        return self.layout.slots[0].channels
