"""A network on a split → numbers: validation accuracy, and every measure of a test."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from bench.measures import COUNTS, MASK_CORRECTNESS, POINTING, PR_AREA, SCALES, TPR, UNIFORM
from bench.metrics import (
    BINS,
    accuracy_per_scale,
    mask_area,
    mask_correctness,
    pointing_game,
    precision_recall,
    scale_bin,
    score_histogram,
    true_positive_ratio,
)
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


class Tested(NamedTuple):
    """What a test found: `measures` by name, and of each question, in their order, the `answers`.

    `answers`: `right` and `pointing` u1 (T,), 0 or 1; `answer` i2 (T,), the label given; `scale_bin` i1 (T,);
    `mask_correctness` and `tpr` f2 (T,). Without attention these two and `pointing` are missing.
    """

    measures: dict[str, Any]
    answers: dict[str, Tensor]


_OF_MAPS = {MASK_CORRECTNESS: mask_correctness, TPR: true_positive_ratio, POINTING: pointing_game}


@torch.inference_mode()
def test(
    model: AttributeCNN,
    split: Split,
    size: int = BATCH,  # noqa: PT028, no test of pytest's
    team: Alone = ALONE,  # noqa: PT028
) -> Tested:
    """Accuracy, accuracy and count per scale, and how well the maps lie on the masks (None without attention).

    By `size` images at a time, of which each process of the team asks for its part. TPR is None too where the last
    slot, whose map it looks at, has none.
    """
    model.eval()
    names = ("answer", "right", UNIFORM, *_OF_MAPS)
    found = torch.zeros(len(names), len(split), dtype=torch.float64, device=split.device)
    pixels = torch.zeros(2, BINS, dtype=torch.long, device=split.device)
    last_mask, known = True, 0
    with same_draws(split.device), closing(_answers(model, split, size, team)) as answers:
        for batch, out in answers:
            last_mask = out.last_mask
            target, answer = split.masks(batch.at), out.logits.argmax(1)
            measured = [answer, answer == batch.label, mask_area(target)]
            if out.masks:
                measured += [measure(out.masks, target, out.mask_power) for measure in _OF_MAPS.values()]
                pixels += score_histogram(out.masks, target, out.mask_power)
            known = len(measured)
            for row, values in zip(found, measured, strict=False):
                row[batch.at] = values.double()
    team.add(found)
    team.add(pixels)
    every = dict(zip(names[:known], found, strict=False))
    if not last_mask:
        every.pop(TPR, None)
    return Tested(_measures(every, split) | _curve(pixels), _kept(every, split))


def _measures(every: dict[str, Tensor], split: Split) -> dict[str, Any]:
    """Of the values of every question, f8 (T,), what result.json says."""
    right = every["right"].bool()
    assert split.scale is not None
    result: dict[str, Any] = {"accuracy": float(right.double().mean()), "n_test": len(right)}
    per_scale = accuracy_per_scale(right, split.scale).values()
    for accuracy_name, count_name, (share, n) in zip(SCALES, COUNTS, per_scale, strict=True):
        result |= {accuracy_name: share, count_name: n}
    for name in (UNIFORM, *_OF_MAPS):
        result[name] = float(every[name].mean()) if name in every else None
    return result


def _curve(pixels: Tensor) -> dict[str, Any]:
    """Precision and recall of the pixels that were counted, in result.json's words."""
    if not pixels[0].any():  # no attention
        return {PR_AREA: None, "pr_curve": None}
    recall, precision, area = precision_recall(pixels)
    curve = {"recall": recall.tolist(), "precision": [round(value, 6) for value in precision.tolist()]}
    return {PR_AREA: area, "pr_curve": curve}


def _kept(every: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
    """The answers as they are kept: small."""
    assert split.scale is not None
    every = {**every, "scale_bin": scale_bin(split.scale)}
    kinds = {"answer": torch.int16, "right": torch.uint8, "pointing": torch.uint8, "scale_bin": torch.int8}
    names = ("answer", "right", "scale_bin", *_OF_MAPS)
    return {name: every[name].to(kinds.get(name, torch.float16)).cpu() for name in names if name in every}


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
