"""The papers' published numbers."""

import csv
from importlib.resources import files

import pytest

from bench.leaderboard import published
from bench.leaderboard.published import find_published, read_published
from bench.networks import NETWORKS, resolve
from mnistref.common.errors import DataProblemError


def test_published_values_are_fractions_and_prefer_the_complete_table():
    assert find_published("mbg", "pan-ctx").value == 0.79
    assert find_published("mbg", "stn-s").source == "PAN T1a"
    assert find_published("mbg", "arnn", "mask_correctness").value == 0.42
    assert find_published("mref", "pan-ctx", "tpr").value == pytest.approx(0.2259)
    assert find_published("mbgb", "brnn2,arnn").value == 0.9268
    assert find_published("mini", "arnn") is None


HEADER = "source,variant,method,attn,measure,value\n"


def test_a_published_line_of_an_unknown_paper_is_a_data_problem():
    read = read_published(HEADER + "ARNN-S T1,mbg,X,x,accuracy,50\nPAN T1a,mbg,X,x,tpr,5\nPAN T1a,mbg,Y,y,other,5\n")
    assert {key: found.value for key, found in read.items()} == {
        ("ARNN", "mbg", "attribute", "x", "accuracy"): 0.5,
        ("PAN", "mbg", "attribute", "x", "tpr"): 0.05,
        ("PAN", "mbg", "attribute", "y", "other"): 5,
    }
    with pytest.raises(DataProblemError, match=r"^published.csv: 'CBAM T1' is not a source in ARNN, PAN, LTPA; .*"):
        read_published(HEADER + "PAN T1a,mbg,X,x,tpr,5\nCBAM T1,mbg,Z,z,accuracy,50\n")


def test_values_of_other_networks_are_errors_ratios_and_transfers():
    """ARNN Table 4; LTPA Tables 1 to 3."""
    for attn, error, ratio in (("none", 0.2556, 1), ("cbam", 0.2507, 1.43), ("cbam-arnn", 0.2418, 4.81)):
        assert find_published("cifar100", attn, "error", network="resnet18").value == error
        assert find_published("cifar100", attn, "step_over_none", network="resnet18").value == ratio
    assert find_published("cifar100", "none", "top5_error", network="resnet18").value == 0.0687
    assert find_published("cifar10", "ltpa-pc:levels=2:linear=true", "error", network="vgg-att").value == 0.0523
    assert find_published("cifar100", "ltpa-pc:levels=2:linear=true", "error", network="vgg-att").source == "LTPA T1"
    assert find_published("svhn", "ltpa-pc:linear=true", "error", network="vgg-att").value == 0.0352
    assert find_published("cifar100", "none", "transfer_scene67", network="vgg").value == 0.1673
    assert find_published("cifar100", "none", "transfer_stl10_test", network="vgg") is None
    with_attention = find_published("cifar10", "ltpa-pc:levels=2:linear=true", "transfer_scene67", network="resnet164")
    assert with_attention.value == 0.3046
    assert find_published("cifar100", "none", "error") is None


def test_mechanisms_have_the_names_that_runs_store():
    """The papers' numbers of LTPA's pc are those of the linear compatibility."""
    for _, _, network, attn, _ in published._table():
        assert network in NETWORKS
        if attn != "uniform":
            assert resolve(attn, None, network).name == attn


def test_standard_deviations_have_the_unit_of_their_values():
    """LTPA Tables 1 and 2 print them; ARNN prints none."""
    found = find_published("cifar100", "ltpa-pc:levels=2:linear=true", "error", network="vgg-att")
    assert (found.value, found.sd) == (0.2319, 0.0004)
    assert find_published("cifar10", "none", "error", network="resnet164").sd == 0.0018
    assert find_published("cub200", "none,ltpa-pan", "error", network="vgg-pan").sd == 0.0016
    assert find_published("cifar100", "cbam", "error", network="resnet18").sd is None
    printed = [key for key, value in published._table().items() if value.sd is not None]
    assert len(printed) == 11 * 2 + 4 * 2 + 1
    assert {(key[0], key[4]) for key in printed} == {("LTPA", "error")}
    header = HEADER.replace("value", "value,network,sd")
    read = read_published(header + "LTPA T1,svhn,X,x,error,5,vgg,0.5\nPAN T1a,mbg,Y,y,tpr,5\n")
    assert [value.sd for value in read.values()] == [0.005, None]


def test_lines_without_a_mechanism_are_values_of_other_methods():
    """LTPA Table 2 and Fig. 9 cite them. No run has their names."""
    text = files("bench.leaderboard").joinpath("published.csv").read_text(encoding="utf-8")
    cited = [row for row in csv.DictReader(text.splitlines()) if not row["attn"]]
    assert not any(row["network"] or row["sd"] for row in cited)
    assert {(row["method"], row["value"]) for row in cited if row["source"] == "LTPA T2"} == {
        ("VGG-GAP", "29.50"),
        ("RN-34", "26.5"),
    }
    segmented = [row for row in cited if row["source"] == "LTPA Fig. 9"]
    assert (len(segmented), len({row["method"] for row in segmented})) == (21, 7)
    assert {row["measure"] for row in segmented} == {f"jaccard_{name}" for name in ("airplane", "car", "horse")}
    assert all(attn for _, _, _, attn, _ in published._table())
    assert find_published("cub200", "none", "error", network="vgg-gap") is None


def test_values_of_attacks_and_segmentation_are_shares():
    """LTPA Figures 6 and 9."""
    fooled = find_published("cub200", "ltpa-pc:levels=2:linear=true", "fooling_fgsm_16", network="vgg-att")
    assert (fooled.value, fooled.source) == (0.976, "LTPA Fig. 6")
    assert find_published("cub200", "none", "fooling_fgsm_1", network="vgg").value == 0.5858
    assert find_published("cifar10", "ltpa-pc:linear=true", "jaccard_car", network="vgg-att").value == 0.6119
    assert find_published("cifar10", "none", "jaccard_horse", network="vgg-gap").source == "LTPA Fig. 9"
    unread = find_published("cifar100", "ltpa-pc:levels=2:linear=true", "jaccard_horse", network="vgg-att")
    assert unread is None
