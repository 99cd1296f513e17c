"""Tables of attacks, from records with known values."""

import numpy as np

from bench.attribution.fooling import Attack
from bench.leaderboard.attack_table import attack_table_to_text, build_attack_table
from bench.leaderboard.question_columns import ATTACK_COLUMNS, column_names
from bench.leaderboard.statistics import bootstrap_interval
from bench.runs.attack_record import AttackRecord


def attacked() -> AttackRecord:
    flags = {
        Attack("fgsm", region, norm): np.arange(20) < count
        for (region, norm), count in {("all", 1.0): 5, ("all", 4.0): 20, ("target", 1.0): 0, ("target", 4.0): 1}.items()
    }
    settings = {"format": 1, "dataset": "mini-1", "images": 20, "methods": ["fgsm"], "regions": ["all", "target"]}
    return AttackRecord(
        {**settings, "norms": [1.0, 4.0], "batch": 50, "device": "cpu"},
        flags,
        {attack: ~changed for attack, changed in flags.items()},
        np.ones(20, dtype=bool),
        {"all": np.ones(20), "target": np.full(20, 0.125)},
    )


def test_the_table_of_attacks_has_a_row_for_each_attack_with_intervals():
    board = build_attack_table([("run-1", attacked())])
    assert list(board.columns) == column_names(ATTACK_COLUMNS)
    board = board.set_index(["region", "norm"])
    assert board["fooling_rate"].to_dict() == {
        ("all", 1.0): 0.25,
        ("all", 4.0): 1.0,
        ("target", 1.0): 0.0,
        ("target", 4.0): 0.05,
    }
    row = board.loc[("all", 1.0)]
    expected = bootstrap_interval((np.arange(20) < 5).astype(float)[None])
    assert (row["fooling_rate_lo"], row["fooling_rate_hi"]) == tuple(expected)
    assert row["accuracy"] == 0.75
    assert row["accuracy_before"] == 1.0
    assert board["area"].tolist() == [1.0, 1.0, 0.125, 0.125]


def test_the_text_of_attacks_has_a_line_for_each_norm_and_a_column_for_each_region():
    text = attack_table_to_text(build_attack_table([("run-1", attacked())]))
    lines = [line.split() for line in text.splitlines()]
    assert ["method", "ε", "all", "target"] in lines
    assert text.startswith("run-1: 20 test questions of mini-1, 100.0 % right before an attack")
    photos = build_attack_table([("run-1", attacked())]).assign(dataset="folder-photos-1")
    assert attack_table_to_text(photos).startswith("run-1: 20 test images of folder-photos-1, ")
    low, high = (100 * bound for bound in bootstrap_interval((np.arange(20) < 1).astype(float)[None]))
    assert ["fgsm", "4", "100.0", "(83.9", "…", "100.0)", "5.0", f"({low:.1f}", "…", f"{high:.1f})"] in lines
    low, high = (100 * bound for bound in bootstrap_interval((np.arange(20) >= 1).astype(float)[None]))
    assert ["fgsm", "4", "0.0", "(0.0", "…", "16.1)", "95.0", f"({low:.1f}", "…", f"{high:.1f})"] in lines
    assert "all 1.000; target 0.125" in text
    assert "| fgsm | 4 | 100.0 (83.9 … 100.0) |" in attack_table_to_text(
        build_attack_table([("run-1", attacked())]), markdown=True
    )
