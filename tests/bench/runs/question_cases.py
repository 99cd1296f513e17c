"""Explanations, attacks, swapped questions and a test on another data set with known values, and their records."""

import torch

from bench.attribution.explain import ORACLE, Explanation, ExplanationOptions
from bench.attribution.fooling import AttackPlan, FoolingResult
from bench.attribution.measures import AREAS, DELETION, MEASURES
from bench.attribution.swap import AREAS as SWAPPED_AREAS
from bench.attribution.swap import LARGEST_CHANGE, MASSES, MOVED, RIGHTS, TOTAL_VARIATION, Swap
from bench.runs import attack_record, saliency_record, swap_record


def make_explanation(images: int = 7) -> Explanation:
    generator = torch.Generator().manual_seed(0)

    def values():
        return torch.rand(images, generator=generator, dtype=torch.float64)

    measures = {
        "gradient": {column.name: values() for column in MEASURES},
        "input-x-gradient": {column.name: values() for column in MEASURES},
        "attention": {column.name: values() for column in MEASURES if column.name != DELETION},
        ORACLE: {DELETION: values()},
    }
    right = torch.tensor([1] * (images - 1) + [0], dtype=torch.uint8)
    return Explanation(measures, {name: values() for name in AREAS}, right, {"gradient": 3.5}, {})


def write_saliency(run) -> saliency_record.SaliencyRecord:
    content = saliency_record.saliency_content("mbg-0123", make_explanation(), ExplanationOptions(), "cpu", "0.9.0")
    return saliency_record.RECORD.write(run, content)


PLAN = AttackPlan(("pgd",), ("all", "target"), (0.5, 4.0))


def write_attack(run):
    flags = {attack: torch.tensor([k % 2, 1, 0], dtype=torch.uint8) for k, attack in enumerate(PLAN.attacks())}
    areas = {region: torch.tensor([1.0, 0.25, 0.125], dtype=torch.float64) for region in PLAN.regions}
    right = torch.tensor([1, 0, 1], dtype=torch.uint8)
    fooling = FoolingResult(flags, {attack: 1 - values for attack, values in flags.items()}, right, areas)
    return attack_record.RECORD.write(run, attack_record.attack_content("mini-1", fooling, PLAN, 7, "cpu"))


def write_swap(run):
    names = (*MASSES, MOVED, TOTAL_VARIATION, LARGEST_CHANGE, *SWAPPED_AREAS)
    measures = {name: torch.tensor([0.1 * k, 1e-7, 1.0]) for k, name in enumerate(names)}
    measures[MOVED] = torch.tensor([-0.5, 0.0, 1.0])
    right = {name: torch.tensor([1, 0, 1], dtype=torch.uint8) for name in RIGHTS}
    return swap_record.RECORD.write(run, swap_record.swap_content("mini-1", Swap(measures, right), 7, "cpu"))


FACTORS = {
    "variant": "mini",
    "scales": [0.5, 1.0],
    "digits_per_image": [2, 4],
    "canvas": 48,
    "distractors": 0,
    "seed": 0,
    "digits": "mnist5k",
    "backgrounds": None,
    "pool": "disjoint",
}
TESTED_SET = {
    "dataset": "mini-1",
    "split": "test",
    "questions": 4,
    "pairs": 3,
    "factors": {**FACTORS, "scales": [0.5, 0.5]},
    "note": "",
    "batch": 2,
    "device": "cpu",
}
RIGHT = torch.tensor([1, 0, 1, 1], dtype=torch.uint8)
"""The factors of a data set, a test without maps on another one, and its answers."""
