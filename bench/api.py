"""Public Python API: list mechanisms, evaluate a model, score maps."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench import metrics
from bench.attention import known_mechanisms
from bench.attribution.measures import IMAGE_MEASURES
from bench.compute import ComputeConfig
from bench.data.evaluation_data import DataSource, EvaluationData, open_data
from bench.evaluation import unchecked_metrics as unchecked
from bench.evaluation.any_model import AnyModel, Model, as_network, require_fitting
from bench.evaluation.columns import (
    ACCURACY,
    MAP_METRICS,
    MASK_CORRECTNESS,
    POINTING,
    PR_AREA,
    SCALES,
    TOP5,
    TPR,
    UNIFORM,
)
from bench.evaluation.evaluate import (
    BATCH_IMAGES,
    CURVE,
    ZERO,
    DivergedError,
    QuestionValues,
    measure_questions,
    summarize,
    warn_about_zeros,
)
from bench.evaluation.metric_inputs import Maps, convert_maps_and_target
from bench.evaluation.record_keys import ANSWER, RIGHT
from bench.pretrained import read_index


def list_models(pattern: str = "*", *, pretrained: bool = False, variant: str | None = None) -> list[str]:
    """Return the names of mechanisms, for `create_model`, in alphabetical order.

    Args:
        pattern: a pattern such as in a shell, such as "ar*". It is compared with names and aliases.
        pretrained: only networks with trained weights. These may be slot lists, such as "brnn2,arnn".
        variant: only networks with trained weights for this variant.
    """
    known = known_mechanisms()
    names = {*known}
    if pretrained or variant is not None:
        names = {entry["attn"] for entry in read_index() if variant in (None, entry["variant"])}
    spellings = {name: (name, *(known[name].aliases if name in known else ())) for name in names}
    return sorted(name for name in names if any(fnmatchcase(each, pattern) for each in spellings[name]))


class ShortCurve(dict[str, list[float]]):
    """A precision-recall curve, as in result.json, whose representation is short."""

    def __repr__(self) -> str:
        return f"<{' and '.join(self)} at {len(next(iter(self.values()), []))} points>"


@dataclass(frozen=True)
class Evaluation:
    """The result of a test.

    Attributes:
        measures: measures by name, as in result.json, see `docs/formats.md`. Shares are in 0 … 1. Measures that the
            model's output does not have are None or missing.
        answers: one row per question, in the order of the data set: `image`, `query`, `label`, and `scale` unless of a
            task; of a model with answers `prediction` and `correct`; of a model with maps `mask_correctness`, `tpr` and
            `pointing`; and `mask_correctness_uniform`, which a uniform map scores.
    """

    measures: Mapping[str, Any]
    answers: pd.DataFrame = field(repr=False)

    def __repr__(self) -> str:
        names = (ACCURACY, *MAP_METRICS)
        known = [f"{name}={self.measures[name]:.4f}" for name in names if self.measures.get(name) is not None]
        return f"{type(self).__name__}({', '.join([*known, f'{len(self.answers)} questions'])})"


def evaluate(
    model: Model,
    dataset: DataSource,
    *,
    batch: int = BATCH_IMAGES,
    device: str | torch.device | None = None,
    split: str = "test",
    queries: str = "one",
) -> Evaluation:
    """Test a module or function on a data set, and return the measures of its answers and attention maps.

    The model is called with images f4 (B, 3, H, W) in 0 … 1 and a query i8 (B,), or with images alone if they have no
    question. It returns logits (B, classes), (logits, map), (logits, [maps]), or maps alone. A map is (B, h, w) or
    (B, 1, h, w), at most as large as the images, finite and not negative; several maps are multiplied, and the last one
    gives `tpr`. A network of bench gives the numbers of its result.json, if the batch is that of its test.

    A map that is zero everywhere counts as uniform. A warning has the number of such maps.

    A module is tested in evaluation mode and without gradients, and its mode is restored. A function runs with
    gradients enabled, so that it can compute maps such as Grad-CAM. On CUDA, products are computed without tf32.

    Args:
        model: the module or function.
        dataset: a data set, or a slice or `torch.utils.data.Subset` of one; a folder or the name of a variant, see
            `mnistref.load`; or a task, such as "cifar10" or "folder:DIR", or the folder of a prepared one.
        batch: questions per call, 1 or more.
        device: device of the images; by default that of the module's parameters, or the CPU. A module is moved there.
        split: split of a folder.
        queries: questions of a folder, see `MnistRef`.

    Raises:
        ValueError: the output of the model has a wrong shape, or values that are negative or not finite; the data set
            has transforms or no questions; a network of bench has other numbers of classes or queries; or `batch` is
            below 1.
        UsageProblemError: there is no data set or no such split.
        DataProblemError: a file of the data set is damaged.
    """
    require_batch(batch)
    data = open_data(dataset, split, queries)
    require_fitting(model, data.variant.classes, data.variant.queries)
    network = as_network(model, data.variant.classes, data.variant.asks)
    target = torch.device(device) if device is not None else _device_of(network)
    questions = data.load(target)
    with _evaluation_mode(network), ComputeConfig(target).backend_flags():
        network.to(target)
        try:
            values = measure_questions(network, questions, batch)
        except DivergedError as error:
            raise ValueError(f"{error}; return finite numbers") from error
    has_answers = not isinstance(network, AnyModel) or network.has_answers is not False
    measures: dict[str, Any] = dict(summarize(values, questions).measures)
    warn_about_zeros(values.every.get(ZERO))
    if (curve := measures.get(CURVE)) is not None:
        measures[CURVE] = ShortCurve(curve)
    if not has_answers:
        measures = {name: value for name, value in measures.items() if name not in (ACCURACY, TOP5, *SCALES)}
    return Evaluation(measures, _tabulate(data, values, has_answers))


def require_batch(batch: int) -> None:
    """Raise ValueError unless this is a number of questions per call."""
    if type(batch) is not int or batch < 1:
        raise ValueError(f"batch {batch!r}: pass a whole number, 1 or more")


def _device_of(network: nn.Module) -> torch.device:
    tensors = [*network.parameters(), *network.buffers()]
    return tensors[0].device if tensors else torch.device("cpu")


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Restore the modes of all modules at the end; a test sets the evaluation mode."""
    before = {module: module.training for module in network.modules()}
    try:
        yield
    finally:
        for module, mode in before.items():
            module.training = mode


def _tabulate(data: EvaluationData, values: QuestionValues, has_answers: bool) -> pd.DataFrame:
    every = {name: tensor.cpu().numpy() for name, tensor in values.every.items()}
    columns: dict[str, np.ndarray] = {name: getattr(data.triples, name) for name in ("image", "query", "label")}
    columns |= {} if data.scale is None else {"scale": data.scale}
    if has_answers:
        columns |= {"prediction": every[ANSWER].astype("int64"), "correct": every[RIGHT].astype(bool)}
    columns |= {name: every[name] for name in (MASK_CORRECTNESS, TPR, POINTING, UNIFORM) if name in every}
    return pd.DataFrame(columns).rename_axis("question")


@dataclass(frozen=True)
class MapScores:
    """The measures of attention maps.

    Attributes:
        measures: the mean of each measure, and `pr_area`, the average precision of all pixels. All are in 0 … 1.
        maps: the measures of each image, one row per image.
    """

    measures: Mapping[str, float | None]
    maps: pd.DataFrame = field(repr=False)


def score_maps(maps: Maps, targets: object, *, power: float = 1.0) -> MapScores:
    """Return the measures of attention maps of any origin against masks.

    Args:
        maps: one map, or a list of maps that are multiplied, shallow to deep: (B, 1, h, w) or (B, h, w) each, torch or
            NumPy, of any real type, finite, not negative, at most as large as the masks. `tpr` is that of the last one.
        targets: one mask per image: (B, H, W) or (B, 1, H, W), of booleans, 0 and 1, or 0 and 255; torch or NumPy.
        power: exponent of the product before it is normalised.

    Returns:
        `mask_correctness`, `tpr`, `pointing`, `mask_correctness_uniform`, which a uniform map scores,
        `average_precision`, `rank_accuracy` and `iou_otsu` of each image and as means; and `pr_area`. Without images
        all are None.

    A map that is zero everywhere counts as uniform. A warning has the number of such maps.

    Raises:
        ValueError: shapes or values are not allowed. The message names what to pass.
    """
    checked, target, power = convert_maps_and_target(maps, targets, power)
    columns: dict[str, Tensor] = {
        MASK_CORRECTNESS: metrics.mask_correctness(checked, target, power),
        TPR: metrics.true_positive_ratio(checked, target, power),
        POINTING: metrics.pointing_game(checked, target, power),
        UNIFORM: metrics.mask_area(target),
    }
    size = (target.shape[1], target.shape[2])
    product = metrics.attended(checked, size, power)
    columns |= {name: measure(product, target) for name, measure in IMAGE_MEASURES.items()}
    warn_about_zeros(unchecked.zero_everywhere(checked, size, product))
    table = pd.DataFrame({name: values.detach().double().cpu().numpy() for name, values in columns.items()})
    means: dict[str, float | None] = {name: float(table[name].mean()) if len(table) else None for name in table}
    means[PR_AREA] = None
    if len(table):
        means[PR_AREA] = metrics.precision_recall(metrics.score_histogram(checked, target, power)).area
    return MapScores(means, table.rename_axis("image"))


__all__ = ["Evaluation", "MapScores", "evaluate", "list_models", "score_maps"]
