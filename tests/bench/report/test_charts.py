"""The charts of the report: their content, and values that are left out."""

import json
import math
import re

from bench.report import accuracy_charts, curve_charts
from bench.report.page import page
from bench.runs.records import read_history
from tests.bench.report.helpers import edit, entry_of, groups_of, one, read


def test_every_chart_has_a_title_and_its_numbers(real, root):
    elements = read(page(real, root)).elements
    charts = [attrs for tag, attrs in elements if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 4
    assert sum(tag == "title" for tag, _ in elements) > len(charts)
    assert sum(attrs.get("class") == "numbers" for tag, attrs in elements if tag == "details") == 3


def test_values_outside_0_to_1_are_counted_and_not_drawn(runs, root):
    run = one(runs)
    lines = [{"epoch": e, "val_accuracy": value} for e, value in enumerate((0.5, math.nan, 7, -1, True, "x", None), 1)]
    (run / "history.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": ' + "9" * 400 + "}\n"
    )
    edit(run, pr_curve={"recall": [0, 0.5, math.inf, 1], "precision": [0.5, math.nan, 0.2, 0.1]})
    text = page(runs, root)
    assert "5 accuracies are not drawn, because they are not in the range 0–1." in text
    assert "2 points are not drawn, because they are not in the range 0–1." in text
    assert not re.search(r'(points|d)="[^"]*(nan|inf)', text)


def test_published_curves_are_drawn_with_measured_curves(runs):
    for run in runs.iterdir():
        edit(run, variant="mbg")
    group, _ = entry_of(runs)
    for entry in group.entries:  # mini has the first bin only
        entry.row["accuracy_scale_1.0_1.5"] = 0.5
    panel = next(panel for panel in accuracy_charts.scales(group).panels if panel.name == "pan")
    assert {line.kind for line in panel.lines} == {"measured", "published"}
    assert sum(mark.kind == "published" for mark in panel.marks) == 2
    row = next(row for row in accuracy_charts.scales(group).rows if row[0] == "pan, published")
    assert row[1] == "68.2"


def test_charts_with_one_point_and_their_links_are_left_out(runs, root):
    """`mini` has one scale bin; with one epoch or one mechanism, there is no curve and nothing to compare."""
    text = page(runs, root)
    assert 'id="scales"' not in text
    assert "#scales" not in text
    for part in ("runtime", "learning"):
        assert f'<h2 id="{part}">' in text
        assert f'href="#{part}"' in text
    for run in runs.glob("mini-*"):
        path = run / "history.jsonl"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    edit(one(runs, "none"), status="failed", reason="?")
    text = page(runs, root)
    for part in ("runtime", "learning"):
        assert f'id="{part}"' not in text
        assert f"#{part}" not in text
    assert '<h2 id="recall">' in text


def test_a_row_with_one_epoch_is_named_below_the_curves_of_the_others(runs):
    (group,) = groups_of(runs)
    histories = {run.name: read_history(run) for run in runs.glob("mini-*")}
    assert len(curve_charts.learning(group, histories).panels) == 2
    histories[one(runs, "none").name] = histories[one(runs, "none").name][:1]
    figure = curve_charts.learning(group, histories)
    assert [panel.name for panel in figure.panels] == ["pan"]
    assert figure.left_out == ("none",)


def test_a_curve_of_precision_with_one_point_is_not_drawn(runs):
    edit(one(runs, "none"), pr_curve=None)
    edit(one(runs), pr_curve={"recall": [0.5], "precision": [0.5]})
    (group,) = groups_of(runs)
    assert curve_charts.precision_recall(group) is None
