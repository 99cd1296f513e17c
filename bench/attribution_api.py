"""Public Python API of `bench.attribution`: post-hoc maps, attacks and swapped questions of any model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.api import require_batch
from bench.attribution.attack import find_names, find_regions, parse_norms
from bench.attribution.attack_names import DEFAULT_NORMS, METHODS
from bench.attribution.explain import ExplanationOptions
from bench.attribution.explain import explain as explain_questions
from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.fooling import AttackPlan, measure_fooling
from bench.attribution.map_method import LABEL, PREDICTION
from bench.attribution.methods import find_method
from bench.attribution.swap import pair_questions
from bench.attribution.swap import swap as swap_questions
from bench.compute import ComputeConfig
from bench.data.evaluation_data import DataSource, EvaluationData, open_data
from bench.data.sets import has_masks
from bench.data.split import Split
from bench.evaluation.any_model import Model, require_fitting
from bench.leaderboard.attack_table import build_attack_table
from bench.leaderboard.question_columns import RUN
from bench.leaderboard.swap_table import build_swap_table
from bench.runs import attack_record, swap_record
from bench.runs.saliency_run import select_questions
from mnistref.dataset import read_triples

Record = TypeVar("Record", attack_record.AttackRecord, swap_record.SwapRecord)
BATCH_QUESTIONS = 50
"""Default number of questions per call of a model."""


@dataclass(frozen=True)
class Saliency:
    """Post-hoc maps of a network, and their measures.

    Attributes:
        measures: the mean of each measure; shares in 0 … 1.
        questions: one row per question: `image`, `query`, `label`, `correct`, and each measure.
        maps: f4 (T, H, W), not negative; each sums to 1.
    """

    measures: Mapping[str, float]
    questions: pd.DataFrame = field(repr=False)
    maps: Tensor = field(repr=False)


def saliency(
    model: Model,
    dataset: DataSource,
    method: str = "gradient",
    *,
    explain: str = PREDICTION,
    layer: nn.Module | None = None,
    curves: bool = False,
    seed: int = 0,
    batch: int = BATCH_QUESTIONS,
    device: str | torch.device | None = None,
    split: str = "test",
    queries: str = "one",
) -> Saliency:
    """Compute a post-hoc map for each question, and measure it against the mask of the queried digit.

    Most methods need Captum (`pip install captum`).

    Args:
        model: a module or function that returns logits, see `evaluate`. Gradients must flow from them to the images.
        dataset: see `evaluate`. Take a slice: the maps of all questions are kept in memory.
        method: a name of `bench.attribution.methods.METHODS`, such as "gradcam".
        explain: whether the score of the "prediction" or of the right "label" is explained.
        layer: the layer of Grad-CAM; by default the last convolution.
        curves: whether to measure deletion and insertion too.
        seed: seed of random maps, noise and masks.
        batch: questions per call.
        device: see `evaluate`.
        split: split of a folder.
        queries: questions of a folder, see `MnistRef`.

    Raises:
        ValueError: the model returns no logits; the network has no such map; a map has values that are negative or not
            finite; `explain` is unknown; or see `evaluate`.
        UsageProblemError: there is no such method, Captum is missing, or there is no data set.
        DataProblemError: a file of the data set is damaged.
    """
    chosen = find_method(method)
    if explain not in (PREDICTION, LABEL):
        raise ValueError(f"explain={explain!r}: pass {PREDICTION!r} or {LABEL!r}")
    data = open_data(dataset, split, queries)
    network, questions = _load_explained(model, data, batch, device, layer)
    options = ExplanationOptions(explain, batch, seed, curves, keeps_maps=True)
    with ComputeConfig(questions.device).backend_flags():
        found = explain_questions(network, questions, [chosen], options)
    if method not in found.maps:
        raise ValueError(f"the network has no map by the method {method}: it has {chosen.absence}")
    columns: dict[str, np.ndarray] = {name: getattr(data.triples, name) for name in ("image", "query", "label")}
    columns["correct"] = found.right.bool().numpy()
    columns |= {name: values.numpy() for name, values in found.measures[method].items()}
    means = {name: float(values.mean()) for name, values in found.measures[method].items()}
    return Saliency(means, pd.DataFrame(columns).rename_axis("question"), found.maps[method])


def attack(
    model: Model,
    dataset: DataSource,
    *,
    methods: str | Iterable[str] = tuple(METHODS),
    regions: str | Iterable[str] | None = None,
    eps: str | float | Iterable[float] = DEFAULT_NORMS,
    batch: int = BATCH_QUESTIONS,
    device: str | torch.device | None = None,
    split: str = "test",
    queries: str = "one",
) -> pd.DataFrame:
    """Attack the pixels of the images, and return how many answers change. Gives the numbers of `bench attack`.

    Args:
        model: a module or function that returns logits, see `evaluate`. Gradients must flow from them to the images.
        dataset: see `evaluate`. Take a slice: by default, each question is attacked 40 times.
        methods: keys of `bench.attribution.attack_names.METHODS`, such as ["fgsm"] or "fgsm,pgd".
        regions: keys of `bench.attribution.attack_names.REGIONS`: the pixels that may change. None for all that the
            images have: without masks, only "all".
        eps: largest changes of a pixel in 1/255, above 0 and at most 255.
        batch: questions per call.
        device: see `evaluate`.
        split: split of a folder.
        queries: questions of a folder, see `MnistRef`.

    Returns:
        One row for each attack, with the columns of `attacks.csv` except `run`, see `docs/saliency.md`: `fooling_rate`
        and `accuracy` with the bounds of their 95 % intervals, `accuracy_before`, and `area`, the share of the image
        that may change. All are in 0 … 1.

    Raises:
        ValueError: the model returns no logits, or they have no gradient; a region needs masks, and the images have
            none; or see `evaluate`.
        UsageProblemError: an argument names no attack or region, or a norm is out of range; or there is no data set.
        DataProblemError: a file of the data set is damaged.
    """
    norms = (eps,) if isinstance(eps, int | float) else eps
    chosen, sizes = find_names(methods, METHODS, "attack"), parse_norms(norms)
    data = open_data(dataset, split, queries)
    plan = AttackPlan(chosen, find_regions(regions, data.variant.asks, has_masks(data.folder)), sizes)
    network, questions = _load_explained(model, data, batch, device, needs_masks=plan.needs_masks)
    questions = _in_order_of_images(questions)
    computing = ComputeConfig(questions.device)
    with computing.backend_flags():
        fooling = measure_fooling(network, questions, plan, batch)
    content = attack_record.attack_content(data.folder.name, fooling, plan, batch, computing.device_name)
    record = _with_images(attack_record.RECORD.make(content), questions)
    return build_attack_table([("", record)]).drop(columns=RUN)


def swap(
    model: Model,
    dataset: DataSource,
    *,
    batch: int = BATCH_QUESTIONS,
    device: str | torch.device | None = None,
    split: str = "test",
    queries: str = "one",
) -> pd.DataFrame:
    """Ask a second question about each image, and return how the map changes. Gives the numbers of `bench swap`.

    The second question is the next one about the image with another query. Images without one are left out.

    Args:
        model: a module or function that returns logits and maps, see `evaluate`.
        dataset: see `evaluate`.
        batch: images per call.
        device: see `evaluate`.
        split: split of a folder.
        queries: questions of a folder, see `MnistRef`.

    Returns:
        One row, with the columns of `swaps.csv` except `run`, see `docs/saliency.md`: the shares of each map on both
        digits, the changes of the map, and the accuracy of both answers, with the bounds of their 95 % intervals; and
        `verdict`, whether the map depends on the question.

    Raises:
        ValueError: the model returns no logits or no map; no image has two questions; or see `evaluate`.
        UsageProblemError: there is no data set.
        DataProblemError: a file of the data set is damaged.
    """
    data = open_data(dataset, split, queries)
    if not data.variant.asks:
        raise ValueError(f"no image has two questions: {data.variant.name} has no questions")
    network, questions = _load_explained(model, data, batch, device)
    first, second = pair_questions(_in_order_of_images(questions), _all_questions(questions, data))
    if not len(first):
        raise ValueError("no image has two questions: pass more images, or another data set")
    computing = ComputeConfig(questions.device)
    with computing.backend_flags():
        swapped = swap_questions(network, first, second, batch)
    if swapped is None:
        raise ValueError("the model returns no map, so no map can follow the question: return (logits, map)")
    content = swap_record.swap_content(data.folder.name, swapped, batch, computing.device_name)
    record = _with_images(swap_record.RECORD.make(content), first)
    return build_swap_table([("", record)]).drop(columns=RUN)


def _load_explained(
    model: Model,
    data: EvaluationData,
    batch: int,
    device: str | torch.device | None,
    layer: nn.Module | None = None,
    needs_masks: bool = True,
) -> tuple[ExplainedNetwork, Split]:
    """Return the network on the device, and the questions there, with the masks that there are."""
    require_batch(batch)
    require_fitting(model, data.variant.classes, data.variant.queries)
    network = ExplainedNetwork(model, data.variant.classes, layer, data.variant.asks)
    place = torch.device(device) if device is not None else network.device
    network.network.to(place)
    questions = data.load(place)
    if needs_masks and not questions.has_masks:
        raise ValueError(f"{data.folder}: its images have no masks, by which maps and attacks are measured")
    return network, questions


def _in_order_of_images(questions: Split) -> Split:
    """Return the questions in an order in which those about one image follow each other. Means do not depend on it."""
    return select_questions(questions, questions.image.argsort(stable=True))


def _with_images(record: Record, questions: Split) -> Record:
    """Return a record with the image of each question, which counts images and not questions."""
    image = questions.image.cpu().numpy()
    return replace(record, images=image, settings={**record.settings, "images": len(np.unique(image))})


def _all_questions(questions: Split, data: EvaluationData) -> Split:
    """Return a split with all questions about the images of `load_questions`. It shares the pixels."""
    images = np.unique(data.triples.image)
    every = read_triples(data.folder, data.split, "all")
    asked = np.isin(every.image, images)
    columns = {"image": np.searchsorted(images, every.image[asked])}
    columns |= {name: getattr(every, name)[asked] for name in ("slot", "query", "label")}
    tensors: dict[str, Any] = {name: torch.from_numpy(column) for name, column in columns.items()}
    return replace(questions, **tensors, scale=None)


__all__ = ["Saliency", "attack", "saliency", "swap"]
