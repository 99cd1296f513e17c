"""Adversarial images: small changes of pixels that may change a network's answer (LTPA §5.2).

Shapes: B questions, each about its own image of H × W pixels. Pixels are in 0 … 1, and a norm ε is the largest change
of a pixel in each colour channel (L∞).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.attribution.attack_names import (
    ALL,
    BACKGROUND,
    FGSM,
    OTHERS,
    PGD_REACH,
    PGD_STEPS,
    PIXEL_LEVELS,
    REGIONS,
    TARGET,
)
from bench.attribution.explained_network import ExplainedNetwork
from mnistref.common.errors import UsageProblemError, did_you_mean

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Strength:
    """How much an attack may change, and in how many steps.

    Attributes:
        epsilon: largest change of a pixel, 0 … 1.
        method: a key of `bench.attribution.attack_names.METHODS`.
    """

    epsilon: float
    method: str = FGSM


def attack(
    network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor, region: Tensor, strength: Strength
) -> Tensor:
    """Return images whose pixels raise the cross-entropy of the classes. Their values stay in 0 … 1.

    Call it inside `network.frozen()`. A random mechanism draws the same samples in every step.

    Args:
        network: the network.
        images: f4 (B, 3, H, W) in 0 … 1.
        query: i8 (B,).
        classes: i8 (B,), the network's answers to the images.
        region: bool (B, H, W), the pixels that may change.
        strength: the norm and the method.

    Raises:
        ValueError: the answers have no gradient with respect to the images.
    """
    epsilon = strength.epsilon
    steps, size = (1, epsilon) if strength.method == FGSM else (PGD_STEPS, PGD_REACH * epsilon / PGD_STEPS)
    allowed = region.unsqueeze(1)
    attacked = images
    for _ in range(steps):
        step = size * _gradient(network, attacked, query, classes).sign()
        change = (attacked + step * allowed - images).clamp(-epsilon, epsilon)
        attacked = (images + change).clamp(0, 1).where(allowed, images)
    return attacked


def _gradient(network: ExplainedNetwork, images: Tensor, query: Tensor, classes: Tensor) -> Tensor:
    """Return the gradient of the cross-entropy of each question's class, (B, 3, H, W)."""
    images = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        # In double precision, the gradient of a certain answer does not vanish as soon as 1 − p is below 6e-8.
        loss = F.cross_entropy(network.scores(images, query).double(), classes, reduction="sum")
        if not loss.requires_grad:
            raise ValueError("the answers have no gradient with respect to the images, which an attack needs")
        (gradient,) = torch.autograd.grad(loss, images, allow_unused=True)
    return torch.zeros_like(images) if gradient is None else gradient


def attacked_regions(target: Tensor, others: Tensor) -> dict[str, Tensor]:
    """Return the pixels of each region of `bench.attribution.attack_names.REGIONS`, bool (B, H, W).

    Args:
        target: bool (B, H, W), the ink of the queried digit.
        others: bool (B, H, W), the ink of all other digits.
    """
    ink = target | others
    return {ALL: torch.ones_like(ink), TARGET: target, OTHERS: others, BACKGROUND: ~ink}


def find_names(names: str | Iterable[str], known: Mapping[str, str], noun: str) -> tuple[str, ...]:
    """Return names in the order of `known`.

    Args:
        names: the names, or one text with commas between them.
        known: the names that exist.
        noun: what they name, for messages.

    Raises:
        UsageProblemError: there is no such name, or none, or one is given twice.
    """
    given = _list_entries(names)
    if not given:
        raise UsageProblemError(f"no {noun}: give one or more of {', '.join(known)}")
    for name in given:
        if name not in known:
            raise UsageProblemError(f"no {noun} {name!r}: {did_you_mean(str(name), list(known))}")
        if given.count(name) > 1:
            raise UsageProblemError(f"{noun} {name} is given twice")
    return tuple(name for name in known if name in given)


def find_regions(names: str | Iterable[str] | None, has_question: bool, has_masks: bool = True) -> tuple[str, ...]:
    """Return the regions that an attack may change, in the order of `REGIONS`.

    Args:
        names: see `find_names`; None for all regions that the images have.
        has_question: whether images have other digits than the one that the label is about.
        has_masks: whether the images have masks. Without masks, None is all pixels. Names are not compared with it.

    Raises:
        UsageProblemError: see `find_names`.
    """
    if names is None and not has_masks:
        return (ALL,)
    known = {name: words for name, words in REGIONS.items() if has_question or name != OTHERS}
    return tuple(known) if names is None else find_names(names, known, "region")


def parse_norms(norms: str | Iterable[str | float]) -> tuple[float, ...]:
    """Return norms in units of 1/255, in ascending order.

    Args:
        norms: the norms, or one text with commas between them, such as "1,2,4".

    Raises:
        UsageProblemError: there is no entry, or one is not a number above 0 and at most 255, or is given twice.
    """
    found: list[float] = []
    given = _list_entries(norms)
    if not given:
        raise UsageProblemError("no norm: give one or more, such as 1,2,4")
    for entry in given:
        try:
            norm = float(entry)
        except (TypeError, ValueError):
            norm = math.nan
        if not 0 < norm <= PIXEL_LEVELS:
            raise UsageProblemError(f"norm {entry!r}: give numbers above 0, at most {PIXEL_LEVELS}, such as 1,2,4")
        if norm in found:
            raise UsageProblemError(f"norm {entry} is given twice")
        found.append(norm)
    return tuple(sorted(found))


def _list_entries(entries: str | Iterable[Entry]) -> list[str] | list[Entry]:
    return entries.split(",") if isinstance(entries, str) else list(entries)
