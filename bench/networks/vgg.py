"""VGG-16 with BatchNorm and dropout for small images, the baseline of LTPA.

Simonyan and Zisserman, ICLR 2015; LTPA §4 and the authors' program (`vgg_bn_drop`): 13 convolutions in five stages, a
2×2 max pooling after each stage, and two linear layers. A slot follows each pooling. Poolings round sizes up. For
images larger than 32 px, the features that remain are averaged.

Images of 32 px give maps of 16, 8, 4, 2 and 1 px.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from bench.attention.slot import GATE, READOUT, Layout, Slot
from bench.networks.base import StandardNetwork
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import HiddenHead

STAGES = ((1, (0.3, 0.0)), (2, (0.4, 0.0)), (4, (0.4, 0.4, 0.0)), (8, (0.4, 0.4, 0.0)), (8, (0.4, 0.4, 0.0)))
"""Of each stage: its channels in multiples of the width, and the dropout after each of its convolutions."""
CONVOLUTION_EPS = 1e-3
"""BatchNorm's ε after convolutions in the authors' program."""


def convolutions(channels: int, width: int, dropouts: tuple[float, ...]) -> nn.Sequential:
    """Return conv 3×3, BatchNorm, ReLU and dropout, once for each dropout probability.

    Args:
        channels: input channels.
        width: output channels.
        dropouts: probability of the dropout after each convolution.
    """
    layers: list[nn.Module] = []
    for k, dropout in enumerate(dropouts):
        layers += [nn.Conv2d(width if k else channels, width, 3, padding=1), nn.BatchNorm2d(width, CONVOLUTION_EPS)]
        layers += [nn.ReLU(), *([nn.Dropout(dropout)] if dropout else [])]
    return nn.Sequential(*layers)


def stages(width: int, plan: Sequence[tuple[int, tuple[float, ...]]] = STAGES) -> nn.ModuleList:
    """Return the stages without poolings.

    Args:
        width: channels of the first stage.
        plan: of each stage, what `STAGES` says.
    """
    inputs = [3, *(width * factor for factor, _ in plan)]
    return nn.ModuleList(
        convolutions(channels, width * factor, dropouts)
        for channels, (factor, dropouts) in zip(inputs, plan, strict=False)
    )


def initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions as the authors' program does; biases are 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def pool(x: Tensor) -> Tensor:
    """Return the 2×2 max pooling of x, whose size is rounded up."""
    return nn.functional.max_pool2d(x, 2, ceil_mode=True)


def halved(size: tuple[int, int], times: int = 1) -> tuple[int, int]:
    """Return a size after `pool`, applied several times."""
    return -(-size[0] >> times), -(-size[1] >> times)


class VGG(StandardNetwork):
    """Five stages with a pooling and a slot each; then dropout, linear, BatchNorm, ReLU, dropout, linear.

    The width is that of the first stage. The stages have width, 2, 4, 8 and 8 × width channels, and the hidden layer of
    the classifier has 8 × width.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.stages = stages(width)
        initialize(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return HiddenHead(width, self.layout.slots[-1].channels, classes, self.appended_queries, dropout)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. Every slot is a level."""
        count = len(STAGES)
        slots = [
            Slot(f"pool{k}", width * factor, halved(size, k), GATE if k < count else READOUT)
            for k, (factor, _) in enumerate(STAGES, start=1)
        ]
        return Layout(tuple(slots), tuple(range(count)))

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        x = images
        for k, stage in enumerate(self.stages):
            x = run.gate(k, pool(stage(x)))

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.stages[slot]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first stage."""
        return self.layout.slots[0].channels
