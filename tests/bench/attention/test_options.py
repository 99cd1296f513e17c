"""The options of mechanisms: names, ranges and effects."""

import itertools

import pytest
import torch
from torch import Tensor, nn

import bench
from bench.attention import MECHANISMS, AttentionRNN, canonical_name, resolve_network
from bench.attention.base import Scored
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.helpers import CHANNELS, QUERIES, WITH_CLASS, inputs


@pytest.mark.parametrize(
    ("attn", "message"),
    [
        ("eca:kernel=-3", "give 1 or more"),
        ("se:reduction=0", "give 1 or more"),
        ("arnn:context=-1", "give 1 or more"),
        ("arnn:width=0", "give 1 or more"),
        ("cbam:kernel=-1", "give 1 or more"),
        ("coord:reduction=0", "give 1 or more"),
        ("han:hidden=-1", "give 1 or more"),
        ("stn-m:grid=0", "give 1 or more"),
        ("unet2:width=-1", "give 1 or more"),
        ("arnn-sampled:sigma_scale=-1", "give 0 or more"),
        ("arnn-sampled:sigma_scale=nan", "give a finite number"),
        ("arnn:sigma_scale=2", "no option 'sigma_scale'"),
        ("arnn-ind:sigma_scale=2", "no option 'sigma_scale'"),
        (f"pan:hidden={10**30}", "pan:hidden=1000"),
    ],
)
def test_networks_with_option_values_out_of_range_are_refused(attn, message):
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(attn, variant="mini")


@pytest.mark.parametrize("name", WITH_CLASS)
def test_every_option_refuses_values_out_of_its_range(name):
    """Sizes below 1, even kernels and unknown words are refused."""
    m = MECHANISMS[name]
    for option, value in m.parameters().items():
        wrong = {bool: (), int: (0, -1), float: (-1.0, "nan", "inf"), str: ("mirror",)}[type(value)]
        if option in ("kernel", "context"):
            wrong += (2,)
        for text in wrong:
            with pytest.raises(UsageProblemError, match=option if text != 2 else "odd"):
                m.with_options([f"{option}={text}"]).build_module(CHANNELS, QUERIES)


@pytest.mark.parametrize("name", [name for name in WITH_CLASS if "padding" in MECHANISMS[name].parameters()])
def test_each_padding_mode_changes_the_score(name):
    """With the same parameters, each mode changes the score at the border of the map."""
    m = MECHANISMS[name]
    x, query = (t.float() for t in inputs(6, 8, channels=CHANNELS))
    seen = []
    for padding in ("zeros", "replicate", "reflect", "circular"):
        torch.manual_seed(0)
        module = m.with_options([f"padding={padding}"]).build_module(CHANNELS, QUERIES)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
        torch.manual_seed(5)
        out = module(x, query)
        seen.append(out if isinstance(out, Tensor) else out[1] if isinstance(out, Scored) else out.features)
    reaches = any(isinstance(part, nn.Conv2d) and max(part.kernel_size) > 1 for part in module.modules())
    for one, other in itertools.combinations(seen, 2):
        assert one.shape == other.shape
        assert torch.equal(one, other) != reaches


def test_options_after_a_name_are_canonical_and_change_the_module():
    assert canonical_name("arnn:hidden=16:context=5") == "arnn:context=5:hidden=16"
    assert canonical_name("arnn:hidden=32") == "arnn"
    assert canonical_name("ctx:kernel=5,arnn:hidden=8") == "pan-ctx:kernel=5,arnn:hidden=8"
    first, last = (resolve_network("pan-ctx:kernel=5", 8).slots(4)[k].build_module(8, 4, last=k > 0) for k in (0, 3))
    assert (first.features.kernel_size, last.features.kernel_size) == ((5, 5), (1, 1))
    layer = resolve_network("arnn:hidden=16:context=5:padding=replicate", 8).slots(4)[0].build_module(8, 4)
    assert layer.kernel_h.shape == (2, 64, 32)
    assert layer.context.kernel_size == (5, 5)
    assert layer.context.padding_mode == "replicate"
    for name in ("brnn2", "cbam-arnn"):
        layer = resolve_network(f"{name}:hidden=16:context=5:padding=replicate", 8).slots(4)[0].build_module(8, 4)
        within = next(part for part in layer.modules() if isinstance(part, AttentionRNN))
        assert within.kernel_h.shape == (2, 64, 32)
        assert within.context.kernel_size == (5, 5)
        assert within.context.padding_mode == "replicate"
    assert bench.create_model("ltpa-dp:levels=2", variant="mini").head.classify.in_features == 64


@pytest.mark.parametrize(
    ("attn", "message"),
    [
        ("arnn:hiden=3", "did you mean 'hidden'"),
        ("arnn:hidden=big", "not of the form hidden=32"),
        ("arnn:hidden", "not of the form"),
        ("arnn:hidden=0", "give 1 or more"),
        ("arnn:context=4", "give an odd number"),
        ("pan:padding=mirror", "padding"),
        ("none:hidden=3", "it has no options"),
        ("brnn2:block=0", "give 1 or more"),
        ("ltpa-dp:levels=5", "4 slots"),
        ("self:heads=5", "heads"),
        ("arnn:sampled=true", "no option 'sampled'"),
    ],
)
def test_wrong_mechanism_options_are_usage_errors(attn, message):
    with pytest.raises(UsageProblemError, match=message):
        bench.create_model(attn, variant="mini")
