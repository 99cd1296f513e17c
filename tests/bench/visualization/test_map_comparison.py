"""The picture of map methods: one row for each method with a map."""

import pytest
import torch

pytest.importorskip("matplotlib")
pytest.importorskip("captum")
from bench.attribution.explain import ExplanationOptions
from bench.attribution.map_method import LABEL
from bench.attribution.methods import find_methods
from bench.visualization.map_comparison import IMAGES, save_map_comparison


def test_each_method_with_a_map_has_a_row_of_the_same_questions(untrained_run, mini, tmp_path):
    methods = find_methods("attention,gradient,uniform")
    run, output = untrained_run("pan"), tmp_path / "maps.png"
    rows = save_map_comparison(run, mini, methods, ExplanationOptions(), output)
    assert [len(row) for row in rows] == [IMAGES] * 3
    assert output.read_bytes().startswith(b"\x89PNG")
    for column in zip(*rows, strict=True):
        assert len({panels.index for panels in column}) == 1
        uniform = column[2].product
        torch.testing.assert_close(uniform, torch.ones_like(uniform))
        assert column[2].correctness == pytest.approx(column[2].area, abs=1e-4)


def test_a_network_without_a_map_has_no_row_of_its_attention(untrained_run, mini, tmp_path):
    methods = find_methods("attention,gradient")
    options = ExplanationOptions(LABEL)
    rows = save_map_comparison(untrained_run("none"), mini, methods, options, tmp_path / "maps.svg")
    assert [len(row) for row in rows] == [IMAGES]
