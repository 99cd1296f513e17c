"""LTPA compared with its formula."""

import pytest
import torch
from torch.nn import functional as F

import bench
from bench.attention import canonical_name, get_mechanism, present_name
from bench.attention.ltpa import GlobalLocalReadout
from bench.metrics import attended
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.helpers import inputs


@pytest.mark.parametrize("compatibility", ["dot", "parametrised"])
def test_ltpa_equals_its_formula(compatibility):
    module = GlobalLocalReadout(5, 4, compatibility, linear=False).double()
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


def test_linear_compatibility_equals_the_papers_formula_for_every_global_feature():
    """softmax of ⟨u, l + g⟩ (Eq. 2) is the same for all g, because ⟨u, g⟩ is the same at every position."""
    module, (x, query) = GlobalLocalReadout(5, 4, "parametrised").double(), inputs(3, 4)
    reading = module([x, x.sin(), x.cos()], query)
    for level, local in enumerate((x, x.sin(), x.cos())):
        u, flat = module.weigh[level].weight.view(-1), local.flatten(2)
        for g in (torch.zeros(3, 5).double(), torch.randn(3, 5).double(), 100 * torch.randn(3, 5).double()):
            a = torch.einsum("c,bcn->bn", u, flat + g[..., None]).softmax(dim=1)
            torch.testing.assert_close(reading.masks[level].flatten(1), a)
            vectors = reading.vectors[:, 0, 5 * level : 5 * level + 5]
            torch.testing.assert_close(vectors, torch.einsum("bcn,bn->bc", flat, a))


def test_only_the_compatibilities_that_depend_on_the_query_have_a_global_feature():
    x, query = inputs(3, 4)
    for compatibility, linear, depends in (
        ("parametrised", True, False),
        ("parametrised", False, True),
        ("dot", True, True),
    ):
        module = GlobalLocalReadout(5, 4, compatibility, linear=linear).double()
        readings = [module([x, x, x], q) for q in (query, query.roll(1, dims=1))]
        assert ((readings[0].vectors - readings[1].vectors).abs().max() > 1e-9) == depends
        assert torch.equal(readings[0].masks[0], readings[1].masks[0]) != depends
        assert any(name.startswith("globally") for name, _ in module.named_parameters()) == depends


def test_ltpa_pc_is_linear_and_gets_the_query_before_the_classifier():
    sizes = {}
    for attn in ("ltpa-pc", "ltpa-pc:linear=true", "ltpa-pc:linear=false", "ltpa-dp"):
        model = bench.create_model(attn, variant="mini")
        sizes[attn] = (model.head.query_dim, sum(p.numel() for p in model.parameters()))
    # Without g there are 32 · 32 + 32 + 10 · 32 parameters less, and 10 queries for 5 classes more.
    assert sizes["ltpa-pc"] == sizes["ltpa-pc:linear=true"] == (10, sizes["ltpa-pc:linear=false"][1] - 1376 + 50)
    assert sizes["ltpa-pc:linear=false"][0] == sizes["ltpa-dp"][0] == 0
    assert get_mechanism("ltpa-pc").uses_query is False
    assert get_mechanism("ltpa-pc:linear=false").uses_query is True


@pytest.mark.parametrize(
    ("name", "recorded"),
    [
        ("ltpa-pc", "ltpa-pc:linear=true"),
        ("ltpa-pc:linear=true", "ltpa-pc:linear=true"),
        ("ltpa-pc:linear=false", "ltpa-pc:linear=false"),
        ("stn-m,ltpa-pc:levels=2", "stn-m,ltpa-pc:levels=2:linear=true"),
        ("ltpa-dp:levels=2", "ltpa-dp:levels=2"),
    ],
)
def test_records_always_state_whether_ltpa_pc_is_linear(name, recorded):
    assert canonical_name(name) == recorded
    assert canonical_name(recorded) == recorded
    assert present_name(recorded) == recorded


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("ltpa-pc", "ltpa-pc:linear=false"),
        ("ltpa-pc:levels=2", "ltpa-pc:levels=2:linear=false"),
        ("stn-m,ltpa-pc", "stn-m,ltpa-pc:linear=false"),
        ("pan:kernel=3,arnn", "pan:kernel=3,arnn"),
        ("own.py:ltpa-pc#0123:width=3", "own.py:ltpa-pc#0123:width=3"),
    ],
)
def test_a_record_without_the_option_had_the_tanh(old, present):
    assert present_name(old) == present


def test_ltpa_dp_has_no_option_without_effect():
    with pytest.raises(UsageProblemError, match="ltpa-dp has no option 'linear'"):
        canonical_name("ltpa-dp:linear=true")


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
