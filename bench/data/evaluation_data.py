"""The questions that a model is tested with in Python: of a data set object, a folder, a variant or a task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from bench.data import sets
from bench.data.loading import load_questions, load_split
from bench.data.split import Split
from bench.tasks import is_task_name, prepare_task
from bench.tasks.store import is_task
from mnistref import api
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef, Triples
from mnistref.spec import VariantSpec

DataSource = MnistRef | Subset[Any] | str | Path
"""What names the questions of a test, see `open_data`."""
ROOT = Path("data_cache")
"""Folder of data sets and tasks that are generated or prepared."""


@dataclass(frozen=True)
class EvaluationData:
    """The questions of a split.

    Attributes:
        folder: folder of the data set.
        split: name of the split.
        variant: its variant or task.
        triples: the T questions.
        scale: scale of each queried digit, f4 (T,); None for a task.
        dataset: the data set object; None for a task.
    """

    folder: Path
    split: str
    variant: VariantSpec
    triples: Triples
    scale: np.ndarray | None = None
    dataset: MnistRef | None = None

    def __len__(self) -> int:
        return len(self.triples.label)

    def load(self, device: torch.device) -> Split:
        """Return the questions for a device, with the masks and scales that there are."""
        if self.dataset is None:
            return load_split(self.folder, self.split, "one", device, masks=True)
        return load_questions(self.dataset, device)


def find_data_set(dataset: str | Path, root: Path, canvas: int | None = None) -> Path:
    """Return the folder of a data set. A variant is generated, and a task is prepared, if it does not exist.

    Args:
        dataset: the folder of a data set or of a prepared task; the name of a variant, see `mnistref.load`; or the name
            of a task or `folder:DIR`.
        root: folder of all data.
        canvas: side of the images of a named task in pixels; by default that of the task.

    Raises:
        UsageProblemError: there is no such data set, or `canvas` is given and it is not the name of a task.
        DataProblemError: a source cannot be fetched, or is damaged.
    """
    if isinstance(dataset, str) and is_task_name(dataset):
        return prepare_task(dataset, root, canvas)
    if canvas is not None:
        raise UsageProblemError(f"--canvas {canvas}: {dataset} is not the name of a task, so its images have a size")
    folder = Path(dataset)
    return folder if is_task(folder) else api.find_data_set(dataset, root)


def open_data(dataset: DataSource, split: str, queries: str) -> EvaluationData:
    """Return the questions of a data set.

    Args:
        dataset: a data set, or a slice or `torch.utils.data.Subset` of one; the folder of a data set or of a prepared
            task; the name of a variant, see `mnistref.load`; or the name of a task or `folder:DIR`, which is prepared
            in `ROOT`.
        split: split of a folder.
        queries: questions of a folder, see `MnistRef`.

    Raises:
        ValueError: the data set has no questions or has transforms.
        UsageProblemError: there is no such data set or split.
        DataProblemError: a file is missing or damaged.
    """
    if isinstance(dataset, Subset):
        if not isinstance(dataset.dataset, MnistRef):
            raise ValueError(f"a subset of {type(dataset.dataset).__name__}: pass one of an MnistRef")
        dataset = dataset.dataset.select(dataset.indices)
    if isinstance(dataset, MnistRef):
        data = dataset
    else:
        folder = find_data_set(dataset, ROOT)
        if is_task(folder):
            manifest = sets.read_manifest(folder)
            manifest.require_split(split)
            return EvaluationData(folder, split, manifest.variant, sets.read_triples(folder, split, queries))
        data = MnistRef(folder, split, queries)
    if not len(data):
        raise ValueError("the data set has no questions: pass a slice with one or more")
    if data.transforms or data.transform or data.target_transform:
        raise ValueError("the data set has transforms, which a test does not apply: transform the images in the model")
    return EvaluationData(data.folder, data.split, data.variant, data.triples, scale=data.scale, dataset=data)
