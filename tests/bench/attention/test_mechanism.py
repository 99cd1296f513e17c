"""Entries of the registry: options after a name, refused options, and what lists say of a mechanism."""

import pytest
from torch import nn

import bench
from bench.attention import MECHANISMS, AttentionRNN, canonical_name, get_mechanism
from bench.attention.mechanism import Mechanism
from mnistref.common.errors import UsageProblemError


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


def test_options_after_a_name_are_canonical_and_change_the_module():
    assert canonical_name("arnn:hidden=16:context=5") == "arnn:context=5:hidden=16"
    assert canonical_name("arnn:hidden=32") == "arnn"
    assert canonical_name("ctx:kernel=5,arnn:hidden=8") == "pan-ctx:kernel=5,arnn:hidden=8"
    first, last = (get_mechanism("pan-ctx:kernel=5").build_module(8, 4, last=last) for last in (False, True))
    assert (first.features.kernel_size, last.features.kernel_size) == ((5, 5), (1, 1))
    layer = get_mechanism("arnn:hidden=16:context=5:padding=replicate").build_module(8, 4)
    assert layer.kernel_h.shape == (2, 64, 32)
    assert layer.context.kernel_size == (5, 5)
    assert layer.context.padding_mode == "replicate"
    for name in ("brnn2", "cbam-arnn"):
        layer = get_mechanism(f"{name}:hidden=16:context=5:padding=replicate").build_module(8, 4)
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


def test_a_mechanism_describes_itself_with_its_options():
    mechanism = MECHANISMS["pan-ctx"].with_options(["kernel=5"])
    described = mechanism.describe()
    assert (described["name"], described["slots"], described["uses_query"]) == ("pan-ctx", "all", True)
    assert described["options"]["kernel"] == "5"
    assert MECHANISMS["none"].describe()["options"] == {}
    assert MECHANISMS["san"].describe()["slots"] == "last"


def test_an_option_with_its_default_value_is_not_part_of_the_name():
    mechanism = MECHANISMS["arnn"]
    assert mechanism.with_options(["hidden=16", "context=5"]).full_name == "arnn:context=5:hidden=16"
    assert mechanism.with_options(["hidden=16"]).with_options(["hidden=32"]).full_name == "arnn"


def test_only_classes_of_this_project_are_shipped():
    assert MECHANISMS["arnn"].shipped
    assert MECHANISMS["none"].shipped
    own = Mechanism("own", "a class", "own.py", target=nn.Identity)
    assert not own.shipped
    with pytest.raises(UsageProblemError, match=r"gone: cannot be imported .*; reinstall a package"):
        _ = Mechanism("gone", "a class", "a package", target="no_such_module:Own").cls


def test_a_class_that_raises_is_a_usage_error_with_its_arguments():
    class Broken(nn.Module):
        def __init__(self, channels, query_dim):
            raise RuntimeError("no such luck")

    with pytest.raises(UsageProblemError, match=r"broken: Class\(8, 4, …\) raises RuntimeError: no such luck"):
        Mechanism("broken", "a class", "own.py", target=Broken).build_module(8, 4)
