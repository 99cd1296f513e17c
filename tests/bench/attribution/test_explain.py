"""Maps and measures of a split: independent of the batch, reproducible, and the same as one by one."""

import time

import pytest
import torch

from bench.attribution.explain import ORACLE, ExplanationOptions, explain
from bench.attribution.map_method import LABEL, PREDICTION, map_method
from bench.attribution.measures import AREAS, DELETION, INSERTION, MEASURES, measure_map
from bench.attribution.methods import find_methods
from bench.evaluation import unchecked_metrics
from bench.evaluation.columns import MASK_CORRECTNESS, POINTING

pytest.importorskip("captum")


def test_measures_of_the_attention_map_are_those_of_a_test(network, split):
    found = explain(network, split, find_methods("attention"), ExplanationOptions(curves=False))
    with torch.no_grad():
        batch = split.batch(torch.arange(len(split)))
        out = network.network.eval()(batch.images, batch.query)
    target = split.masks(torch.arange(len(split)))
    product = unchecked_metrics.attended(out.masks, tuple(target.shape[1:]), out.mask_power)
    expected = {
        MASK_CORRECTNESS: unchecked_metrics.share_on(product, target),
        POINTING: unchecked_metrics.peak_on(product, target),
    }
    for name, values in expected.items():
        torch.testing.assert_close(found.measures["attention"][name], values.double(), atol=1e-6, rtol=1e-5)


def test_the_batch_size_changes_no_measure_of_deterministic_methods(network, split):
    methods = find_methods("attention,gradient,gradcam,uniform,center")
    whole, parts = (explain(network, split, methods, ExplanationOptions(batch=size)) for size in (6, 4))
    assert list(whole.measures) == list(parts.measures) == [*(method.name for method in methods), ORACLE]
    for method, measures in whole.measures.items():
        for name, values in measures.items():
            atol = 0.02 if name in ("iou_otsu", "average_precision", "rank_accuracy", POINTING) else 2e-3
            torch.testing.assert_close(parts.measures[method][name], values, atol=atol, rtol=0)


def test_random_maps_are_reproducible_and_depend_on_the_seed(network, split):
    def maps(seed):
        options = ExplanationOptions(seed=seed, curves=False, keeps_maps=True)
        return explain(network, split, find_methods("random,smoothgrad"), options).maps

    first, again, other = maps(0), maps(0), maps(1)
    for name in first:
        assert torch.equal(first[name], again[name])
        assert not torch.equal(first[name], other[name])
    assert not torch.equal(first["random"][0], first["random"][1])


def test_the_three_regions_of_explained_questions_cover_the_image(network, split):
    found = explain(network, split, find_methods("uniform,gradient"), ExplanationOptions(curves=False))
    torch.testing.assert_close(sum(found.areas[name] for name in AREAS), torch.ones(len(split), dtype=torch.float64))
    for measures in found.measures.values():
        total = measures[MASK_CORRECTNESS] + measures["on_others"] + measures["on_background"]
        torch.testing.assert_close(total, torch.ones_like(total), atol=1e-5, rtol=0)
    uniform = found.measures["uniform"]
    for name, area in zip((MASK_CORRECTNESS, "on_others", "on_background"), AREAS, strict=True):
        torch.testing.assert_close(uniform[name], found.areas[area], atol=1e-6, rtol=0)


def test_the_explained_class_is_the_prediction_or_the_label(network, split):
    """An untrained network answers one class, so that the gradients of the two differ for the other labels."""
    options = [ExplanationOptions(explained, curves=False, keeps_maps=True) for explained in (PREDICTION, LABEL)]
    by_answer, by_label = (explain(network, split, find_methods("gradient"), option) for option in options)
    assert torch.equal(by_answer.right, by_label.right)
    same = [torch.allclose(a, b) for a, b in zip(by_answer.maps["gradient"], by_label.maps["gradient"], strict=True)]
    assert same == by_answer.right.bool().tolist()
    assert not all(same)


def test_every_measure_of_a_map_method_is_in_the_table(network, split):
    found = explain(network, split, find_methods("gradient"))
    assert list(found.measures["gradient"]) == [column.name for column in MEASURES]
    assert list(found.measures[ORACLE]) == [DELETION, INSERTION]
    assert list(measure_map(torch.ones(1, 2, 2) / 4, *torch.eye(2).bool().view(2, 1, 1, 2).expand(2, 1, 2, 2)))


def test_the_first_call_of_a_method_is_not_timed(network, split):
    calls = []

    @map_method("a map whose first call imports something", "nowhere")
    def slow_at_first(network, images, query, classes):
        calls.append(len(images))
        time.sleep(0 if len(calls) > 1 else 0.5)
        return images[:, 0]

    found = explain(network, split, [slow_at_first], ExplanationOptions(batch=4, curves=False))
    assert calls == [1, 4, len(split) - 4]
    assert found.seconds["slow-at-first"] < 0.4
