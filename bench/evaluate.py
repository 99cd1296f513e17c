"""A network on a split → numbers: validation accuracy, and every measure of a test."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import nn

from bench.metrics import accuracy_per_scale, mask_area, mask_correctness, pointing_game, true_positive_ratio
from bench.model import AttributeCNN
from bench.split import Split

BATCH = 200
"""Images at a time. In a run at most as many as its training takes, so that what fits there fits here."""


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """What a sampled attention draws in here is the same every time; the generators are left as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


@torch.inference_mode()
def accuracy(model: nn.Module, split: Split, batch: int = BATCH) -> float:
    """Share of right answers, 0 … 1; so many images at a time."""
    model.eval()
    with same_draws(split.device), closing(split.batches(batch)) as batches:
        right = sum((model(b.images, b.query).logits.argmax(1) == b.label).sum() for b in batches)
    return float(right) / len(split)


@torch.inference_mode()
def test(model: AttributeCNN, split: Split, size: int) -> dict[str, Any]:
    """Accuracy, accuracy and count per scale, and how well the maps lie on the masks (None without attention).

    `size` images at a time.

    TPR is None too where the last slot, whose map it looks at, has none.
    """
    model.eval()
    correct, maps = [], []
    last_mask = True
    with same_draws(split.device), closing(split.batches(size)) as batches:
        for batch in batches:
            out = model(batch.images, batch.query)
            last_mask = out.last_mask
            target = split.masks(batch.at)
            correct.append(out.logits.argmax(1) == batch.label)
            measured = [mask_area(target)]
            if out.masks:
                measures = (mask_correctness, true_positive_ratio, pointing_game)
                measured += [measure(out.masks, target, out.mask_power) for measure in measures]
            maps.append(torch.stack(measured))
    right = torch.cat(correct)
    assert split.scale is not None
    result: dict[str, Any] = {"accuracy": float(right.double().mean()), "n_test": len(right)}
    for name, (share, n) in accuracy_per_scale(right, split.scale).items():
        result |= {f"accuracy_scale_{name}": share, f"n_scale_{name}": n}
    means = torch.cat(maps, dim=1).double().mean(dim=1).tolist()
    names = ("mask_correctness_uniform", "mask_correctness", "tpr", "pointing")
    result |= dict(zip(names, means + [None] * (len(names) - len(means)), strict=True))
    return result if last_mask else result | {"tpr": None}
