"""Augmentation: which changes images get, and that they depend on the seed, the epoch and the image alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import pad

from bench.config import AUGMENTATIONS
from bench.data.augmentation import MAX_SHIFT, NO_CHANGE, Augmentation
from bench.data.split import Resident
from tests.bench.training.helpers import SHORT, train_with_stops, trainer_for

NUMBERS = torch.arange(40_000)


def some_split(images: int = 12, questions: int = 1) -> Resident:
    pixels = torch.randint(256, (images, 20, 24, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    image = torch.arange(images).repeat_interleave(questions)
    zero = torch.zeros_like(image)
    return Resident(image=image, slot=zero, query=zero, label=zero, images=pixels)


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_shifts_and_mirrors_are_uniform_and_independent(seed):
    down, right, mirrored = Augmentation("flip+crop", seed, 3).draw(NUMBERS)
    for values, size in ((down + MAX_SHIFT, 9), (right + MAX_SHIFT, 9), (mirrored.long(), 2)):
        counts = np.bincount(values.numpy(), minlength=size)
        assert len(counts) == size
        assert stats.chisquare(counts).pvalue > 0.001
    joint = (down + MAX_SHIFT) * 18 + (right + MAX_SHIFT) * 2 + mirrored
    assert stats.chisquare(np.bincount(joint.numpy(), minlength=162)).pvalue > 0.001


def test_draws_differ_between_seeds_epochs_and_neighbours():
    first = torch.stack(Augmentation("flip+crop", 0, 0).draw(NUMBERS))
    for other in (Augmentation("flip+crop", 1, 0), Augmentation("flip+crop", 0, 1)):
        agree = (torch.stack(other.draw(NUMBERS)) == first).double().mean(1)
        assert agree.tolist() == pytest.approx([1 / 9, 1 / 9, 1 / 2], abs=0.01)
    steps = (first[:2, 1:] == first[:2, :-1]).double().mean(1)
    assert steps.tolist() == pytest.approx([1 / 9, 1 / 9], abs=0.01)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_images_are_padded_by_reflection_cropped_and_mirrored(kind):
    split, change = some_split(), Augmentation(kind, 5, 2)
    indices = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    batch = split.batch(indices)
    changed = change(batch, split, False)
    if kind == NO_CHANGE:
        assert changed is batch
        return
    assert changed.images.is_contiguous(memory_format=torch.channels_last)
    padded = pad(batch.images, [MAX_SHIFT] * 4, mode="reflect")
    for image, source, down, right, mirrored in zip(changed.images, padded, *change.draw(indices), strict=True):
        top, left = MAX_SHIFT + int(down), MAX_SHIFT + int(right)
        expected = source[:, top : top + 20, left : left + 24]
        torch.testing.assert_close(image, expected.flip(2) if mirrored else expected, rtol=0, atol=0)
        assert kind == "flip+crop" or (top, left) == (MAX_SHIFT, MAX_SHIFT)


@pytest.mark.parametrize("sharing", [True, 3])
def test_questions_that_share_an_image_change_it_once_and_as_without_sharing(sharing):
    change, split = Augmentation("flip+crop", 0, 0), some_split(questions=3)
    alone = some_split()
    indices = torch.arange(6, 15)
    shared = change(split.batch(indices, sharing=sharing), split, sharing)
    torch.testing.assert_close(
        shared.images, change(alone.batch(torch.arange(2, 5)), alone, False).images, rtol=0, atol=0
    )


def test_a_training_with_augmentation_resumes_with_the_same_bits_and_differs_from_one_without(mini, tmp_path):
    recipe = replace(SHORT, epochs=2, augment="flip+crop")

    def make(recipe=recipe):
        return trainer_for(mini, recipe, "none")

    whole, history = train_with_stops(make, [], tmp_path / "whole")
    resumed, again = train_with_stops(make, [5, 17], tmp_path / "resumed")
    assert history == again
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    _, plain = train_with_stops(lambda: make(replace(recipe, augment="none")), [], tmp_path / "plain")
    assert plain != history
