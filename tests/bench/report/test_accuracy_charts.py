"""Charts of accuracies: published curves next to measured ones."""

from bench.report import accuracy_charts
from tests.bench.report.helpers import edit, entry_of


def test_published_curves_are_drawn_with_measured_curves(runs):
    for run in runs.iterdir():
        edit(run, variant="mbg")
    section, _ = entry_of(runs)
    for entry in section.entries:  # mini has the first bin only
        entry.row["accuracy_scale_1.0_1.5"] = 0.5
    panel = next(panel for panel in accuracy_charts.scales(section).panels if panel.name == "pan")
    assert {line.kind for line in panel.lines} == {"measured", "published"}
    assert sum(mark.kind == "published" for mark in panel.marks) == 2
    row = next(row for row in accuracy_charts.scales(section).rows if row[0] == "pan, published")
    assert row[1] == "68.2"
