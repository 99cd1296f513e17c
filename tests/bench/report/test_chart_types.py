"""The parts of a chart."""

from bench.report.chart_types import Line, Panel, measured_paths


def test_only_measured_lines_are_shown_in_all_panels():
    panels = [
        Panel("pan", "", (Line("M0 0L1 1", "measured"), Line("M0 1L1 0", "published"))),
        Panel("none", ""),
        Panel("san", "", (Line("M2 2L3 3", "level"), Line("M4 4L5 5", "measured"), Line("M6 6L7 7", "measured"))),
    ]
    assert measured_paths(panels) == ("M0 0L1 1", "M4 4L5 5", "M6 6L7 7")
    assert measured_paths([]) == ()
