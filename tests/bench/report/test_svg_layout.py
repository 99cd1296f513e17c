"""Axes, ticks and the places of names in charts."""

import math

import pytest

from bench.report.svg_layout import Frame, place_names, power_axis, share_axis, whole_number_axis


@pytest.mark.parametrize("values", [[], [0.5], [0, 1], [0.123, 0.124], [0.98, 1.0], [0.0]])
def test_axis_of_shares_contains_its_values(values):
    axis = share_axis(values, "")
    assert axis.low < axis.high
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert len({words for _, words in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 10, 64, 300, 12345])
def test_an_axis_of_epochs_begins_at_one(most):
    axis = whole_number_axis(most, "")
    assert axis.ticks[0][0] == 1
    assert len(axis.ticks) <= 8
    assert axis.low <= 1 <= most <= axis.high


@pytest.mark.parametrize("values", [[1.0], [0.9, 4.9], [0.001, 1000.0], [3.0, 3.1]])
def test_a_logarithmic_axis_has_ticks(values):
    axis = power_axis(values, "")
    assert 1 <= len(axis.ticks) <= 9
    assert all(0 < axis.part(value) < 1 for value in values)


def test_names_in_a_chart_do_not_cover_each_other():
    frame = Frame(share_axis([0, 1], ""), share_axis([0, 1], ""), 680, 360)
    names = [(frame.at(0.5 + 0.001 * k, 0.5 + math.sin(k) / 50), f"name{k}") for k in range(12)]
    words = place_names(names, frame, ())
    assert 2 <= len(words) < 12
    boxes = [(w.x - {"start": 0, "middle": 18, "end": 36}[w.anchor], w.y) for w in words]
    for k, (x, y) in enumerate(boxes):
        for u, v in boxes[:k]:
            assert abs(x - u) >= 30 or abs(y - v) >= 11
