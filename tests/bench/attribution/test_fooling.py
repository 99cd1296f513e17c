"""Attacks over a split: counts of changed and right answers."""

from dataclasses import replace

import pytest
import torch

from bench.attribution.attack_names import ALL, FGSM, METHODS, OTHERS, PGD, TARGET
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.fooling import Attack, AttackPlan, measure_fooling
from tests.bench.attribution.small_networks import IMAGES, SIZE, questions, small_network, split_of


def test_measured_attacks_count_changed_and_right_answers():
    """The network answers 1 if the queried rows are brighter than 0.5, and the images are just below or far below."""

    def brightness(images, query):
        bright = images[:, :, :6].mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(bright, 0.5), bright], dim=1)

    images = torch.stack([torch.full((3, SIZE, SIZE), level) for level in (0.49, 0.45, 0.2, 0.51)])
    label = torch.tensor([0, 1, 0, 0])
    split = split_of(images, torch.zeros(4, dtype=torch.long), label)
    plan = AttackPlan(regions=(ALL, TARGET, OTHERS), norms=(4.0, 16.0))
    seen = []
    found = measure_fooling(ExplainedNetwork(brightness, 2), split, plan, batch=3, on_batch=seen.append)
    assert sum(seen) == 4 * len(plan.attacks()) == 4 * 12
    assert found.right_before.tolist() == [1, 0, 1, 0]
    for method in METHODS:
        for region in (ALL, TARGET):
            small, large = Attack(method, region, 4.0), Attack(method, region, 16.0)
            assert found.changed[small].tolist() == [1, 0, 0, 1]  # 0.49 + 0.016, and 0.51 − 0.016
            assert found.right[small].tolist() == [0, 0, 1, 1]
            assert found.changed[large].tolist() == [1, 1, 0, 1]  # 0.45 + 0.063, too
            assert found.right[large].tolist() == [0, 1, 1, 1]
        assert not any(found.changed[Attack(method, OTHERS, norm)].any() for norm in plan.norms)
    assert {name: values.tolist() for name, values in found.areas.items()} == {
        ALL: [1.0] * 4,
        TARGET: [0.25] * 4,
        OTHERS: [0.125] * 4,
    }


def test_all_pixels_are_attacked_without_masks_and_give_the_same_answers():
    images, query = questions()
    split = split_of(images, query, torch.zeros(IMAGES, dtype=torch.long))
    bare = replace(split, instance=None)
    plan = AttackPlan(regions=(ALL,), norms=(8.0, 64.0))
    with_masks, without = (measure_fooling(small_network(), of, plan, batch=5) for of in (split, bare))
    assert without.areas[ALL].tolist() == with_masks.areas[ALL].tolist() == [1.0] * IMAGES
    for attack in plan.attacks():
        assert torch.equal(without.changed[attack], with_masks.changed[attack])
        assert torch.equal(without.right[attack], with_masks.right[attack])
    with pytest.raises(ValueError, match="without masks"):
        measure_fooling(small_network(), bare, AttackPlan(regions=(ALL, TARGET)))


def test_an_attack_of_vanishing_norm_changes_no_answer():
    images, query = questions()
    plan = AttackPlan(norms=(1e-6,))
    found = measure_fooling(small_network(), split_of(images, query, torch.zeros(IMAGES, dtype=torch.long)), plan)
    assert not any(changed.any() for changed in found.changed.values())
    assert all(torch.equal(right, found.right_before) for right in found.right.values())


def test_pgd_fools_a_random_network_at_least_as_often_as_fgsm():
    images, query = questions()
    split = split_of(images, query, torch.zeros(IMAGES, dtype=torch.long))
    found = measure_fooling(small_network(), split, AttackPlan(regions=(ALL,), norms=(8.0, 64.0)))
    counts = {key: int(changed.sum()) for key, changed in found.changed.items()}
    for norm in (8.0, 64.0):
        assert counts[Attack(PGD, ALL, norm)] >= counts[Attack(FGSM, ALL, norm)]
    assert counts[Attack(PGD, ALL, 64.0)] > 0


def test_measuring_attacks_restores_the_network():
    network = small_network()
    images, query = questions()
    network.network.train()
    measure_fooling(network, split_of(images, query, torch.zeros(IMAGES, dtype=torch.long)), AttackPlan(norms=(1.0,)))
    assert network.network.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.network.parameters())
