"""CBAM compared with timm."""

import torch
from torch import nn
from torch.nn import functional as F

from bench.attention import get_mechanism
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


def test_the_options_of_the_authors_program():
    torch.manual_seed(0)
    mechanism = get_mechanism("cbam:bias=true:kernel=7:norm=true:reduction=16")
    module, x = mechanism.build_module(32, 0), torch.randn(2, 32, 9, 9)
    features, score = module(x)
    assert torch.equal(score.sigmoid(), torch.full((2, 1, 9, 9), 0.5))  # γ begins at 0
    hidden, out = module.channel.hidden, module.channel.out
    mean, most = (F.linear(F.linear(p, hidden.weight, hidden.bias).relu(), out.weight, out.bias) for p in pooled(x))
    torch.testing.assert_close(features, x * (mean + most).sigmoid()[:, :, None, None])
    with torch.no_grad():
        module.norm.weight.fill_(2)
    planes = torch.cat([features.amax(1, keepdim=True), features.mean(1, keepdim=True)], 1)
    plain = F.conv2d(planes, module.spatial.weight, padding=3)
    normalised = 2 * (plain - plain.mean()) / (plain.var(correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(module(x).score, normalised)
    assert [tuple(p.shape) for p in (hidden.weight, module.spatial.weight)] == [(2, 32), (1, 2, 7, 7)]


def pooled(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return x.mean((2, 3)), x.amax((2, 3))
