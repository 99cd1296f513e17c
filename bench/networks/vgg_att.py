"""VGG-att, the network of LTPA with attention: three levels of local features, and a global feature g.

LTPA §4, Fig. 2. See `bench.networks.vgg_late` for the layers. The slots are the levels: gates in the first two, and the
readout in the third. g is a linear layer over the last features. `ltpa-dp` and `ltpa-pc` read the levels and g; their
options `levels` and `head` give the variants of the paper, such as `ltpa-pc:levels=2:head=indep`.

Decisions:

- Without attention in the readout, g is classified: the network then equals `vgg-late`.
- If a mechanism in the readout does not use g, the layers that compute g are left out, because they have no effect on
  the answer. In the authors' program they exist for every mechanism; those of `ltpa-pc` get a gradient of zero.
- Gradients are added where branches meet. The authors' program averages them.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from bench.attention.mechanism import Mechanism
from bench.attention.slot import GATE, READOUT, Layout
from bench.networks.base import StandardNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import NormedHead
from bench.networks.vgg import initialize
from bench.networks.vgg_late import Tail, Trunk, level_slots


class AttentionVGG(StandardNetwork):
    """Three levels, the global feature, and BatchNorm, ReLU, dropout and a linear layer over the attended vectors.

    The width is that of the first stage. The levels have 4, 8 and 8 × width channels, and g has 8 × width. A dropout
    precedes g too.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.trunk = Trunk(width)
        self.tail: Tail | None = Tail(8 * width)
        initialize(self)
        self.dropout = nn.Dropout(dropout)
        self.globally: nn.Linear | None = nn.Linear(8 * width, 8 * width)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return NormedHead(width, classes, self.appended_queries, dropout)

    def _add_mechanisms(self, mechanisms: Sequence[Mechanism]) -> None:
        """Create the mechanisms of the slots, and remove the layers of g if the readout does not use it."""
        super()._add_mechanisms(mechanisms)
        if not self.readout.uses_global:
            self.tail = self.globally = None

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        return Layout(tuple(level_slots(width, size, (GATE, GATE, READOUT))), (0, 1, 2), global_channels=8 * width)

    def features(self, images: Tensor, run: ForwardPass) -> Tensor | None:
        """Compute all features, see `SlotNetwork.features`, and return g."""
        x = self.trunk(images, run)
        if self.tail is None or self.globally is None:
            return None
        feature: Tensor = self.globally(self.dropout(self.tail(x).mean(dim=(2, 3))))
        return feature

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.trunk.stages[slot + 2]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first level, which has the size of the image."""
        return self.layout.slots[0].channels
