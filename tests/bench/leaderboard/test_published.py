"""The papers' published numbers."""

import pytest

from bench.leaderboard.published import find_published, read_published
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
        ("ARNN", "mbg", "x", "accuracy"): 0.5,
        ("PAN", "mbg", "x", "tpr"): 0.05,
        ("PAN", "mbg", "y", "other"): 5,
    }
    with pytest.raises(DataProblemError, match=r"^published.csv: 'CBAM T1' is not a source in ARNN or PAN; .*PAPERS"):
        read_published(HEADER + "PAN T1a,mbg,X,x,tpr,5\nCBAM T1,mbg,Z,z,accuracy,50\n")
