"""Attacks on a network over the questions of a split: which answers change, and which remain right.

Shapes: T questions, each about its own image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from bench.attribution.attack import Strength, attack, attacked_regions
from bench.attribution.attack_names import ALL, DEFAULT_NORMS, METHODS, PIXEL_LEVELS, REGIONS
from bench.attribution.explained_network import ExplainedNetwork
from bench.data.split import Split
from bench.evaluation import unchecked_metrics as metrics


class Attack(NamedTuple):
    """One attack. `norm` is in units of 1/255."""

    method: str
    region: str
    norm: float

    @property
    def name(self) -> str:
        """The name in records, such as "fgsm/all/4"."""
        return f"{self.method}/{self.region}/{self.norm:g}"


@dataclass(frozen=True)
class AttackPlan:
    """The attacks of one record: each method on each region with each norm, in units of 1/255."""

    methods: tuple[str, ...] = tuple(METHODS)
    regions: tuple[str, ...] = tuple(REGIONS)
    norms: tuple[float, ...] = DEFAULT_NORMS

    @property
    def needs_masks(self) -> bool:
        """Whether a region is a part of the image, which a mask gives."""
        return set(self.regions) != {ALL}

    def attacks(self) -> list[Attack]:
        """Return all attacks, the smallest norm first."""
        return [Attack(*parts) for parts in product(self.methods, self.regions, self.norms)]


@dataclass(frozen=True)
class FoolingResult:
    """The effect of attacks on T answers.

    Attributes:
        changed: attack → u1 (T,), whether the answer differs from the answer to the original image.
        right: attack → u1 (T,), whether the answer to the attacked image is right.
        right_before: u1 (T,), whether the answer to the original image is right.
        areas: region → its share of each image, f8 (T,).
    """

    changed: Mapping[Attack, Tensor]
    right: Mapping[Attack, Tensor]
    right_before: Tensor
    areas: Mapping[str, Tensor]


def measure_fooling(
    network: ExplainedNetwork,
    split: Split,
    plan: AttackPlan,
    batch: int = 50,
    on_batch: Callable[[int], object] | None = None,
) -> FoolingResult:
    """Return which answers the attacks change.

    Args:
        network: the network.
        split: the questions, with masks if the plan needs them.
        plan: the attacks.
        batch: questions per pass.
        on_batch: called after each attack and batch with the number of its questions.

    Raises:
        ValueError: the network returns no logits, its answers have no gradient, or a mask is missing.
    """
    attacks = plan.attacks()
    changed: dict[Attack, list[Tensor]] = {attacked: [] for attacked in attacks}
    right: dict[Attack, list[Tensor]] = {attacked: [] for attacked in attacks}
    areas: dict[str, list[Tensor]] = {region: [] for region in plan.regions}
    before = []
    with network.frozen():
        for indices in torch.arange(len(split), device=split.device).split(batch):
            questions = split.batch(indices)
            regions = _find_pixels(split, indices, questions.images, plan)
            answers = network.probabilities(questions.images, questions.query).argmax(1)
            before.append((answers == questions.label).to(torch.uint8).cpu())
            for name, parts in areas.items():
                parts.append(metrics.area_of(regions[name]).double().cpu())
            for key in attacks:
                made = attack(
                    network,
                    questions.images,
                    query=questions.query,
                    classes=answers,
                    region=regions[key.region],
                    strength=Strength(key.norm / PIXEL_LEVELS, key.method),
                )
                now = network.probabilities(made, questions.query).argmax(1)
                changed[key].append((now != answers).to(torch.uint8).cpu())
                right[key].append((now == questions.label).to(torch.uint8).cpu())
                if on_batch:
                    on_batch(len(indices))
    return FoolingResult(
        {key: torch.cat(parts) for key, parts in changed.items()},
        {key: torch.cat(parts) for key, parts in right.items()},
        torch.cat(before),
        {name: torch.cat(parts) for name, parts in areas.items()},
    )


def _find_pixels(split: Split, indices: Tensor, images: Tensor, plan: AttackPlan) -> dict[str, Tensor]:
    """Return the pixels of each region of the questions, bool (B, H, W). Without masks, there are all pixels only."""
    if not plan.needs_masks:
        return {ALL: torch.ones_like(images[:, 0], dtype=torch.bool)}
    target = split.masks(indices)
    return attacked_regions(target, split.ink(indices).bool() & ~target)
