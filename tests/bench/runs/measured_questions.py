"""Attacks, swapped questions and map methods of a small network on random questions, and their records."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from bench.attribution.explain import ExplanationOptions, explain
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.fooling import AttackPlan, measure_fooling
from bench.attribution.methods import find_methods
from bench.attribution.swap import swap
from bench.data.split import Resident
from bench.runs import attack_record, saliency_record, swap_record

QUESTIONS, SIZE, CELL, CLASSES, QUERIES = 24, 12, 3, 3, 4


def make_network() -> ExplainedNetwork:
    """Return a linear network with a map of 4 × 4 cells. Both depend on the question."""
    rng = np.random.default_rng(5)
    cells = (SIZE // CELL) ** 2
    answer = torch.from_numpy(rng.normal(size=(QUERIES, CLASSES, 3 * cells)).astype(np.float32))
    channel = torch.from_numpy(rng.normal(size=(QUERIES, 3)).astype(np.float32))

    def network(images, query):
        means = F.avg_pool2d(images, CELL) - 0.5
        logits = torch.einsum("bkf,bf->bk", answer[query], means.flatten(1))
        return logits, torch.einsum("bc,bchw->bhw", channel[query], means).abs()

    return ExplainedNetwork(network, CLASSES)


def make_questions() -> Resident:
    """Return one question about each of 24 random images with two digits."""
    rng = np.random.default_rng(6)
    instance = torch.zeros(QUESTIONS, SIZE, SIZE, dtype=torch.uint8)
    for image in range(QUESTIONS):
        for digit in range(2):
            top, left, side = rng.integers(0, 3) + 6 * digit, rng.integers(0, 8), rng.integers(2, 5)
            instance[image, top : top + side, left : left + side] = digit + 1
    return Resident(
        image=torch.arange(QUESTIONS),
        slot=torch.zeros(QUESTIONS, dtype=torch.long),
        query=torch.from_numpy(rng.integers(0, QUERIES, QUESTIONS)),
        label=torch.from_numpy(rng.integers(0, CLASSES, QUESTIONS)),
        images=torch.from_numpy(rng.integers(0, 256, (QUESTIONS, SIZE, SIZE, 3), dtype=np.uint8)),
        instance=instance,
    )


def write_attack(run: Path) -> None:
    plan = AttackPlan(norms=(0.5, 2.0))
    found = measure_fooling(make_network(), make_questions(), plan, batch=10)
    attack_record.RECORD.write(run, attack_record.attack_content("mini-1", found, plan, 10, "cpu"))


def write_swap(run: Path) -> None:
    first = make_questions()
    second = replace(first, slot=first.slot + 1, query=(first.query + 1) % QUERIES, label=(first.label + 1) % CLASSES)
    found = swap(make_network(), first, second, batch=10)
    assert found is not None
    swap_record.RECORD.write(run, swap_record.swap_content("mini-1", found, 10, "cpu"))


def write_saliency(run: Path) -> None:
    options = ExplanationOptions(batch=10)
    found = explain(make_network(), make_questions(), find_methods("attention,uniform,center"), options)
    saliency_record.RECORD.write(run, saliency_record.saliency_content("mini-1", found, options, "cpu", ""))
