"""ResNet-18 for small images, with attention inside each residual block, as in ARNN §4.2.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. Decisions, which are those of CBAM's program for
CIFAR: the first convolution is 3×3 with stride 1, and no max pooling follows; attention acts after the second BatchNorm
of a block, before the sum. Names and initialisation of the layers are those of torchvision.

Images of 32 px give maps of 32, 32, 16, 16, 8, 8, 4 and 4 px.
"""

from torch import Tensor, nn

from bench.attention.slot import Layout
from bench.networks.base import StandardNetwork, initialize_convolutions, residual_layout
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import LinearHead
from bench.networks.shortcut import PointwiseShortcut

STAGES, BLOCKS = 4, 2
"""Number of stages, and of blocks in a stage."""


class BasicBlock(nn.Module):
    """conv 3×3, BatchNorm, ReLU, conv 3×3, BatchNorm, attention; plus the identity; ReLU.

    Args:
        slot: index of the slot of the block.
        channels: input channels.
        width: output channels.
        stride: stride of the first convolution.
    """

    def __init__(self, slot: int, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.slot = slot
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(PointwiseShortcut(channels, width, stride), nn.BatchNorm2d(width))

    def forward(self, x: Tensor, run: ForwardPass) -> Tensor:
        """Return the features (·, width, H', W') of x (·, channels, H, W)."""
        identity = x if self.downsample is None else self.downsample(x)
        branch = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        branch, identity = run.block(self.slot, branch, identity)
        out = (branch + identity).relu()
        run.keep(self.slot, out)
        return out


class ResNet18(StandardNetwork):
    """A convolution, four stages of two blocks, average pooling and a linear layer.

    The stages have width, 2, 4 and 8 × width channels.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for stage in range(STAGES):
            blocks = []
            for k in range(BLOCKS):
                stride = 2 if stage and not k else 1
                blocks.append(BasicBlock(stage * BLOCKS + k, channels, width << stage, stride))
                channels = width << stage
            setattr(self, f"layer{stage + 1}", nn.ModuleList(blocks))
        initialize_convolutions(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return LinearHead(width, classes, self.appended_queries)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. The levels are the outputs of the stages."""
        channels = [width << stage for stage in range(STAGES)]
        return residual_layout("layer", channels, BLOCKS, size)

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        x = self.bn1(self.conv1(images)).relu()
        for block in self._blocks():
            x = block(x, run)
        run.keep(len(self.layout.slots) - 1, x)

    def _blocks(self) -> list[nn.Module]:
        """Return all blocks in the order of their computation."""
        return [block for stage in range(STAGES) for block in getattr(self, f"layer{stage + 1}")]

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self._blocks()[min(slot, STAGES * BLOCKS - 1)]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first stage."""
        return self.conv1.out_channels
