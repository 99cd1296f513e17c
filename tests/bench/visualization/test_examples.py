"""The images and questions of a picture."""

import sys

import numpy as np
import pytest
import torch

from bench.model import create_model
from bench.visualization.examples import (
    ImageChoice,
    answer_question,
    choose_images,
    iter_image_questions,
)
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef, read_manifest, read_split


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


def test_questions_of_a_generated_set_need_no_torchvision(mini, monkeypatch):
    """Its import takes as long as that of PyTorch."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert len(list(iter_image_questions(mini, [4, 9]))) == 2


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
