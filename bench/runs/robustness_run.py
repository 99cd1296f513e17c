"""Tests of a finished run on other data sets: load the network, answer their questions, and write the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from bench.compute import ComputeConfig
from bench.data.loading import load_split
from bench.evaluation.columns import MASK_CORRECTNESS, POINTING, UNIFORM
from bench.evaluation.evaluate import DivergedError, measure_questions
from bench.evaluation.record_keys import IMAGE, RIGHT
from bench.model import SlotNetwork
from bench.runs.network_loading import load_model
from bench.runs.other_sets import count_shared_questions, factors_of
from bench.runs.robustness_record import RECORD, RobustnessRecord, TestedSet, read_own_answers
from bench.runs.saliency_run import select_questions
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.dataset import read_manifest

_TYPES = {RIGHT: torch.uint8, POINTING: torch.uint8, MASK_CORRECTNESS: torch.float16, UNIFORM: torch.float16}


@dataclass(frozen=True)
class EvaluationOptions:
    """Which questions of a data set are asked, and how many at a time.

    Attributes:
        split: the split.
        images: number of images; None for all.
        batch: questions per pass.
    """

    split: str = "test"
    images: int | None = None
    batch: int = 200


def measure_robustness(
    run: Path,
    own: Path | None,
    others: Sequence[Path],
    options: EvaluationOptions,
    computing: ComputeConfig,
    output: Path | None = None,
) -> RobustnessRecord:
    """Test the network of a run on other data sets, and write the record. Questions are those of the run's unit.

    Args:
        run: the folder of a finished run.
        own: the folder of its data set; None if it does not exist here. Then no questions count as shared.
        others: the folders of the other data sets.
        options: which of their questions are asked.
        computing: the device.
        output: folder of the record; by default that of the run.

    Raises:
        UsageProblemError: a data set has no such split, other numbers of queries or classes, or images that are too
            small for the network.
        DataProblemError: a file is missing or damaged, or an answer is not finite.
    """
    config, model = load_model(run)
    answers = read_own_answers(run)
    for other in others:
        require_fitting_images(model, other)
    model.to(computing.device)
    tests = []
    for other in others:
        arrays = _test_on(model, config.queries, other, options, computing)
        tested = _describe(other, len(arrays[RIGHT]), options, computing)
        if own is not None and options.split == "test":
            most = min(len(answers[RIGHT]), len(arrays[RIGHT]))
            tested["pairs"] = count_shared_questions(own, other, config.queries, most)
        tests.append((tested, arrays))
    factors: Mapping[str, object] = {**factors_of(read_manifest(own))} if own is not None else {}
    return RECORD.write(run, output or run, config.dataset, factors, tests)


def require_fitting_images(model: nn.Module, folder: Path) -> None:
    """Raise UsageProblemError if the images of a data set are too small for the network."""
    canvas = read_manifest(folder).variant.canvas
    if isinstance(model, SlotNetwork) and canvas < 2**model.halvings:
        raise UsageProblemError(
            f"{folder}: images of {canvas} px; the network halves them {model.halvings} times and needs "
            f"{2**model.halvings} px or more"
        )


def _test_on(
    model: nn.Module, queries: str, folder: Path, options: EvaluationOptions, computing: ComputeConfig
) -> dict[str, Tensor]:
    """Return the arrays of the record for one data set."""
    questions = load_split(folder, options.split, queries, computing.device, masks=True)
    if options.images is not None:
        questions = select_questions(questions, torch.nonzero(questions.image < options.images).squeeze(1))
    bar = tqdm(total=len(questions), unit=" questions", desc=folder.name, disable=None)
    try:
        with computing.backend_flags(), bar:
            every = measure_questions(model, questions, options.batch, on_batch=bar.update).every
    except DivergedError as error:
        raise DataProblemError(f"{folder}: {error}") from error
    except ValueError as error:
        raise UsageProblemError(f"{folder}: the network cannot answer its questions: {error}") from error
    names = [name for name in _TYPES if name in every and (name != UNIFORM or MASK_CORRECTNESS in every)]
    arrays = {name: every[name].to(_TYPES[name]).cpu() for name in names}
    has_shared_images = questions.image_count < len(questions)
    return arrays | ({IMAGE: questions.image.to(torch.int32).cpu()} if has_shared_images else {})


def _describe(folder: Path, questions: int, options: EvaluationOptions, computing: ComputeConfig) -> TestedSet:
    manifest = read_manifest(folder)
    return {
        "dataset": manifest.folder_name,
        "split": options.split,
        "questions": questions,
        "pairs": 0,
        "factors": factors_of(manifest),
        "note": manifest.variant.note,
        "batch": options.batch,
        "device": computing.device_name,
    }
