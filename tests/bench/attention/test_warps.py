"""Maps of warped features, placed in the image."""

import pytest
import torch

from bench.attention.layers import normalize_map
from bench.attention.stn import transform
from bench.attention.warps import compose_frame, warp_to_image


def test_map_of_warped_features_is_placed_at_their_origin():
    """The second window is the lower right quarter of the upper left quarter: 25 to 50 % of each side of the image."""
    quarter = torch.tensor([[[0.5, 0.0, -0.5], [0.0, 0.5, -0.5]]])
    within = torch.tensor([[[0.5, 0.0, 0.5], [0.0, 0.5, 0.5]]])
    ones = torch.ones(1, 1, 32, 32)
    outer = compose_frame(None, quarter)
    inner = compose_frame(outer, within)
    assert warp_to_image(ones, outer)[0, 0, :15, :15].eq(1).all()
    assert warp_to_image(ones, outer)[0, 0, 17:].eq(0).all()
    assert warp_to_image(ones, inner)[0, 0, 9:15, 9:15].eq(1).all()
    assert warp_to_image(ones, inner)[0, 0, :7].eq(0).all()
    assert warp_to_image(ones, inner).sum() == pytest.approx(64, rel=0.05)
    ramp = torch.linspace(0, 1, 32)[:, None] + torch.linspace(0, 2, 32)
    seen = transform(ramp[None, None], inner[:, :2])
    twice = transform(transform(ramp[None, None], quarter), within)
    torch.testing.assert_close(seen[..., 2:-2, 2:-2], twice[..., 2:-2, 2:-2])
    flat = compose_frame(None, torch.zeros(1, 2, 3))
    assert warp_to_image(ones, flat).isfinite().all()
    assert normalize_map(torch.zeros(1, 1, 4, 4)).eq(1 / 16).all()
