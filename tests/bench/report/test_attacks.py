"""The charts of attacks: numbers, lines and legend."""

import re
from dataclasses import replace

import numpy as np
import pytest

from bench.attribution.attack_names import REGIONS
from bench.leaderboard.attack_table import build_attack_table
from bench.report.attacks import attack_charts
from bench.runs import attack_record
from tests.bench.runs.measured_questions import write_attack


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with an attack record of 24 questions."""
    run = tmp_path_factory.mktemp("attacked") / "mini-pan-s0-01"
    run.mkdir()
    write_attack(run)
    return run


def test_the_chart_of_attacks_has_a_line_for_each_region_with_its_share_of_the_image(run):
    record = attack_record.RECORD.read(run)
    (chart,) = attack_charts([(run.name, record)])
    board = build_attack_table([(run.name, record)])
    assert chart.title == run.name
    assert chart.questions.startswith("24 test questions of mini-1, ")
    photos = replace(record, settings={**record.settings, "dataset": "folder-photos-1"})
    assert attack_charts([(run.name, photos)])[0].questions.startswith("24 test images of folder-photos-1, ")
    assert [(key.name, key.meaning) for key in chart.key] == list(REGIONS.items())
    areas = board.drop_duplicates("region").set_index("region")["area"]
    assert [key.area for key in chart.key] == [f"{areas[region]:.3f}" for region in REGIONS]
    assert [panel.name for panel in chart.figure.panels] == ["fgsm", "pgd"]
    for panel in chart.figure.panels:
        assert len(panel.marks) == len(REGIONS) * 2
        assert [line.kind for line in panel.lines if line.kind.startswith("region-")] == [key.kind for key in chart.key]
    rows = board[board["method"] == "pgd"].set_index(["region", "norm"])
    frame = chart.figure.frame
    for mark in chart.figure.panels[1].marks:
        region, norm = re.match(r"(\w+), ε ([\d.]+): ", mark.text).groups()
        row = rows.loc[(region, float(norm))]
        assert mark.at[1] == frame.at(1.0, row["fooling_rate"])[1]
        assert mark.text.endswith(f": {100 * row['fooling_rate']:.1f} ({bounds(row, 'fooling_rate')}) %")
        assert abs(mark.at[0] - frame.at(float(norm), 0.0)[0]) < 12  # next to its tick
    assert [text for _, text in frame.x.ticks] == ["0.5", "2"]


def bounds(row, name: str) -> str:
    return f"{100 * row[f'{name}_lo']:.1f} … {100 * row[f'{name}_hi']:.1f}"


def test_the_table_of_the_chart_of_attacks_has_every_rate_and_accuracy(run):
    record = attack_record.RECORD.read(run)
    (chart,) = attack_charts([(run.name, record)])
    assert chart.figure.heading[:2] == ("attack", "all, %")
    assert [row[0] for row in chart.figure.rows] == [f"{m}, ε {norm:g}" for m in ("fgsm", "pgd") for norm in (0.5, 2)]
    board = build_attack_table([("", record)]).set_index(["method", "norm", "region"])
    row = board.loc[("pgd", 2.0, "target")]
    cells = dict(zip(chart.figure.heading, chart.figure.rows[-1], strict=True))
    assert cells["target, %"] == f"{100 * row['fooling_rate']:.1f} ({bounds(row, 'fooling_rate')})"
    assert cells["target, right, %"] == f"{100 * row['accuracy']:.1f} ({bounds(row, 'accuracy')})"


@pytest.mark.parametrize(("norms", "ticks"), [((3.0,), ["3"]), ((4.0, 4.1, 4.2, 64.0), ["4", "64"])])
def test_one_norm_and_close_norms_of_attacks_have_readable_ticks(norms, ticks):
    flags = {attack: np.ones(3, bool) for attack in attack_record.AttackPlan(("fgsm",), ("target",), norms).attacks()}
    settings = {"format": 1, "dataset": "mini-1", "images": 3, "methods": ["fgsm"], "regions": ["target"]}
    record = attack_record.AttackRecord(settings, flags, flags, np.ones(3, bool), {"target": np.full(3, 0.1)})
    (chart,) = attack_charts([("run", record)])
    assert [text for _, text in chart.figure.frame.x.ticks] == ticks
    assert len(chart.figure.panels[0].marks) == len(norms)
