"""The questions that a model is tested with in Python."""

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

import bench
from bench.data import evaluation_data
from bench.data.evaluation_data import open_data
from bench.tasks import prepare_task
from bench.tasks.store import read_task
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef
from tests.bench.tasks.conftest import write_photos


class Brightest(torch.nn.Module):
    """Answers with the brightest channel, and looks at the upper half."""

    def forward(self, images):
        mask = torch.zeros_like(images[:, :1])
        mask[:, :, : images.shape[2] // 2] = 1
        return images.mean((2, 3)), mask


@pytest.fixture(scope="module")
def class_photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("photos") / "Places 3")


@pytest.fixture(scope="module")
def prepared(class_photos, tmp_path_factory):
    return prepare_task(f"folder:{class_photos}", tmp_path_factory.mktemp("root"), 16)


def test_a_module_of_images_alone_is_tested_on_a_task(prepared):
    found = bench.evaluate(Brightest(), prepared)
    assert found.measures["accuracy"] == 1
    assert found.measures.get("mask_correctness") is None
    assert list(found.answers.columns) == ["image", "query", "label", "prediction", "correct"]
    labels = np.load(prepared / "test-labels.npy")
    assert found.answers["label"].tolist() == labels.tolist()
    assert len(bench.evaluate(Brightest(), prepared, split="val").answers) == read_task(prepared).splits["val"]


def test_a_function_gets_no_query_either(prepared):
    network = bench.create_model("cbam", classes=3, queries=0, size=(16, 16), network="resnet18", width=4).eval()
    known = bench.evaluate(network, prepared)
    other = bench.evaluate(lambda images: network(images).logits, prepared)
    assert known.answers["prediction"].tolist() == other.answers["prediction"].tolist()


def test_a_task_is_prepared_by_name(class_photos, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_data, "ROOT", tmp_path)
    data = open_data(f"folder:{class_photos}", "test", "one")
    assert data.folder.parent == tmp_path / "datasets"
    assert (data.variant.canvas, len(data)) == (64, read_task(data.folder).splits["test"])


def test_maps_of_a_task_without_masks_are_refused(prepared):
    with pytest.raises(ValueError, match="its images have no masks"):
        bench.saliency(Brightest(), prepared)
    with pytest.raises(ValueError, match="has no questions"):
        bench.swap(Brightest(), prepared)


def test_a_split_that_does_not_exist_is_a_usage_error(prepared):
    with pytest.raises(UsageProblemError, match="no 'tset' split: did you mean 'test'"):
        bench.evaluate(Brightest(), prepared, split="tset")


def test_a_function_that_returns_maps_alone_has_no_measure_of_answers(tmp_path):
    """With six classes or more, five guesses are measured, but only of answers."""
    classes = write_photos(tmp_path / "photos")
    for folder in write_photos(tmp_path / "others", seed=1).iterdir():
        folder.rename(classes / f"another {folder.name}")
    folder = prepare_task(f"folder:{classes}", tmp_path / "root", 16)
    assert "top5" in bench.evaluate(lambda images: torch.rand(len(images), 6), folder).measures
    found = bench.evaluate(lambda images: torch.rand(len(images), 4, 4), folder)
    assert not {"accuracy", "top5"} & {*found.measures}
    assert "prediction" not in found.answers


def test_a_subset_has_its_questions_in_its_order(mini):
    data = MnistRef(mini, "test")
    model = bench.create_model("san", variant="mini").eval()
    whole, part = bench.evaluate(model, data).answers, bench.evaluate(model, Subset(data, [7, 2, -1])).answers
    for name in ("image", "query", "label", "prediction"):
        assert part[name].tolist() == whole[name].iloc[[7, 2, -1]].tolist()
    with pytest.raises(IndexError):
        bench.evaluate(model, Subset(data, [len(data)]))
    with pytest.raises(ValueError, match="a subset of list: pass one of an MnistRef"):
        bench.evaluate(model, Subset([1, 2], [0]))


def test_a_network_for_other_questions_is_refused(mini, make):
    model = bench.create_model("san", variant="mini")
    for call in (bench.evaluate, lambda m, d: bench.attack(m, d, methods="fgsm"), lambda m, d: bench.swap(m, d)):
        with pytest.raises(ValueError, match="the network has 10 queries and 5 classes, but the data set has 5 and 10"):
            call(model, make("miniinv"))
