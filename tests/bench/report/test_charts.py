"""The charts of the report: what they show, what they leave out, and where their parts are."""

import json
import math
import re

import pytest

from bench.leaderboard.statistics import wilson_interval
from bench.report import accuracy_charts, curve_charts
from bench.report.intervals import at_scale
from bench.report.load import history
from bench.report.page import page
from bench.report.svg_layout import Frame, place, powers, shares, whole
from tests.bench.report.helpers import copy_run, edit, entry_of, groups_of, one, read


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


def test_a_scale_with_one_question_has_no_interval_where_seeds_differ(runs):
    """Though Wilson's would be one over the answers of all seeds."""
    copy_run(one(runs), runs, "s1", seed=1)
    _, entry = entry_of(runs)
    name = "accuracy_scale_0.5_1.0"
    entry.row.update({f"{name}_lo": math.nan, f"{name}_hi": math.nan})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (None, None)


def test_intervals_per_scale_are_from_the_board_or_pooled_over_seeds(runs):
    (copy_run(one(runs), runs, "s1", seed=1) / "answers.safetensors").unlink()
    name, (_, entry) = "accuracy_scale_0.5_1.0", entry_of(runs)
    images = 2 * entry.finished[0]["n_scale_0.5_1.0"]
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == pytest.approx(wilson_interval(rate.value, images))
    entry.row.update({f"{name}_lo": 0.1, f"{name}_hi": 0.9})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (0.1, 0.9)


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


@pytest.mark.parametrize("values", [[], [0.5], [0, 1], [0.123, 0.124], [0.98, 1.0], [0.0]])
def test_axis_of_shares_contains_its_values(values):
    axis = shares(values, "")
    assert axis.low < axis.high
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert len({words for _, words in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 10, 64, 300, 12345])
def test_an_axis_of_epochs_begins_at_one(most):
    axis = whole(most, "")
    assert axis.ticks[0][0] == 1
    assert len(axis.ticks) <= 8
    assert axis.low <= 1 <= most <= axis.high


@pytest.mark.parametrize("values", [[1.0], [0.9, 4.9], [0.001, 1000.0], [3.0, 3.1]])
def test_a_logarithmic_axis_has_ticks(values):
    axis = powers(values, "")
    assert 1 <= len(axis.ticks) <= 9
    assert all(0 < axis.part(value) < 1 for value in values)


def test_names_in_a_chart_do_not_cover_each_other():
    frame = Frame(shares([0, 1], ""), shares([0, 1], ""), 680, 360)
    names = [(frame.at(0.5 + 0.001 * k, 0.5 + math.sin(k) / 50), f"name{k}") for k in range(12)]
    words = place(names, frame, ())
    assert 2 <= len(words) < 12
    boxes = [(w.x - {"start": 0, "middle": 18, "end": 36}[w.anchor], w.y) for w in words]
    for k, (x, y) in enumerate(boxes):
        for u, v in boxes[:k]:
            assert abs(x - u) >= 30 or abs(y - v) >= 11


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
    histories = {run.name: history(run) for run in runs.glob("mini-*")}
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
