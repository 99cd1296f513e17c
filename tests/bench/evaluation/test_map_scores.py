"""Measures of single maps against scikit-learn and scikit-image, and by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.evaluation.map_scores import average_precision, iou_after_otsu, otsu_threshold, rank_accuracy


def draw(seed: int, levels: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return scores (5, 9, 11) of `levels` different values, and targets of one pixel or more."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(5, 9, 11, generator=generator)
    if levels:
        scores = (scores * levels).floor() / levels
    target = torch.rand(5, 9, 11, generator=generator) < 0.2
    target[:, 0, 0] = True
    return scores, target


@pytest.mark.parametrize("levels", [None, 1, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_equals_that_of_scikit_learn(seed, levels):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, target = draw(seed, levels)
    expected = [metrics.average_precision_score(t.flatten(), s.flatten()) for s, t in zip(scores, target, strict=True)]
    np.testing.assert_allclose(average_precision(scores, target), expected, rtol=1e-12)


@pytest.mark.parametrize("levels", [None, 2, 7])
@pytest.mark.parametrize("seed", range(3))
def test_otsu_threshold_equals_that_of_scikit_image(seed, levels):
    filters = pytest.importorskip("skimage.filters")
    scores, _ = draw(seed, levels)
    found = otsu_threshold(scores.flatten(1).double())
    for own, image in zip(found, scores.double().numpy(), strict=True):
        reference = filters.threshold_otsu(image, nbins=256)
        assert ((image > float(own)) == (image > reference)).all()


def test_rank_accuracy_by_hand():
    target = torch.tensor([[[True, True, False, False]]])
    for scores, expected in (
        ([4.0, 3, 2, 1], 1.0),
        ([1.0, 2, 3, 4], 0.0),
        ([4.0, 1, 3, 2], 0.5),
        ([1.0, 1, 1, 1], 0.5),  # every pixel is tied: the target's share of the image
        ([4.0, 1, 1, 1], 0.5 + 0.5 / 3),  # the second place is shared by three pixels, one of them on the target
    ):
        assert float(rank_accuracy(torch.tensor([[scores]]), target)) == pytest.approx(expected)


def test_iou_by_hand():
    target = torch.tensor([[[True, True, False, False]]])
    for scores, expected in (([9.0, 8, 1, 0], 1.0), ([9.0, 1, 8, 0], 1 / 3), ([0.0, 1, 9, 8], 0.0)):
        assert float(iou_after_otsu(torch.tensor([[scores]]), target)) == pytest.approx(expected)


@given(st.integers(0, 1000), st.floats(1e-6, 1e6))
def test_uniform_maps_score_the_area_of_the_target_and_scale_does_not_matter(seed, factor):
    scores, target = draw(seed)
    area = target.double().mean((1, 2))
    uniform = torch.full_like(scores, factor)
    for measure in (average_precision, rank_accuracy, iou_after_otsu):
        torch.testing.assert_close(measure(uniform, target), area)
        found = measure(scores.double(), target)
        assert ((found >= 0) & (found <= 1)).all()
        torch.testing.assert_close(measure(scores.double() * factor, target), found, atol=0.02, rtol=0)
        perfect = measure(target.float() * factor, target)
        torch.testing.assert_close(perfect, torch.ones_like(perfect))


def test_every_score_of_an_empty_target_is_zero():
    scores, target = draw(0)
    target[1] = False
    for measure in (average_precision, rank_accuracy, iou_after_otsu):
        found, others = measure(scores, target), [0, 2, 3, 4]
        assert found[1] == 0
        assert torch.equal(found[others], measure(scores[others], target[others]))
