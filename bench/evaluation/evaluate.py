"""Evaluation of a network on a split: validation accuracy, and all metrics of a test."""

import logging
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple, TypeAlias, TypedDict

import torch
from torch import Tensor, nn

from bench.data.split import Batch, Split
from bench.distributed.process_group import SINGLE_PROCESS, SingleProcess
from bench.evaluation import unchecked_metrics as unchecked
from bench.evaluation.columns import (
    ACCURACY,
    COUNTS,
    MAP_SCORES,
    N_TEST,
    POINTING,
    PR_AREA,
    SCALES,
    TOP5,
    TPR,
    UNIFORM,
)
from bench.evaluation.output_checks import require_map_shapes, unanswered, unfit_images
from bench.evaluation.record_keys import ANSWER, IMAGE, RIGHT, RIGHT5, SCALE_BIN
from bench.model import Output

log = logging.getLogger("bench")

BATCH_IMAGES = 200
"""Size of a batch. A run uses at most the batch size of its training, so that evaluation fits into memory, too."""


class DivergedError(Exception):
    """A loss, a gradient, a weight, an answer or a map is not finite."""


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """Inside this context, random attention draws the same samples every time. Generators are restored afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


@torch.inference_mode()
def accuracy(
    model: nn.Module,
    split: Split,
    size: int = BATCH_IMAGES,
    group: SingleProcess = SINGLE_PROCESS,
    phase: str = "validation",
) -> float:
    """Return the share of right answers, 0 … 1. Each process of a group evaluates its rows of each batch.

    Args:
        model: the network.
        split: the questions.
        size: images per batch.
        group: the processes.
        phase: first word of error messages.

    Raises:
        DivergedError: an answer or a map is not finite.
        ValueError: a map has negative values or a wrong shape.
    """
    model.eval()
    found = torch.zeros(4, dtype=torch.long, device=split.device)  # right answers, and the three kinds of `_faults`
    with same_draws(split.device), closing(_answers(model, split, size, group)) as answers:
        for batch, out in answers:
            right = out.logits.argmax(1) == batch.label
            found += torch.stack([right, *_faults(out)]).sum(1)
    right, *faults = group.all_reduce(found).tolist()
    _require_measurable(faults, len(split), phase)
    return float(right) / len(split)


def _faults(out: Output) -> tuple[Tensor, Tensor, Tensor]:
    """Return which images have no answer, a map that is not finite, and a map below zero, bool (B,) each.

    Does not synchronise with the device.

    Raises:
        ValueError: a map has a wrong shape.
    """
    none = unanswered(out.logits)
    if not out.masks:
        return none, torch.zeros_like(none), torch.zeros_like(none)
    require_map_shapes(out.masks, len(none))
    return none, *unfit_images(out.masks)


def _require_measurable(faults: Sequence[float], questions: int, phase: str) -> None:
    """Raise DivergedError if answers or maps are not finite, ValueError if maps are below zero.

    Args:
        faults: number of questions with each of the `_faults`, summed over all processes, so that all of them raise.
        questions: number of questions.
        phase: first word of the message.
    """
    none, odd, below = map(int, faults)
    if none:
        raise DivergedError(f"{phase}: the answers to {none} of {questions} questions are not finite")
    if odd:
        raise DivergedError(f"{phase}: the maps of {odd} of {questions} questions are not finite")
    if below:
        raise ValueError(
            f"{phase}: the maps of {below} of {questions} questions are below zero; let the module return "
            "clamp_min(0), which keeps positive evidence, or abs(), which keeps its size"
        )


class Curve(TypedDict):
    """A precision-recall curve: the precision at each recall."""

    recall: list[float]
    precision: list[float]


Measure: TypeAlias = float | Curve | None
"""A value of result.json. None means that the network has no such measure."""


class TestResult(NamedTuple):
    """The result of a test.

    Attributes:
        measures: metrics by name, as in result.json.
        answers: arrays with one value per question, in the order of the questions: `right`, `right5`
            and `pointing` u1 (T,), 0 or 1; `answer` i2 (T,), the predicted label; `scale_bin` i1 (T,);
            `mask_correctness` and `tpr` f2 (T,). Without attention or masks, these two and `pointing` are missing. With
            several questions about an image, `image` i4 (T,) is its index.
    """

    measures: dict[str, Measure]
    answers: dict[str, Tensor]


CURVE = "pr_curve"
"""The precision-recall curve in the measures."""
TOP = 5
ZERO = "zero"
"""Whether the map of a question is zero everywhere. It is not stored."""
_STORED_TYPES = {
    ANSWER: torch.int16,
    RIGHT: torch.uint8,
    RIGHT5: torch.uint8,
    SCALE_BIN: torch.int8,
    IMAGE: torch.int32,
    POINTING: torch.uint8,
}
"""The types of stored answers. Other metrics of maps are f2."""
_FAULTS = ("unanswered", "odd", "below")


@torch.inference_mode()
def test(
    model: nn.Module,
    split: Split,
    size: int = BATCH_IMAGES,  # noqa: PT028, not a pytest test
    group: SingleProcess = SINGLE_PROCESS,  # noqa: PT028
    on_batch: Callable[[int], object] | None = None,  # noqa: PT028
) -> TestResult:
    """Return accuracy, accuracy and count per scale bin, and the metrics of the maps (None without attention).

    TPR is None if the last slot has no map. Each process of a group evaluates its rows of each batch.

    Args:
        model: the network. Its output is an `Output`.
        split: the questions.
        size: images per batch.
        group: the processes.
        on_batch: called after each batch with the number of its questions.

    Raises:
        DivergedError: an answer or a map is not finite.
        ValueError: a map has negative values or a wrong shape.
    """
    return summarize(measure_questions(model, split, size, group, on_batch), split)


class QuestionValues(NamedTuple):
    """What was measured of each question.

    Attributes:
        every: name → values of all questions, f8 (T,): `answer`, `right`; with masks, the target's share of the image
            and, with attention, the `MAP_SCORES` and `ZERO`, which is 1 if the map is zero everywhere; and, if images
            come without a question and there are more than 5 classes, `RIGHT5`.
        pixels: histogram of the pixels of the maps, see `unchecked_metrics.histogram_of`.
    """

    every: dict[str, Tensor]
    pixels: Tensor


@torch.inference_mode()
def measure_questions(
    model: nn.Module,
    split: Split,
    size: int = BATCH_IMAGES,
    group: SingleProcess = SINGLE_PROCESS,
    on_batch: Callable[[int], object] | None = None,
) -> QuestionValues:
    """Return the answer and the metrics of each question, in the order of the questions, see `test`."""
    model.eval()
    names = (*_FAULTS, ANSWER, RIGHT, RIGHT5, UNIFORM, *MAP_SCORES, ZERO)
    found = torch.zeros(len(names), len(split), dtype=torch.float64, device=split.device)
    rows = dict(zip(names, found, strict=True))
    pixels = torch.zeros(2, unchecked.BINS, dtype=torch.long, device=split.device)
    last_mask, known = True, set[str]()
    with same_draws(split.device), closing(_answers(model, split, size, group)) as answers:
        for batch, out in answers:
            last_mask = out.last_mask
            answer, faults = out.logits.argmax(1), _faults(out)
            measured = dict(zip(_FAULTS, faults, strict=True)) | {ANSWER: answer, RIGHT: answer == batch.label}
            if not split.asks and out.logits.shape[1] > TOP:
                measured[RIGHT5] = unchecked.right_among(out.logits, batch.label, TOP)
            if split.has_masks:
                target = split.masks(batch.indices)
                measured[UNIFORM] = unchecked.area_of(target)
                if out.masks:
                    of_maps, counts = _measured(out, target, faults[1] | faults[2])
                    measured |= of_maps
                    pixels += counts
            known |= measured.keys()
            for name, values in measured.items():
                rows[name][batch.indices] = values.double()
            if on_batch:
                on_batch(len(batch.indices))
    group.all_reduce(found)
    group.all_reduce(pixels)
    _require_measurable(found[: len(_FAULTS)].sum(1).tolist(), len(split), "test")
    every = {name: row for name, row in rows.items() if name in known}
    if not last_mask:
        every.pop(TPR, None)
    return QuestionValues(every, pixels)


def warn_about_zeros(zero: Tensor | None) -> None:
    """Log how many maps are zero everywhere, from one value per question, (T,); None if there are no maps."""
    if zero is not None and (number := int(zero.sum())):
        log.warning("%d of %d maps are zero everywhere, and count as uniform", number, len(zero))


def summarize(values: QuestionValues, split: Split) -> TestResult:
    """Return the measures and the stored answers that follow from the values of every question."""
    every, pixels = values
    return TestResult(_measures(every, split) | _curve(pixels), _stored_answers(every, split))


def _measured(out: Output, target: Tensor, unfit: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Return the metrics of the maps of a batch, (B,) each by name, and the histogram of their pixels.

    Maps of images that are `unfit`, bool (B,), are replaced by ones. `_require_measurable` reports them later.
    """
    size = (target.shape[1], target.shape[2])
    require_map_shapes(out.masks, len(target), size)
    masks = [torch.where(unfit[:, None, None, None], torch.ones_like(mask), mask) for mask in out.masks]
    product = unchecked.attended(masks, size, out.mask_power)
    maps = unchecked.BatchMaps(product, unchecked.attended(masks[-1:], size, out.mask_power), target)
    found = {name: unchecked.MAP_SCORE_OF[name](maps) for name in MAP_SCORES}
    found[ZERO] = unchecked.zero_everywhere(masks, size, product)
    return found, unchecked.histogram_of(product, target)


def _measures(every: dict[str, Tensor], split: Split) -> dict[str, Measure]:
    """Return the metrics of result.json from the values of every question, f8 (T,) each."""
    right = every[RIGHT].bool()
    result: dict[str, Measure] = {ACCURACY: float(right.double().mean()), N_TEST: len(right)}
    if RIGHT5 in every:
        result[TOP5] = float(every[RIGHT5].mean())
    if split.scale is not None:
        per_scale = unchecked.accuracy_per_scale(right, split.scale).values()
        for accuracy_name, count_name, (share, n) in zip(SCALES, COUNTS, per_scale, strict=True):
            result |= {accuracy_name: share, count_name: n}
    for name in (UNIFORM, *MAP_SCORES):
        result[name] = float(every[name].mean()) if name in every else None
    return result


def _curve(pixels: Tensor) -> dict[str, Measure]:
    """Return the precision-recall curve and its area as in result.json, from the histogram of pixels."""
    if not pixels[0].any():  # no attention
        return {PR_AREA: None, CURVE: None}
    recall, precision, area = unchecked.curve_of(pixels)
    curve: Curve = {"recall": recall.tolist(), "precision": [round(value, 6) for value in precision.tolist()]}
    return {PR_AREA: area, CURVE: curve}


def _stored_answers(every: dict[str, Tensor], split: Split) -> dict[str, Tensor]:
    """Return the answers in the narrow dtypes in which they are stored."""
    if split.scale is not None:
        every = {**every, SCALE_BIN: unchecked.scale_bin(split.scale)}
    if split.image_count < len(split):
        every = {**every, IMAGE: split.image}
    return {
        name: every[name].to(_STORED_TYPES.get(name, torch.float16)).cpu()
        for name in (*_STORED_TYPES, *MAP_SCORES)
        if name in every
    }


def _answers(model: nn.Module, split: Split, size: int, group: SingleProcess) -> Generator[tuple[Batch, Output]]:
    """Yield this process's rows of each batch, in order, and the network's output for them."""
    if group.size == 1:
        with closing(split.batches(size)) as batches:
            for batch in batches:
                yield batch, model(*batch.network_inputs)
        return
    parts = list(torch.arange(len(split), device=split.device).split(size))
    if len(parts) > 1 and len(parts[-1]) < group.size:  # collective operations need a row on every process
        parts[-2:] = [torch.cat(parts[-2:])]
    for at in parts:
        own = at[group.rows(len(at))]
        if len(own):
            with group.global_batch(len(at)):
                batch = split.batch(own)
                out = model(batch.images, batch.query)
            yield batch, out
