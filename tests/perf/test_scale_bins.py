"""Accuracy per scale: values that are known in advance, and a trained network."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.compute import resolve_compute
from bench.config import RECIPES
from bench.data.loading import load_split
from bench.runs.experiment import RunSettings, configure
from bench.runs.experiment import run as train
from tests.perf import scale_bins
from tests.perf.scale_bins import LARGE, MIDDLE, Questions, accuracies, differences, open_questions, tables


def questions_of(bins: np.ndarray) -> Questions:
    return Questions(np.arange(len(bins)), bins)


def test_accuracies_are_those_of_each_bin():
    questions = questions_of(np.repeat(np.arange(5), [4, 2, 2, 1, 0]))
    right = np.array([[1, 1, 1, 0, 1, 1, 0, 1, 0.0]])
    assert [text.split()[0] for text in accuracies(right, questions)] == ["66.7", "75.0", "100.0", "50.0", "0.0", "–"]
    assert [text.split()[0] for text in accuracies(np.stack([right[0], 1 - right[0]]), questions)][:2] == ["50.0"] * 2


def test_differences_are_paired_and_signed():
    bins = np.repeat([MIDDLE, LARGE], 50)
    first = np.tile([1.0, 0.0], 50)
    right = np.where(bins == LARGE, 1.0, first)
    found = differences((right - first)[None], questions_of(bins))
    assert [found[k].split()[0] for k in (0, 1, 1 + MIDDLE, 1 + LARGE, 6)] == ["+25.0", "–", "+0.0", "+50.0", "+50.0"]
    assert "(" in found[0]
    assert "-" not in "".join(found)
    assert differences(np.zeros((1, 9)), questions_of(np.full(9, LARGE)))[6] == "–"


def test_intervals_draw_all_questions_of_an_image_together():
    right, image = np.random.default_rng(0).integers(0, 2, 300).astype(float), np.arange(300)
    once = accuracies(right[None], Questions(image, np.zeros(300, int)))
    assert accuracies(np.repeat(right, 7)[None], Questions(np.repeat(image, 7), np.zeros(2100, int))) == once


def test_differences_are_over_the_seeds_of_both_networks():
    one, none = np.ones(6), np.zeros(6)
    text = tables({"pan": {0: one, 1: none}, "arnn": {1: one, 2: none}}, questions_of(np.arange(6) % 5))
    assert "arnn − pan          1      +100.0" in text
    assert "difference" not in tables({"pan": {0: one}}, questions_of(np.arange(6) % 5))
    assert "difference" not in tables({"pan": {0: one}, "arnn": {1: one}}, questions_of(np.arange(6) % 5))


def test_all_questions_of_the_first_images_are_asked(mini, tmp_path, monkeypatch, capsys):
    recipe = replace(RECIPES["fast"], epochs=1)
    settings = RunSettings(recipe, "one", resolve_compute("cpu"))
    runs = [train(configure(mini, attn, seed, settings), mini, tmp_path) for attn, seed in (("none", 0), ("se", 0))]
    runs.append(train(configure(mini, "none", 1, settings), mini, tmp_path))
    dataset, questions = open_questions(mini, 5, 0.0)
    split = load_split(mini, "test", "all", torch.device("cpu"), masks=True)
    first = torch.nonzero(split.image < 5).squeeze(1)
    assert dataset.triples.label.tolist() == split.label[first].tolist()
    assert questions.bins.tolist() == ((split.scale[first] - 0.5) // 0.5).long().tolist()
    assert (open_questions(mini, 5, 0.7)[0].scale >= 0.7).all()
    monkeypatch.setattr(sys, "argv", ["scale_bins", *map(str, runs), "--data", str(mini)])
    scale_bins.main()
    said = [line.split()[:4] for line in capsys.readouterr().out.splitlines() if line.startswith(("none", "se"))]
    assert [words[:2] for words in said[:2]] == [["none", "2"], ["se", "1"]]
    assert said[2:] == [["se", "−", "none", "1"]]
    monkeypatch.setattr(sys, "argv", ["scale_bins", str(tmp_path), "--data", str(mini)])
    with pytest.raises(SystemExit):
        scale_bins.main()
    assert "no run" in capsys.readouterr().err
