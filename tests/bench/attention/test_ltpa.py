"""LTPA compared with its formula."""

import pytest
import torch
from torch.nn import functional as F

import bench
from bench.attention.ltpa import GlobalLocalReadout
from bench.metrics import attended
from tests.bench.attention.helpers import inputs


@pytest.mark.parametrize("compatibility", ["dot", "parametrised"])
def test_ltpa_equals_its_formula(compatibility):
    module = GlobalLocalReadout(5, 4, compatibility).double()
    x, query = inputs(3, 4)
    features = [x.repeat(1, 1, 4, 4), x.repeat(1, 1, 2, 2).sin(), x]
    reading = module(features, query)
    g = module.globally(x.mean(dim=(2, 3))) + module.embedding(x, query)
    for level, local in enumerate(features):
        flat = local.flatten(2)
        if compatibility == "dot":
            score = torch.einsum("bcn,bc->bn", flat, g)
        else:
            score = torch.einsum("c,bcn->bn", module.weigh[level].weight.view(-1), (flat + g[..., None]).tanh())
        a = score.softmax(dim=1)
        torch.testing.assert_close(reading.masks[level].flatten(1), a)
        torch.testing.assert_close(
            reading.vectors[:, 0, 5 * level : 5 * level + 5], torch.einsum("bcn,bn->bc", flat, a)
        )


def test_ltpa_global_feature_acts_only_through_attended_vectors():
    """If every position has the same local feature, the attended vectors equal that feature for every g."""
    module, (_, query) = GlobalLocalReadout(5, 4).double(), inputs(1, 1)
    same = torch.randn(3, 5, 1, 1, dtype=torch.float64).expand(3, 5, 4, 4)
    readings = [module([same] * 3, q).vectors for q in (query, query.roll(1, dims=1))]
    torch.testing.assert_close(*readings)
    torch.testing.assert_close(readings[0][:, 0], same[:, :, 0, 0].repeat(1, 3))


def test_published_ltpa_formula_ignores_the_query():
    x, query = inputs(3, 4)
    for linear, sees in ((True, False), (False, True)):
        module = GlobalLocalReadout(5, 4, "parametrised", linear=linear).double()
        readings = [module([x, x, x], q).vectors for q in (query, query.roll(1, dims=1))]
        assert ((readings[0] - readings[1]).abs().max() > 1e-9) == sees


def test_ltpa_maps_are_scored_by_the_square_root_of_their_product():
    model = bench.create_model("ltpa-dp", variant="mini").eval()
    out = model(torch.rand(2, 3, 48, 48), torch.tensor([1, 2]))
    full = [F.interpolate(m, (48, 48), mode="bilinear", align_corners=False) for m in out.masks]
    root = (full[0] * full[1] * full[2]).sqrt().squeeze(1)
    expected = root / root.sum(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(attended(out.masks, (48, 48), out.mask_power), expected)


def test_ltpa_has_two_compatibility_functions():
    with pytest.raises(ValueError, match="dot or parametrised"):
        GlobalLocalReadout(5, 4, "cosine")
