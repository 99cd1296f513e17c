"""CBAM compared with timm."""

import torch
from torch import nn

from bench.attention.cbam import CBAM


def timm_weights(own: CBAM, theirs: nn.Module) -> None:
    with torch.no_grad():
        theirs.channel.fc1.weight.copy_(own.channel.hidden.weight[:, :, None, None])
        theirs.channel.fc2.weight.copy_(own.channel.out.weight[:, :, None, None])
        # Eq. 3 and timm stack [mean, max], this module [max, mean]: only the order of the kernel's planes differs.
        theirs.spatial.conv.conv.weight.copy_(own.spatial.weight.flip(1))
        theirs.spatial.conv.bn.eps = 0.0


def test_cbam_agrees_with_timm():
    from timm.layers.cbam import CbamModule

    torch.manual_seed(0)
    own, theirs = CBAM(8, 0).double(), CbamModule(8, rd_ratio=0.25, spatial_kernel_size=3).double().eval()
    timm_weights(own, theirs)
    x = torch.randn(3, 8, 5, 6, dtype=torch.float64)
    features, score = own(x)
    torch.testing.assert_close(features * score.sigmoid(), theirs(x))
