"""Pre-activation ResNet-164 with bottlenecks, the residual network of LTPA (App. A.2).

He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016. It has 9n + 2 layers with n = 18, no biases in
convolutions, and 54 blocks. Attention acts after the last convolution of a block, before the sum. Decisions: the first
block of a stage applies its activation before both branches; LTPA's own tail for a global feature is not part of it, so
`ltpa-dp` computes the global feature itself.

Images of 32 px give maps of 32, 16 and 8 px.
"""

from torch import Tensor, nn

from bench.attention.slot import Layout
from bench.networks.base import StandardNetwork, initialize_convolutions, residual_layout
from bench.networks.forward_pass import ForwardPass
from bench.networks.heads import LinearHead
from bench.networks.shortcut import PointwiseShortcut

STAGES, BLOCKS, EXPANSION = 3, 18, 4
"""Number of stages, of blocks in a stage, and output channels of a block divided by its inner channels."""


class Bottleneck(nn.Module):
    """BatchNorm, ReLU and a convolution, three times (1×1, 3×3, 1×1), then attention; plus the identity.

    Args:
        slot: index of the slot of the block.
        channels: input channels.
        width: inner channels; the output has `EXPANSION` · width.
        stride: stride of the 3×3 convolution.
    """

    def __init__(self, slot: int, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.slot = slot
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, EXPANSION * width, 1, bias=False)
        self.shortcut = None
        if channels != EXPANSION * width:
            self.shortcut = PointwiseShortcut(channels, EXPANSION * width, stride)

    def forward(self, x: Tensor, run: ForwardPass) -> Tensor:
        """Return the features (·, EXPANSION · width, H', W') of x (·, channels, H, W)."""
        active = self.norm1(x).relu()
        identity = x if self.shortcut is None else self.shortcut(active)
        branch = self.conv2(self.norm2(self.conv1(active)).relu())
        branch, identity = run.block(self.slot, self.conv3(self.norm3(branch).relu()), identity)
        out: Tensor = branch + identity
        run.keep(self.slot, out)
        return out


class ResNet164(StandardNetwork):
    """A convolution, three stages of 18 blocks, BatchNorm, ReLU, average pooling and a linear layer.

    The stages have 4, 8 and 16 × width channels.
    """

    def _add_layers(self, width: int, dropout: float) -> None:
        self.stem = nn.Conv2d(3, width, 3, padding=1, bias=False)
        blocks, channels = [], width
        for slot in range(STAGES * BLOCKS):
            stage, k = divmod(slot, BLOCKS)
            blocks.append(Bottleneck(slot, channels, width << stage, stride=2 if stage and not k else 1))
            channels = EXPANSION * width << stage
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(channels)
        initialize_convolutions(self)

    def _make_head(self, width: int, classes: int, dropout: float) -> nn.Module:
        return LinearHead(width, classes, self.appended_queries)

    @classmethod
    def layout_of(cls, width: int, size: tuple[int, int]) -> Layout:
        """Return the slots, see `SlotNetwork.layout_of`. The levels are the outputs of the stages."""
        channels = [EXPANSION * width << stage for stage in range(STAGES)]
        return residual_layout("stage", channels, BLOCKS, size)

    def features(self, images: Tensor, run: ForwardPass) -> None:
        """Compute all features, see `SlotNetwork.features`. There is no global feature."""
        x = self.stem(images)
        for block in self.blocks:
            x = block(x, run)
        run.keep(len(self.layout.slots) - 1, self.norm(x).relu())

    def layer_before(self, slot: int) -> nn.Module:
        """Return the layer before a slot, see `SlotNetwork.layer_before`."""
        return self.blocks[min(slot, STAGES * BLOCKS - 1)]

    @property
    def full_size_channels(self) -> int:
        """The channels of the first stage."""
        return EXPANSION * self.stem.out_channels
