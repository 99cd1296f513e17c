"""The spatial transformer: its window, its gradient and the places of its maps."""

import torch

import bench
from bench.attention.stn import SpatialTransformer, transform
from bench.attention.warps import compose_frame, warp_to_image
from tests.bench.attention.helpers import inputs


def test_identity_transformer_returns_the_input():
    module, (x, query) = SpatialTransformer(5, 4).double(), inputs(5, 7)
    out = module(x, query)
    torch.testing.assert_close(out.features, x)
    torch.testing.assert_close(out.mask, torch.ones(3, 1, 5, 7, dtype=torch.float64))
    torch.testing.assert_close(warp_to_image(out.mask, compose_frame(None, out.warp)), out.mask)


def test_gradient_of_a_window_outside_the_image_is_not_zero():
    """Without bounds, a window far outside would see only zeros for any small change of θ."""
    module, (x, query) = SpatialTransformer(5, 4).double(), inputs(6, 9)
    with torch.no_grad():
        module.theta.bias.copy_(torch.tensor([-9.0, 1.0, -18.0, 13.0, 4.0, 40.0]))
    out = module(x.abs() + 1, query)
    assert (out.features.sum(dim=(1, 2, 3)) > 0).all()
    out.features.square().sum().backward()
    assert (module.theta.bias.grad != 0).all()
    assert (out.warp[:, :, :2].abs() < 2).all()
    assert (out.warp[:, :, 2].abs() < 1).all()


def test_spatial_transformer_samples_the_window_of_theta():
    """The window has half the size of a 6 × 6 map and the same centre; a second window is mirrored."""
    x = torch.arange(36.0).view(1, 1, 6, 6)
    window = transform(x, torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]]))
    coordinates = (torch.arange(6.0) + 0.5) / 2 + 1.5 - 0.5
    expected = coordinates[:, None] * 6 + coordinates[None, :]
    torch.testing.assert_close(window[0, 0], expected)
    mirrored = transform(x, torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))
    torch.testing.assert_close(mirrored, x.flip(3))


def test_maps_after_a_transformer_are_placed_in_the_image():
    torch.manual_seed(0)
    model = bench.create_model("stn-m,pan", variant="mini").eval()
    with torch.no_grad():  # a window on the upper left quarter
        model.gates["0"].attend.theta.bias.copy_(torch.tensor([1 / 3, 0.0, -1.0, 0.0, 1 / 3, -1.0]))
    masks = model(torch.rand(2, 3, 48, 48), torch.tensor([1, 2])).masks
    assert len(masks) == 4
    for mask in masks:
        size = mask.shape[2]
        assert mask[:, :, : (size + 1) // 2, : (size + 1) // 2].sum() > 0.9 * mask.sum()
