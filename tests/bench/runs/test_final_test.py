"""The test of a run: its measures, answers, pictures and costs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.loading import load_split
from bench.distributed.process_group import SINGLE_PROCESS
from bench.evaluation import snapshots
from bench.evaluation.evaluate import test as measure
from bench.metrics import attended
from bench.model import build
from bench.runs import experiment, records
from bench.training.checkpoints import load_weights
from mnistref.dataset import MnistRef, read_manifest, read_split
from tests.bench.runs.helpers import CPU, SHORT, configured


def test_result_equals_a_test_of_the_saved_weights(finished, mini):
    config, folder, result = finished
    model = build(config.attn, read_manifest(mini).variant, config.seed, CPU)
    load_weights(folder / "weights.safetensors", model)
    measured = measure(model, load_split(mini, "test", "one", CPU, masks=True), SHORT.batch, SINGLE_PROCESS).measures
    for key, value in measured.items():
        assert result[key] == value, key
    assert result["params"] == sum(p.numel() for p in model.parameters())


def test_every_answer_of_a_run_is_stored(finished, mini):
    _, folder, result = finished
    answers = records.read_answers(folder)
    assert {name: (array.dtype.str, array.shape) for name, array in answers.items()} == {
        "answer": ("<i2", (120,)),
        "right": ("|u1", (120,)),
        "pointing": ("|u1", (120,)),
        "scale_bin": ("|i1", (120,)),
        "mask_correctness": ("<f2", (120,)),
        "tpr": ("<f2", (120,)),
    }
    assert answers["right"].mean() == result["accuracy"]
    labels = read_split(mini, "test", "label")["label"]
    assert ((answers["answer"] == labels) == answers["right"]).all()


def test_pictures_of_a_run_are_stored(finished, mini):
    config, folder, _ = finished
    words = json.loads((folder / snapshots.FOLDER / snapshots.WORDS).read_text())
    images = np.asarray(Image.open(folder / snapshots.FOLDER / snapshots.IMAGES))
    maps = np.asarray(Image.open(folder / snapshots.FOLDER / snapshots.MAPS))
    assert (images.shape, maps.shape, len(words)) == ((48, 8 * 48, 3), (48, 8 * 48), 8)
    targets = np.asarray(Image.open(folder / snapshots.FOLDER / snapshots.TARGETS))
    dataset = MnistRef(mini, "test")
    answers, stored = records.read_answers(folder), read_split(mini, "test", "image", "label", "query")
    variant = read_manifest(mini).variant
    model = build(config.attn, variant, config.seed, CPU)
    load_weights(folder / "weights.safetensors", model)
    model.eval()
    for k, said in enumerate(words):
        index, place = said["question"], slice(48 * k, 48 * (k + 1))
        assert (images[:, place] == stored["image"][index]).all()
        assert said["label"] == variant.label_names[stored["label"][index]]
        assert said["answer"] == variant.label_names[answers["answer"][index]]
        image = torch.tensor(stored["image"][index]).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            out = model(image, torch.tensor([int(stored["query"][index])]))
        product = attended(out.masks, (48, 48))[0]
        assert np.abs(maps[:, place] - (product / product.max() * 255).numpy()).max() <= 1
        ink = np.asarray(dataset[index]["mask"])
        assert (targets[:, place] == ink).all()
        assert said["uniform"] == pytest.approx(ink.mean(), abs=1e-6)
        assert said["share"] == pytest.approx(float(product.numpy()[ink].sum()), abs=1e-5)
        assert said["share"] == pytest.approx(float(answers["mask_correctness"][index]), abs=2e-3)
    assert [said["scale"] for said in words] == sorted(said["scale"] for said in words)


def test_batch_larger_than_the_data_set_is_timed_at_its_real_size(mini, tmp_path):
    config = configured(mini, "none", replace(SHORT, batch=10**9, epochs=1))
    run = experiment.run(config, mini, tmp_path)
    questions = len(load_split(mini, "train", "one", CPU))
    assert json.loads((run / "result.json").read_text())["timing_batch"] == questions
