"""Panels of pictures of attention."""

import math

import pytest

from bench.evaluation.panels import describe_question, describe_totals, make_panels
from bench.visualization.drawing import answer_lines, figure
from mnistref.variants import get_variant
from tests.bench.evaluation.panel_cases import output, question

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize("logits", [(NAN,) * 5, (0, INF, 0, 0, 0), (-INF,) * 5])
def test_panel_has_no_nonfinite_answer(logits):
    row = make_panels(question(), output(logits), get_variant("mini"))
    assert (row.prediction, row.probability, row.right) == (None, None, False)
    lines = answer_lines(row)
    assert lines[:2] == ["✗ wrong", "no answer (not finite)"]
    assert not any("nan" in line for line in lines)
    sound = make_panels(question(), output(), get_variant("mini"))
    assert describe_totals([row, sound, row]) == "1 of 3 answers right, 2 are not finite"
    assert describe_totals([sound, row]) == "1 of 2 answers right, 1 is not finite"
    assert describe_totals([sound]) == "1 of 1 answers right"
    assert describe_totals([sound], with_number=False) == "1 answer right"
    assert describe_totals([row, sound, sound], with_number=False) == "2 answers right, 1 is not finite"


@pytest.mark.parametrize(("value", "fault"), [(NAN, "not finite"), (INF, "not finite"), (-1.0, "below zero")])
def test_a_panel_says_that_a_map_cannot_be_shown(value, fault):
    pytest.importorskip("matplotlib")
    row = make_panels(question(), output(value=value), get_variant("mini"))
    assert (row.fault, row.product, row.correctness, row.shares) == (fault, None, None, {})
    assert [slot.fault for slot in row.slots] == ["", fault]
    assert row.slots[0].map is not None
    assert row.slots[1].map is None
    assert f"attention: the map is {fault}" in answer_lines(row)
    sound = make_panels(question(), output(), get_variant("mini"))
    drawn = figure([row, sound], ["title"], [])
    assert len(drawn.axes) == 2 * 5
    said = [text.get_text() for axes in drawn.axes for text in axes.texts]
    assert said.count(f"map {fault}") == 2
    assert not any("nan" in text for text in said)
    assert len(drawn.axes[3].images) == 0
    assert describe_totals([row, sound]) == f"2 of 2 answers right, maps {fault} in 1"


def test_questions_are_described_in_words():
    assert describe_question(get_variant("mbginv"), 3) == "which digit is red?"
    assert describe_question(get_variant("mref"), 3) == "what colour is the 3?"
