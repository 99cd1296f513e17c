"""The images and questions of a picture, and where the data set of a run is found."""

import json

import numpy as np
import pytest
import torch

from bench.model import create_model
from bench.runs import records
from bench.runs.network_loading import load_config
from bench.visualization.examples import (
    ImageChoice,
    answer_question,
    choose_images,
    find_data_set,
    iter_image_questions,
    read_fitting_manifest,
)
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef, read_manifest, read_split


def test_data_set_of_a_run_is_found_in_a_root_or_where_it_was(untrained_run, mini, root, tmp_path):
    run = untrained_run("none")
    config = load_config(run)
    assert find_data_set(run, config, root) == mini
    with pytest.raises(UsageProblemError, match="give its place with --data or --root"):
        find_data_set(run, config, tmp_path)
    content = json.loads((run / records.CONFIG).read_text())
    (run / records.CONFIG).write_text(json.dumps({**content, records.DATA_FOLDER: str(mini)}))
    assert find_data_set(run, config, tmp_path) == mini


def test_a_data_set_must_have_the_queries_and_classes_of_the_network(untrained_run, mini, make):
    config = load_config(untrained_run("none"))
    assert read_fitting_manifest(mini, config) == read_manifest(mini)
    with pytest.raises(UsageProblemError, match="5 queries and 10 classes, but this network, trained on mini, has 10"):
        read_fitting_manifest(make("miniinv"), config)


def test_chosen_images_are_given_or_spread_over_the_scales(mini):
    assert choose_images(mini, ImageChoice(indices=[7, 7, 0]), 3) == [7, 7, 0]
    chosen = choose_images(mini, ImageChoice(), 5)
    assert len({*chosen}) == 5
    fields = read_split(mini, "test", "digit_scale", "query_slot")
    scales = fields["digit_scale"][np.arange(120), fields["query_slot"]]
    assert (np.diff(scales[chosen]) >= 0).all()
    assert choose_images(mini, ImageChoice(5, 1), 3) != chosen


@pytest.mark.parametrize(
    ("images", "indices", "message"),
    [(0, None, "0 images: give 1 or more"), (1, [120], "no test image 120: give 0 … 119"), (1, [], "no image given")],
)
def test_images_that_do_not_exist_are_refused(images, indices, message, mini):
    with pytest.raises(UsageProblemError, match=message):
        choose_images(mini, ImageChoice(images, 0, indices), 3)


def test_a_question_has_the_ink_of_its_right_answer(mini):
    dataset = MnistRef(mini, "test")
    for index, question in zip((4, 9), iter_image_questions(mini, [4, 9]), strict=True):
        sample = dataset[index]
        assert (question.index, question.query, list(question.inks)) == (index, sample["query"], [sample["label"]])
        assert torch.equal(question.inks[sample["label"]], sample["mask"].as_subclass(torch.Tensor))
        assert question.image.shape == (48, 48, 3)
        assert question.scale == pytest.approx(sample["scale"])


def test_a_question_with_several_right_answers_has_the_ink_of_each(make):
    folder = make("mbgmulti")
    dataset = MnistRef(folder, "test")
    (question,) = iter_image_questions(folder, [3])
    assert sorted(question.inks) == torch.nonzero(dataset[3]["labels"]).flatten().tolist()
    inks = torch.stack([*question.inks.values()])
    assert (inks.sum(0) <= 1).all()


def test_an_answer_does_not_depend_on_other_images_or_samples(mini):
    model, manifest = create_model("arnn-sampled", variant="mini").eval(), read_manifest(mini)
    question, other = iter_image_questions(mini, [4, 9])
    first, second = answer_question(model, question, manifest, samples=2, seed=0)
    list(answer_question(model, other, manifest, samples=1, seed=0))
    (again,) = answer_question(model, question, manifest, samples=1, seed=0)
    assert torch.equal(first.product, again.product)
    assert not torch.equal(first.product, second.product)
    assert (second.sample, second.samples) == (2, 2)
