"""The figure of panels: its legend, texts and outlines."""

from dataclasses import replace

import pytest
import torch

from bench.evaluation.panels import make_panels
from bench.visualization.drawing import answer_lines, comparison_figure, draw, figure
from mnistref.variants import get_variant
from tests.bench.evaluation.panel_cases import output, question

pytest.importorskip("matplotlib")


def test_the_legend_names_the_queried_digit_unless_several_digits_are_right():
    row = make_panels(question(), output(), get_variant("mini"))

    def legend(rows) -> str:
        (text,) = figure(rows, ["title"], []).legends[0].get_texts()
        return text.get_text()

    assert legend([row]) == "outline of the digit"
    several = replace(row, truth=("red", "blue"))
    assert legend([row, several]) == "outline of the ink of all digits that give a right answer"


def test_answers_are_written_with_probability_truth_and_share():
    row = make_panels(question(), output(), get_variant("mini"))
    lines = answer_lines(row)
    assert lines[0] == "✓ right"
    assert lines[1] == f"says yellow ({100 * row.probability:.0f} %)"
    assert lines[2] == "truth: yellow"
    assert lines[3] == f"attention on the digit: {100 * row.correctness:.1f} %"
    assert lines[4] == f"(of a uniform map: {100 * 100 / 48**2:.1f} %)"
    wrong = make_panels(question(), output((9.0, 0.0, 0.0, 0.0, 0.0)), get_variant("mini"))
    assert answer_lines(wrong)[:2] == ["✗ wrong", "says green (100 %)"]
    assert answer_lines(replace(row, sample=2, samples=3))[0] == "✓ sample 2: right"


def test_a_comparison_has_a_row_of_images_and_one_of_each_network():
    row = [make_panels(question(), output(), get_variant("mini")) for _ in range(3)]
    page = comparison_figure([row, row], [("pan", "50.0 %"), ("a-long-name-that-is-wrapped", "")], ["title"], ["note"])
    assert len(page.axes) == (1 + 2) * 3
    texts = [text.get_text() for text in page.texts]
    assert "title" in texts
    assert "pan" in texts
    assert any("note" in text for text in texts)


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_panels_give_the_same_file(suffix, tmp_path):
    torch.manual_seed(0)
    row = make_panels(question(), output(), get_variant("mini"))
    files = [tmp_path / f"{name}.{suffix}" for name in ("one", "other")]
    for file in files:
        draw([row], ["title"], ["note"], file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_size > 1000
