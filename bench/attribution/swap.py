"""Another question about the same image: does the map follow the question (LTPA §A.5)?

Shapes: T images with two questions each. Digit 1 is the queried digit of question 1, digit 2 that of question 2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.attribution.explained_network import ExplainedNetwork
from bench.data.split import Split
from bench.evaluation import unchecked_metrics as metrics

MASSES = ("map1_on_digit1", "map1_on_digit2", "map2_on_digit1", "map2_on_digit2")
"""Shares of the map under each question that lie on each digit: both of question 1, then both of question 2."""
MOVED, TOTAL_VARIATION, LARGEST_CHANGE = "moved", "total_variation", "largest_change"
AREAS = ("area_digit1", "area_digit2")
"""Shares of the image that the digits cover. The uniform map has these scores."""
RIGHTS = ("right1", "right2")
"""Whether the answer to each question is right."""
SAME_MAP = 1e-6
"""Largest relative change of a map that counts as rounding."""


@dataclass(frozen=True)
class Swap:
    """The measures of two questions about each of T images.

    Attributes:
        measures: name → f4 (T,): `MASSES`; `MOVED`, the mass that question 2 moves to digit 2; `TOTAL_VARIATION`, half
            the sum of the absolute differences of the two maps, 0 … 1; `LARGEST_CHANGE`, the largest absolute
            difference divided by the maximum of both maps; and `AREAS`.
        right: name → u1 (T,), see `RIGHTS`.
    """

    measures: Mapping[str, Tensor]
    right: Mapping[str, Tensor]


def pair_questions(first: Split, everything: Split) -> tuple[Split, Split]:
    """Return two questions about each image: the given one, and the next one about the image with another query.

    The next question is that about the next slot; the first slot follows the last. Images without another query are
    omitted.

    Args:
        first: one question about each image.
        everything: all questions about the same images, in any order. Only its questions are read.

    Returns:
        Two splits of the same images, in the order of `first`. They share the pixels.
    """
    questions: dict[int, list[tuple[int, int, int]]] = {}
    columns = (everything.image, everything.slot, everything.query, everything.label)
    for image, *question in zip(*(column.tolist() for column in columns), strict=True):
        questions.setdefault(image, []).append((question[0], question[1], question[2]))
    kept, others = [], []
    for k, (image, slot, query) in enumerate(
        zip(first.image.tolist(), first.slot.tolist(), first.query.tolist(), strict=True)
    ):
        candidates = [entry for entry in questions.get(image, []) if entry[1] != query]
        if candidates:
            kept.append(k)
            others.append(min(candidates, key=lambda entry: (entry[0] <= slot, entry[0])))
    index = torch.tensor(kept, dtype=torch.long, device=first.device)
    slots, queries, labels = torch.from_numpy(np.array(others, dtype=np.int64).reshape(-1, 3).T).to(first.device)
    one = replace(
        first,
        image=first.image[index],
        slot=first.slot[index],
        query=first.query[index],
        label=first.label[index],
        scale=None,
    )
    return one, replace(one, slot=slots, query=queries, label=labels)


def swap(
    network: ExplainedNetwork,
    first: Split,
    second: Split,
    batch: int = 50,
    on_batch: Callable[[int], object] | None = None,
) -> Swap | None:
    """Return the measures of two questions about each image; None if the network has no map.

    A random mechanism draws the same samples for both questions.

    Args:
        network: the network.
        first: question 1 about each image, with masks.
        second: question 2 about each image, see `pair_questions`.
        batch: images per pass.
        on_batch: called after each batch with the number of its images.
    """
    measures: dict[str, list[Tensor]] = {}
    right: dict[str, list[Tensor]] = {}
    with network.frozen():
        for indices in torch.arange(len(first), device=first.device).split(batch):
            one = first.batch(indices)
            labels = (one.label, second.label[indices])
            maps = []
            for name, query, label in zip(RIGHTS, (one.query, second.query[indices]), labels, strict=True):
                made = network.attention(one.images, query)
                if made is None:
                    return None
                maps.append(made)
                answers = network.probabilities(one.images, query).argmax(1)
                right.setdefault(name, []).append((answers == label).to(torch.uint8).cpu())
            found = compare_maps(maps[0], maps[1], first.masks(indices), second.masks(indices))
            for name, values in found.items():
                measures.setdefault(name, []).append(values.float().cpu())
            if on_batch:
                on_batch(len(indices))
    return Swap(
        {name: torch.cat(parts) for name, parts in measures.items()},
        {name: torch.cat(parts) for name, parts in right.items()},
    )


def compare_maps(map1: Tensor, map2: Tensor, digit1: Tensor, digit2: Tensor) -> dict[str, Tensor]:
    """Return the measures of `Swap.measures`, (T,) each by name.

    Args:
        map1: f4 (T, H, W), the map under question 1, summing to 1 for each image.
        map2: f4 (T, H, W), the map under question 2.
        digit1: bool (T, H, W), the ink of digit 1.
        digit2: bool (T, H, W), the ink of digit 2.
    """
    masses = [metrics.share_on(scores, digit) for scores in (map1, map2) for digit in (digit1, digit2)]
    difference = (map1 - map2).abs()
    peak = torch.maximum(map1, map2).amax(dim=(1, 2))
    return {
        **dict(zip(MASSES, masses, strict=True)),
        MOVED: masses[3] - masses[1],
        TOTAL_VARIATION: difference.sum(dim=(1, 2)) / 2,
        LARGEST_CHANGE: difference.amax(dim=(1, 2)) / peak,
        **dict(zip(AREAS, map(metrics.area_of, (digit1, digit2)), strict=True)),
    }
