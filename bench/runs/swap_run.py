"""Swapped questions on a finished run: load the network, ask each image two questions, and write the record."""

from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from bench.attribution.swap import pair_questions, swap
from bench.compute import ComputeConfig
from bench.data.sets import read_manifest, read_triples
from bench.data.split import Split
from bench.runs.saliency_run import load_explained
from bench.runs.swap_record import RECORD, SwapRecord, swap_content
from mnistref.common.errors import DataProblemError, UsageProblemError


def swap_run(run: Path, data: Path, images: int, batch: int, computing: ComputeConfig) -> SwapRecord:
    """Ask two questions about each of the first test images, and write the record into the folder of the run.

    Args:
        run: the folder of a finished run.
        data: the folder of its data set.
        images: number of test images; all if there are fewer. Images with one question are left out.
        batch: images per pass.
        computing: the device.

    Raises:
        UsageProblemError: the folder is not a run, its network has no map, or no image has two questions or any.
        DataProblemError: the run is not finished, has no weights, or a file is damaged; or it returns no logits.
    """
    variant = read_manifest(data).variant
    if not variant.asks:
        raise UsageProblemError(f"{run}: {variant.name} has no questions, so there is none to swap")
    config, network, questions = load_explained(run, data, images, computing)
    first, second = pair_questions(questions, _all_questions(questions, data))
    if not len(first):
        raise UsageProblemError(f"{data}: no image has two questions; give another data set with --data")
    bar = tqdm(total=len(first), unit=" images", desc="questions", disable=None)
    try:
        with computing.backend_flags(), bar:
            swapped = swap(network, first, second, batch, bar.update)
    except ValueError as error:
        raise DataProblemError(f"{run}: {error}") from error
    if swapped is None:
        raise UsageProblemError(f"{run}: {config.attn} has no map, so it cannot follow the question; give another run")
    return RECORD.write(run, swap_content(data.name, swapped, batch, computing.device_name))


def _all_questions(questions: Split, data: Path) -> Split:
    """Return a split with all questions about the images of a data set's test split. It shares the pixels."""
    image, slot, query, label = map(torch.from_numpy, read_triples(data, "test", "all"))
    return replace(questions, image=image, slot=slot, query=query, label=label, scale=None)
