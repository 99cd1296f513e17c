"""VGG-19 with global average pooling, LTPA's VGG-GAP: its last features give class activation maps.

Simonyan and Zisserman, ICLR 2015; Zhou et al., CVPR 2016; LTPA §5 and the authors' program: stages of 2, 2, 4, 4 and 4
convolutions without dropout, the mean of the last features, and one linear layer. The last features of an image of 32
px have 8 × 8 positions. A slot follows each stage. Decision: the two poolings follow the first two stages, as in VGG,
because the definition of the authors' network is not published.

Images of 32 px give maps of 16, 8, 8, 8 and 8 px.
"""

from torch import Tensor, nn

from bench.attention.slot import GATE, READOUT, Layout, Slot
from bench.networks.base import StandardNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import LinearHead
from bench.networks.vgg import halved, initialize, pool, stages

STAGES = tuple((factor, (0.0,) * count) for factor, count in ((1, 2), (2, 2), (4, 4), (8, 4), (8, 4)))
"""As `bench.networks.vgg.STAGES`."""
POOLINGS = 2
"""Number of stages that a pooling follows."""


class GapVGG(StandardNetwork):
    """Five stages with a slot each, two poolings, the mean over positions and a linear layer.

    The width is that of the first stage. The stages have width, 2, 4, 8 and 8 × width channels.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.stages = stages(width, STAGES)
        initialize(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return LinearHead(width, classes, self.appended_queries)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        count = len(STAGES)
        slots = [
            Slot(f"stage{k}", width * factor, halved(size, min(k, POOLINGS)), GATE if k < count else READOUT)
            for k, (factor, _) in enumerate(STAGES, start=1)
        ]
        return Layout(tuple(slots), tuple(range(count)))

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        x = images
        for k, stage in enumerate(self.stages):
            x = stage(x)
            x = run.gate(k, pool(x) if k < POOLINGS else x)

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.stages[slot]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first stage."""
        return self.layout.slots[0].channels
