"""The comparison of precisions."""

import sys

import pytest

from mnistref.variants import get_variant
from tests.perf import precision


def test_each_round_times_both_precisions():
    measured = precision.times("pan", get_variant("mini"), 2, 3)
    assert [len(row) for row in measured] == [2, 2, 2]
    assert all(took > 0 for row in measured for took in row)


def test_the_table_has_a_row_for_each_mechanism(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["precision", "--attn", "san,pan", "--variant", "mini", "--rounds", "1"])
    precision.main()
    rows = capsys.readouterr().out.splitlines()[-2:]
    assert [row.split()[0] for row in rows] == ["san", "pan"]
    assert all(row.endswith("×") for row in rows)


def test_an_unknown_mechanism_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["precision", "--attn", "saan"])
    with pytest.raises(SystemExit):
        precision.main()
    assert "did you mean 'san'" in capsys.readouterr().err.splitlines()[-1]
