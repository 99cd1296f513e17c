"""Explanation of a network on the questions of a split: the maps of each method and their measures.

Shapes: T questions, each about its own image of H × W pixels.
"""

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.attribution import perturbation
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.map_method import LABEL, PREDICTION, MapMethod
from bench.attribution.measures import DELETION, INSERTION, measure_map, normalize, region_areas
from bench.data.split import Split

ORACLE = "oracle"
"""The mask of the queried digit as a map. A reference for deletion and insertion of the other maps."""


@dataclass(frozen=True)
class Explanation:
    """The measures of map methods on T questions.

    Attributes:
        measures: method → measure → values f8 (T,), see `bench.attribution.measures.MEASURES`. Methods without a map
            for this network are missing.
        areas: region → its share of each image, f8 (T,).
        right: u1 (T,), whether the network's answer is right.
        seconds: method → seconds for all maps, without the measures.
        maps: method → normalised maps f4 (T, H, W), if they were kept.
    """

    measures: Mapping[str, Mapping[str, Tensor]]
    areas: Mapping[str, Tensor]
    right: Tensor
    seconds: Mapping[str, float]
    maps: Mapping[str, Tensor]


@dataclass(frozen=True)
class ExplanationOptions:
    """Options of an explanation.

    Attributes:
        explained: `PREDICTION` or `LABEL`.
        batch: questions per forward pass.
        seed: seed of random maps, noise and masks.
        curves: whether to compute deletion and insertion.
        keeps_maps: whether the result has the maps.
    """

    explained: str = PREDICTION
    batch: int = 50
    seed: int = 0
    curves: bool = True
    keeps_maps: bool = False


def explain(
    network: ExplainedNetwork,
    split: Split,
    methods: Sequence[MapMethod],
    options: ExplanationOptions | None = None,
    on_batch: Callable[[int], object] | None = None,
) -> Explanation:
    """Return the measures of the maps of each method.

    Args:
        network: the network.
        split: the questions, with masks.
        methods: the methods.
        options: the class that is explained, the batch size, the seed, and which results to compute.
        on_batch: called after each method and batch with the number of its questions.

    Raises:
        ValueError: the network returns no logits, or a map has values that are negative or not finite.
    """
    options = options or ExplanationOptions()
    found: dict[str, dict[str, list[Tensor]]] = {}
    areas: dict[str, list[Tensor]] = {}
    rights: list[Tensor] = []
    maps: dict[str, list[Tensor]] = {}
    seconds = dict.fromkeys((method.name for method in methods), 0.0)
    with network.frozen():
        for indices in torch.arange(len(split), device=split.device).split(options.batch):
            question = _Questions.of(network, split, indices, options.explained)
            if not rights:  # the first batch
                _warm_up(network, methods, question, options.seed)
            rights.append(question.right)
            _append(areas, region_areas(question.target, question.others))
            for method in methods:
                started = time.perf_counter()
                with seeded(options.seed, method.name, int(indices[0])):
                    made = method.compute(network, question.images, question.query, question.classes)
                    if made is not None and made.is_cuda:
                        torch.cuda.synchronize(made.device)
                seconds[method.name] += time.perf_counter() - started
                if made is not None:
                    scores = normalize(made, question.size)
                    _append(found.setdefault(method.name, {}), question.measure(network, scores, options.curves))
                    if options.keeps_maps:
                        maps.setdefault(method.name, []).append(scores.cpu())
                if on_batch:
                    on_batch(len(indices))
            if options.curves:
                _append(found.setdefault(ORACLE, {}), question.curves(network, question.target.float()))
    return Explanation(
        {method: _joined(columns) for method, columns in found.items()},
        _joined(areas),
        torch.cat(rights).to(torch.uint8).cpu(),
        {name: spent for name, spent in seconds.items() if name in found},
        {name: torch.cat(parts) for name, parts in maps.items()},
    )


def _warm_up(network: ExplainedNetwork, methods: Sequence[MapMethod], question: "_Questions", seed: int) -> None:
    """Compute one map by each fast method, so that imports do not count as the time of a method."""
    for method in methods:
        if method.is_slow:
            continue
        with seeded(seed, method.name, 0):
            method.compute(network, question.images[:1], question.query[:1], question.classes[:1])


@dataclass(frozen=True)
class _Questions:
    """A batch of questions, and the class that is explained for each."""

    images: Tensor
    query: Tensor
    classes: Tensor
    right: Tensor
    target: Tensor
    others: Tensor

    @classmethod
    def of(cls, network: ExplainedNetwork, split: Split, indices: Tensor, explained: str) -> "_Questions":
        batch, ink = split.batch(indices), split.ink(indices)
        target = split.masks(indices)
        answer = network.probabilities(batch.images, batch.query).argmax(1)
        classes = batch.label if explained == LABEL else answer
        return cls(
            images=batch.images,
            query=batch.query,
            classes=classes,
            right=answer == batch.label,
            target=target,
            others=ink.bool() & ~target,
        )

    @property
    def size(self) -> tuple[int, int]:
        return (self.images.shape[2], self.images.shape[3])

    def measure(self, network: ExplainedNetwork, scores: Tensor, curves: bool) -> dict[str, Tensor]:
        """Return the measures of normalised maps, with deletion and insertion if `curves`."""
        measured = measure_map(scores, self.target, self.others)
        return measured | (self.curves(network, scores) if curves else {})

    def curves(self, network: ExplainedNetwork, scores: Tensor) -> dict[str, Tensor]:
        """Return deletion and insertion."""
        functions = {DELETION: perturbation.deletion, INSERTION: perturbation.insertion}
        return {
            name: perturbation.area(function(network, self.images, self.query, self.classes, scores))
            for name, function in functions.items()
        }


@contextmanager
def seeded(seed: int, method: str, first: int) -> Iterator[None]:
    """Inside this context, PyTorch's CPU generator depends on the arguments only. It is restored afterwards."""
    entropy = [seed, zlib.crc32(method.encode()), first]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        yield


def _append(columns: dict[str, list[Tensor]], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        columns.setdefault(name, []).append(value.detach().double().cpu())


def _joined(columns: Mapping[str, list[Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat(parts) for name, parts in columns.items()}
