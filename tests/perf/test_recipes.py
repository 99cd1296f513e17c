"""The curves of `tests.perf.recipes`: an interrupted run has the records of an uninterrupted run."""

import json
from dataclasses import replace
from functools import partial

import pytest

from bench.compute import resolve_compute
from bench.config import RECIPES
from tests.helpers import long_form
from tests.perf import recipes

EVERY = 20
"""Number of steps. An epoch of 400 images has 50 steps."""


@pytest.mark.parametrize("cut", long_form([1, 3], [3]), ids=["before a checkpoint", "after one"])
def test_a_resumed_run_continues_its_curve(cut, mini, tmp_path, monkeypatch):
    recipe = replace(RECIPES["fast"], batch=8, epochs=2)
    trained = partial(recipes.curve, "none", mini, recipe, EVERY, resolve_compute("cpu"), seed=0, init=None)
    whole = trained(runs=tmp_path / "whole")
    asked, real = [], recipes.accuracy

    def interrupt(*given):
        asked.append(given)
        if len(asked) == cut + 1:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(recipes, "accuracy", interrupt)
    with pytest.raises(KeyboardInterrupt):
        trained(runs=tmp_path / "cut")
    resumed = trained(runs=tmp_path / "cut")
    for key in ("steps", "val_accuracy"):
        assert [record[key] for record in resumed] == [record[key] for record in whole]
    seconds = [record["seconds"] for record in resumed]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0
    assert trained(runs=tmp_path / "cut") == resumed  # the run is finished, and its curve is stored


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tried", "lr"], "--tried lr: give one of"),
        (["--tried", "questions=3+bogus=1"], "--tried questions=3+bogus=1"),
        (["--attn", "saan"], "did you mean 'san'"),
        (["--figure", "x.png"], "there are none"),
        (["--figure", "x.png", "--out", "nothing"], "there are none"),
    ],
)
def test_wrong_options_end_with_one_line(arguments, message, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["recipes", *arguments])
    with pytest.raises(SystemExit) as end:
        recipes.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_changes_of_a_recipe_are_joined():
    changed = recipes.recipe_of("lr=0.006+questions=3+dropout=0.2", 2, 0.5)
    assert changed == replace(RECIPES["fast"], lr=0.006, questions=3, dropout=0.2, epochs=2, fade=0.5)


def test_curves_are_compared_after_equal_times():
    records = [{"seconds": 60.0, "val_accuracy": 0.4}, {"seconds": 180.0, "val_accuracy": 0.8}]
    assert [recipes.after(records, at) for at in (0.5, 1, 2, 3, 4)] == ["–", "40", "60", "80", "(80)"]
    curves = [
        {"variant": variant, "attn": "pan", "recipe": {"questions": "all"}, "curve": records}
        for variant in ("mbg", "mref")
    ]
    lines = [line.split() for line in recipes.equal_times(curves, [1, 4]).splitlines()]
    assert lines[1:] == [["mref", "pan", "all", "40", "(80)"], ["mbg", "pan", "all", "40", "(80)"]]


def test_wrong_minutes_end_with_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "one.json").write_text(
        json.dumps({"variant": "mref", "attn": "pan", "recipe": {}, "curve": [{"seconds": 1.0, "val_accuracy": 0.1}]})
    )
    monkeypatch.setattr("sys.argv", ["recipes", "--minutes", "5,x", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        recipes.main()
    assert "--minutes 5,x: give numbers" in capsys.readouterr().err.splitlines()[-1]
