"""A network on a split → numbers: validation accuracy, and every measure of a test."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch import nn

from bench.metrics import accuracy_per_scale, mask_area, mask_correctness, pointing_game, true_positive_ratio
from bench.model import AttributeCNN, Output
from bench.parallel import ALONE, Alone
from bench.split import Batch, Split

BATCH = 200
"""Images at a time. In a run at most as many as its training takes, so that what fits there fits here."""


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """What a sampled attention draws in here is the same every time; the generators are left as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


@torch.inference_mode()
def accuracy(model: nn.Module, split: Split, size: int = BATCH, team: Alone = ALONE) -> float:
    """Share of right answers, 0 … 1, by `size` images at a time; of several processes each asks for its part."""
    model.eval()
    right = torch.zeros((), dtype=torch.long, device=split.device)
    with same_draws(split.device), closing(_answers(model, split, size, team)) as answers:
        for batch, out in answers:
            right += (out.logits.argmax(1) == batch.label).sum()
    return float(team.add(right)) / len(split)


@torch.inference_mode()
def test(
    model: AttributeCNN,
    split: Split,
    size: int = BATCH,  # noqa: PT028, no test of pytest's
    team: Alone = ALONE,  # noqa: PT028
) -> dict[str, Any]:
    """Accuracy, accuracy and count per scale, and how well the maps lie on the masks (None without attention).

    By `size` images at a time, of which each process of the team asks for its part. TPR is None too where the last
    slot, whose map it looks at, has none.
    """
    model.eval()
    names = ("mask_correctness_uniform", "mask_correctness", "tpr", "pointing")
    found = torch.zeros(1 + len(names), len(split), dtype=torch.float64, device=split.device)
    last_mask, known = True, 0
    with same_draws(split.device), closing(_answers(model, split, size, team)) as answers:
        for batch, out in answers:
            last_mask = out.last_mask
            target = split.masks(batch.at)
            measured = [out.logits.argmax(1) == batch.label, mask_area(target)]
            if out.masks:
                measures = (mask_correctness, true_positive_ratio, pointing_game)
                measured += [measure(out.masks, target, out.mask_power) for measure in measures]
            known = len(measured) - 1
            for row, values in zip(found, measured, strict=False):
                row[batch.at] = values.double()
    team.add(found)
    right = found[0].bool()
    assert split.scale is not None
    result: dict[str, Any] = {"accuracy": float(right.double().mean()), "n_test": len(right)}
    for name, (share, n) in accuracy_per_scale(right, split.scale).items():
        result |= {f"accuracy_scale_{name}": share, f"n_scale_{name}": n}
    means = found[1 : 1 + known].mean(dim=1).tolist()
    result |= dict(zip(names, means + [None] * (len(names) - known), strict=True))
    return result if last_mask else result | {"tpr": None}


def _answers(model: nn.Module, split: Split, size: int, team: Alone) -> Generator[tuple[Batch, Output]]:
    """Of each batch in order this process's rows, and what the network says of them."""
    if team.size == 1:
        with closing(split.batches(size)) as batches:
            for batch in batches:
                yield batch, model(batch.images, batch.query)
        return
    parts = list(torch.arange(len(split), device=split.device).split(size))
    if len(parts) > 1 and len(parts[-1]) < team.size:  # every process has a part in whatever they exchange
        parts[-2:] = [torch.cat(parts[-2:])]
    for at in parts:
        own = at[team.rows(len(at))]
        if len(own):
            with team.share(len(at)):
                batch = split.batch(own)
                out = model(batch.images, batch.query)
            yield batch, out
