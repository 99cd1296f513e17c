"""Accuracy per scale: values that are known in advance, and a trained network."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import bench
from bench.compute import resolve_compute
from bench.config import RECIPES
from bench.data.loading import load_split
from bench.runs.experiment import RunSettings, configure
from bench.runs.experiment import run as train
from tests.perf import scale_bins
from tests.perf.scale_bins import LARGE, MIDDLE, accuracies, answer_all, differences, larger_lead, tables


def test_accuracies_are_those_of_each_bin():
    bins = np.repeat(np.arange(5), [4, 2, 2, 1, 0])
    right = np.array([1, 1, 1, 0, 1, 1, 0, 1, 0.0])
    assert [text.split()[0] for text in accuracies(right, bins)] == ["66.7", "75.0", "100.0", "50.0", "0.0", "–"]


def test_the_larger_lead_is_a_difference_of_means():
    rng = np.random.default_rng(0)
    bins, lead = rng.integers(-1, 5, 300), rng.integers(-1, 2, 300).astype(float)
    expected = lead[bins == LARGE].mean() - lead[bins == MIDDLE].mean()
    assert larger_lead(lead, bins).mean() == pytest.approx(expected, rel=1e-12)
    assert not len(larger_lead(lead[bins == LARGE], bins[bins == LARGE]))


def test_differences_are_paired_and_signed():
    bins = np.repeat([MIDDLE, LARGE], 50)
    first = np.tile([1.0, 0.0], 50)
    right = np.where(bins == LARGE, 1.0, first)
    found = differences(right, first, bins)
    assert [found[k].split()[0] for k in (0, 1, 1 + MIDDLE, 1 + LARGE, 6)] == ["+25.0", "–", "+0.0", "+50.0", "+50.0"]
    assert "(" in found[0]
    assert "-" not in "".join(found)


def test_all_questions_of_the_first_images_are_asked(mini, tmp_path, monkeypatch, capsys):
    recipe = replace(RECIPES["fast"], epochs=1)
    run = train(configure(mini, "none", 0, RunSettings(recipe, "one", resolve_compute("cpu"))), mini, tmp_path)
    right, bins = answer_all(run, mini, 5)
    split = load_split(mini, "test", "all", torch.device("cpu"), masks=True)
    first = torch.nonzero(split.image < 5).squeeze(1)
    batch = split.batch(first)
    answers = bench.load_run(run).model(*batch.network_inputs).logits.argmax(1)
    assert right.tolist() == (answers == batch.label).double().tolist()
    assert bins.tolist() == ((split.scale[first] - 0.5) // 0.5).long().tolist()
    monkeypatch.setattr(sys, "argv", ["scale_bins", str(run), str(run), "--data", str(mini)])
    scale_bins.main()
    assert f"{run.name} − none  +0.0 (−" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["scale_bins", str(tmp_path), "--data", str(mini)])
    with pytest.raises(SystemExit):
        scale_bins.main()
    assert "no run" in capsys.readouterr().err


def test_one_network_has_no_differences():
    assert "difference" not in tables({"pan": np.array([1.0, 0.0])}, np.array([0, 1]))
