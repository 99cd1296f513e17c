"""The record of transfers to other images in the folder of a run: `transfer.json` and `transfer.safetensors`.

The arrays of each set of images have one value per image, N of them, in the order of the prepared images: `<set>/right`
u1, whether the classifier of the other folds named the class of the image, and `<set>/fold` u1, the fold of the image.
Every number of a table is derived from them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.record_keys import RIGHT
from bench.runs.question_record import Arrays, Content, StoredRecord, is_flag
from bench.runs.validation import is_text

FORMAT = 1
"""Version of the record. Raise it when a stored number changes its meaning."""
FOLD = "fold"


class TransferredSet(TypedDict):
    """A set of images that the features of a run were tested on.

    Attributes:
        dataset: folder name of the prepared images.
        images: N, number of images.
        classes: number of classes.
        features: D, the width of the features.
        folds: number of folds.
    """

    dataset: str
    images: int
    classes: int
    features: int
    folds: int


@dataclass(frozen=True)
class TransferRecord:
    """What is stored of transfers.

    Attributes:
        sets: the sets of images.
        right: data set → f8 (N,), 1 for images whose class was named.
        fold: data set → i8 (N,), the fold of each image, 0 … folds − 1.
    """

    sets: list[TransferredSet]
    right: Mapping[str, np.ndarray]
    fold: Mapping[str, np.ndarray]

    def fold_accuracies(self, transferred: TransferredSet) -> list[float]:
        """Return the accuracy on each fold, 0 … 1."""
        name = transferred["dataset"]
        right, fold = self.right[name], self.fold[name]
        return [float(right[fold == k].mean()) for k in range(transferred["folds"])]


@dataclass(frozen=True)
class _TransferRecord(StoredRecord[TransferRecord]):
    """The kind of record that `bench transfer` writes."""

    def write(self, run: Path, transferred: TransferredSet, right: np.ndarray, fold: np.ndarray) -> TransferRecord:
        """Write a transfer into the folder of a run, and return the record as it is read again.

        Earlier transfers to other images are kept, and come first.

        Args:
            run: the folder of the run.
            transferred: the set of images.
            right: whether the class of each image was named, (N,).
            fold: the fold of each image, (N,).
        """
        name = transferred["dataset"]
        earlier = self.read(run)
        arrays: dict[str, Tensor] = {}
        sets: list[TransferredSet] = []
        if earlier is not None:
            sets = [one for one in earlier.sets if one["dataset"] != name]
            for one in sets:
                other = one["dataset"]
                arrays |= _as_tensors(other, earlier.right[other], earlier.fold[other])
        arrays |= _as_tensors(name, right, fold)
        self.write_files(run, Content({"format": FORMAT, "sets": [*sets, transferred]}, arrays))
        record = self.read(run)
        assert record is not None
        return record

    def read(self, run: Path) -> TransferRecord | None:
        """Return the record of a run, packed or not; None if there is none.

        Raises:
            DataProblemError: a file is missing or damaged.
        """
        if not (run / self.settings_file).is_file():
            return None
        sets: list[TransferredSet] = list(self.parse_settings(run, {}, {"sets": _are_sets})["sets"])
        arrays: Arrays = {name: tensor.numpy() for name, tensor in self.read_tensors(run).items()}
        known = {f"{one['dataset']}/{name}": one for one in sets for name in (RIGHT, FOLD)}
        wrong = known.keys() ^ arrays.keys()
        wrong |= {name for name in known.keys() & arrays.keys() if not _is_valid(name, arrays[name], known[name])}
        self.require_none(run, sorted(wrong))
        names = [one["dataset"] for one in sets]
        return TransferRecord(
            sets,
            {name: arrays[f"{name}/{RIGHT}"].astype(np.float64) for name in names},
            {name: arrays[f"{name}/{FOLD}"].astype(np.int64) for name in names},
        )


RECORD = _TransferRecord("transfer", FORMAT)
"""The kind of this record."""


def _as_tensors(name: str, right: np.ndarray, fold: np.ndarray) -> dict[str, Tensor]:
    arrays = {RIGHT: right, FOLD: fold}
    return {f"{name}/{key}": torch.from_numpy(values.astype(np.uint8)) for key, values in arrays.items()}


def _is_valid(name: str, values: np.ndarray, transferred: TransferredSet) -> bool:
    if values.shape != (transferred["images"],):
        return False
    if name.endswith(f"/{RIGHT}"):
        return is_flag(values)
    return set(values.tolist()) == set(range(transferred["folds"]))


def _are_sets(value: object) -> bool:
    if not isinstance(value, list) or not value or not all(map(_is_set, value)):
        return False
    return len({one["dataset"] for one in value}) == len(value)


def _is_set(value: object) -> bool:
    if not isinstance(value, dict) or set(value) != set(TransferredSet.__annotations__):
        return False
    numbers = all(type(value[name]) is int and value[name] > 0 for name in ("images", "classes", "features", "folds"))
    return numbers and is_text(value["dataset"]) and "/" not in value["dataset"]
