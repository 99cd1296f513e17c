"""Reading of data sets: those that `mnistref generate` makes, and prepared tasks.

Shapes: N images of H × W pixels, T questions. A task has one question for each image: the query is 0.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.tasks.store import (
    IMAGES,
    LABELS,
    MASKS,
    TaskManifest,
    is_task,
    map_array,
    read_task,
    variant_of_task_request,
)
from mnistref import dataset as generated
from mnistref.dataset import Manifest, Triples
from mnistref.generation.generate import request_of
from mnistref.spec import VariantSpec
from mnistref.spec_records import RequestRecord
from mnistref.variants import variant_of_request

DataSet = Manifest | TaskManifest
"""What a data set is."""


def read_manifest(folder: Path) -> DataSet:
    """Return what a data set is.

    Raises:
        UsageProblemError: there is no data set in this folder.
        DataProblemError: its manifest is damaged.
    """
    return read_task(folder) if is_task(folder) else generated.read_manifest(folder)


def is_generated(folder: Path) -> bool:
    """Return whether a data set was made by `mnistref generate`."""
    return not is_task(folder)


def describe_request(manifest: DataSet) -> RequestRecord:
    """Return how a data set is made again, for the record of a run."""
    return manifest.request if isinstance(manifest, TaskManifest) else request_of(manifest)


def variant_of_record(request: object, name: str) -> VariantSpec:
    """Return the variant or the task that a run was trained on.

    Args:
        request: the value of `describe_request` in the record of the run, not validated.
        name: name of the variant or task in the configuration of the run.

    Raises:
        UsageProblemError: there is no such variant, or the record is damaged.
    """
    known: Mapping[str, Any] = request if isinstance(request, dict) else {}
    find = variant_of_task_request if "task" in known else variant_of_request
    return find({**known, "variant": name})


def map_split(folder: Path, split: str) -> list[np.ndarray]:
    """Map the images of a split into memory: arrays u1 (n, H, W, 3), in order.

    Raises:
        UsageProblemError: there is no data set or no such split.
        DataProblemError: a file is missing or damaged.
    """
    if is_task(folder):
        return [map_array(folder, read_task(folder), split, IMAGES)]
    return generated.map_split(folder, split)


def read_triples(folder: Path, split: str, units: str) -> Triples:
    """Return the questions of a split, see `mnistref.dataset.read_triples`."""
    if not is_task(folder):
        return generated.read_triples(folder, split, units)
    label = np.array(map_array(folder, read_task(folder), split, LABELS))
    nothing = np.zeros_like(label)
    return Triples(np.arange(len(label)), nothing, nothing, label)


def has_masks(folder: Path) -> bool:
    """Return whether the images of a data set have masks. A task may have none."""
    return not is_task(folder) or read_task(folder).variant.has_masks


def read_ink(folder: Path, split: str) -> np.ndarray | None:
    """Return the masks of a split, u1 (N, H, W): k on the ink of the digit in slot k − 1.

    The object of a task is in slot 0. A task without masks gives None.
    """
    if not is_task(folder):
        ink: np.ndarray = generated.read_split(folder, split, "instance")["instance"]
        return ink
    return np.array(map_array(folder, read_task(folder), split, MASKS)) if has_masks(folder) else None


def read_scales(folder: Path, split: str, questions: Triples) -> np.ndarray | None:
    """Return the scale of the queried digit of each question, f4 (T,); None for a task."""
    if is_task(folder):
        return None
    scales = generated.read_split(folder, split, "digit_scale")["digit_scale"]
    asked: np.ndarray = scales[questions.image, questions.slot]
    return asked
