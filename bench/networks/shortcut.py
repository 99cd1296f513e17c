"""The convolution on the shortcut of a residual block."""

from torch import Tensor, nn


class PointwiseShortcut(nn.Conv2d):
    """A 1×1 convolution with a stride and no bias: (·, C, H, W) → (·, width, ⌈H / stride⌉, ⌈W / stride⌉).

    Equal to `nn.Conv2d` with this stride. It selects the positions first, because the backward pass of PyTorch 2.14's
    convolution with a stride writes outside its memory on a CPU, for channels-last features with few channels.

    Args:
        channels: input channels, C.
        width: output channels.
        stride: distance of the positions that are kept.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__(channels, width, 1, bias=False)
        self.distance = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return the features at every `distance`-th position."""
        return super().forward(x[:, :, :: self.distance, :: self.distance])
