"""Channel attention compared with timm, and FiLM compared with its formula."""

import torch

from bench.attention.base import Changed
from bench.attention.channel import CoordinateAttention, EfficientChannelAttention, FiLM, SqueezeExcite
from tests.bench.attention.helpers import inputs


def test_se_eca_and_coordinate_attention_agree_with_timm():
    from timm.layers import EcaModule, SEModule
    from timm.layers.coord_attn import CoordAttn

    torch.manual_seed(0)
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64)
    own, theirs = SqueezeExcite(32).double(), SEModule(32, rd_channels=8).double()
    own.excite.fc1.load_state_dict(theirs.fc1.state_dict())
    own.excite.fc2.load_state_dict(theirs.fc2.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))
    own, theirs = EfficientChannelAttention(32).double(), EcaModule(32).double()
    own.neighbours.load_state_dict(theirs.conv.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))
    own, theirs = CoordinateAttention(32).double(), CoordAttn(32, rd_channels=8, bias=True).double()
    own.both.weight.data.copy_(theirs.conv1.weight.data)
    theirs.conv1.bias.data.zero_()
    own.to_rows.load_state_dict(theirs.conv_h.state_dict())
    own.to_columns.load_state_dict(theirs.conv_w.state_dict())
    torch.testing.assert_close(own(x).features, theirs(x))


def test_film_scales_and_shifts_normalised_features():
    module, (x, query) = FiLM(5, 4).double(), inputs(3, 4)
    out = module(3 * x + 7, query)
    assert isinstance(out, Changed)
    mean, variance = (3 * x).mean(dim=(0, 2, 3)), (3 * x).var(dim=(0, 2, 3), unbiased=False)
    normal = (3 * x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    scale, shift = query @ module.scale.linear.weight.T, query @ module.shift.linear.weight.T
    expected = (1 + scale[:, :, None, None]) * normal + shift[:, :, None, None]
    torch.testing.assert_close(out.features, expected.clamp_min(0))
    torch.testing.assert_close(FiLM(5).double()(3 * x + 7).features, normal.clamp_min(0))
