"""Charts of curves: values and curves that are left out."""

import json
import math
import re

from bench.report import curve_charts
from bench.report.page import page
from bench.runs.records import read_history
from tests.bench.report.helpers import edit, one, sections_of


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


def test_a_row_with_one_epoch_is_named_below_the_curves_of_the_others(runs):
    (section,) = sections_of(runs)
    histories = {run.name: read_history(run) for run in runs.glob("mini-*")}
    assert len(curve_charts.learning(section, histories).panels) == 2
    histories[one(runs, "none").name] = histories[one(runs, "none").name][:1]
    figure = curve_charts.learning(section, histories)
    assert [panel.name for panel in figure.panels] == ["pan"]
    assert figure.left_out == ("none",)


def test_a_curve_of_precision_with_one_point_is_not_drawn(runs):
    edit(one(runs, "none"), pr_curve=None)
    edit(one(runs), pr_curve={"recall": [0.5], "precision": [0.5]})
    (section,) = sections_of(runs)
    assert curve_charts.precision_recall(section) is None
