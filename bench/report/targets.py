"""The ink of the queried digits in the pictures of a run: stored with them, or read from the data set."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bench.evaluation.picture_files import IMAGES, MAX_HEIGHT_PIXELS, TARGETS, read_sheet
from bench.runs.data_folder import list_data_folders
from mnistref.common.errors import ProblemError

log = logging.getLogger("bench")

SPLIT = "test"


def read_targets(folder: Path, n: int) -> np.ndarray | None:
    """Return the stored ink of n pictures side by side, bool (H, n·H); None if there is none."""
    sheet = read_sheet(folder, TARGETS, n, "L", MAX_HEIGHT_PIXELS)
    return None if sheet is None else np.asarray(sheet) >= 128


def find_targets(
    folder: Path, dataset: str, queries: str, questions: Sequence[object], places: Iterable[Path]
) -> np.ndarray | None:
    """Return the ink of the questions of a run that did not store it, from the data set, as `read_targets`.

    Args:
        folder: the folder with the pictures of the run.
        dataset: name of the data set.
        queries: which questions the run answers, see `mnistref.dataset.MnistRef`.
        questions: indices of the questions of the pictures.
        places: folders that may contain datasets/<dataset>.

    Returns:
        The ink; None if the data set does not exist, or if its images are not those of the pictures.
    """
    found = list_data_folders(dataset, places)
    source = next((folder for folder in found if (folder / "dataset.json").is_file()), None)
    sheet = read_sheet(folder, IMAGES, len(questions), "RGB", MAX_HEIGHT_PIXELS)
    if source is None or sheet is None or not all(type(index) is int and index >= 0 for index in questions):
        return None
    from mnistref.dataset import MnistRef  # imports torch

    try:
        split = MnistRef(source, SPLIT, queries)
        samples = [split[index] for index in questions if type(index) is int]
    except (ProblemError, IndexError, OSError) as error:
        log.warning("%s: no outlines of its digits (%s)", source, error)
        return None
    images = np.concatenate([np.asarray(sample["image"].permute(1, 2, 0)) for sample in samples], axis=1)
    if not np.array_equal(images, np.asarray(sheet)):
        return None
    return np.concatenate([np.asarray(sample["mask"]) for sample in samples], axis=1)
