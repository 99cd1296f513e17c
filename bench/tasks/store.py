"""Prepared tasks on the disk: `task.json`, and NumPy arrays for each split.

Each split has `<split>-images.npy` u1 (N, H, W, 3), `<split>-labels.npy` i8 (N,), and perhaps `<split>-masks.npy`
u1 (N, H, W), 1 on the object. The name of the folder ends in the digest of the content and of the preparation.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from bench.tasks.task_spec import LabelledImages, TaskSpec
from mnistref.common.atomic_files import check_file, exclusive_atomic_folder, file_sha256, read_text
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean
from mnistref.spec import DISJOINT, MAX_STORED, SPLITS, canonical_json
from mnistref.spec_records import RequestRecord

TASK_FILE = "task.json"
FORMAT_VERSION = 1
"""Version of the folder. Raise it when the arrays or `task.json` change their meaning."""
IMAGES, LABELS, MASKS = KINDS = ("images", "labels", "masks")


class TaskRequest(RequestRecord):
    """How a task is prepared again, as a JSON object in the record of a run.

    Attributes:
        task: name of the task, or folder:DIR, whose folder is not recorded.
        labels: name of each class.
    """

    task: str
    labels: list[str]


class TaskContent(TypedDict):
    """The content of task.json.

    Attributes:
        format_version: `FORMAT_VERSION`.
        task: name of the task.
        preparation: how the images were prepared, see `bench.tasks.preparation.Preparation`.
        labels: name of each class.
        images: split → number of images.
        files: file name → SHA-256.
    """

    format_version: int
    task: str
    preparation: dict[str, object]
    labels: list[str]
    images: dict[str, int]
    files: dict[str, str]


@dataclass(frozen=True)
class TaskSource:
    """The source of the images, in the place of the sources of a generated data set."""

    name: str


@dataclass(frozen=True)
class TaskManifest:
    """A prepared task. It has those attributes of a generated data set's manifest that networks need.

    Attributes:
        content: the content of task.json.
    """

    content: TaskContent

    @cached_property
    def variant(self) -> TaskSpec:
        """The task in the terms of a variant."""
        preparation: Mapping[str, Any] = self.content["preparation"]
        return TaskSpec(
            name=self.content["task"],
            summary="",
            paper="none",
            canvas=preparation["canvas"],
            labels=tuple(self.content["labels"]),
            has_masks=f"{SPLITS[0]}-{MASKS}.npy" in self.content["files"],
        )

    @property
    def spec_id(self) -> str:
        """First 12 hexadecimal digits of the digest of the content and of the preparation."""
        return hashlib.sha256(canonical_json(self.content).encode()).hexdigest()[:12]

    @property
    def folder_name(self) -> str:
        """Name of the folder."""
        return f"{self.variant.name}-{self.spec_id}"

    @property
    def splits(self) -> dict[str, int]:
        """Split → number of images."""
        return self.content["images"]

    @property
    def digits(self) -> TaskSource | None:
        """Nothing: the images are not made of digits."""
        return None

    @property
    def backgrounds(self) -> TaskSource | None:
        """Nothing: the images are not made of photos and digits."""
        return None

    @property
    def request(self) -> TaskRequest:
        """How the task is prepared again. `variant_of_task_request` returns the task of it."""
        return {
            "variant": self.variant.name,
            "seed": 0,
            "sizes": dict(self.splits),
            "digits": None,
            "backgrounds": None,
            "pool": DISJOINT,
            "canvas": self.variant.canvas,
            "task": "folder:DIR" if self.content["preparation"]["source"] else self.variant.name,
            "labels": list(self.variant.labels),
        }

    def images(self, split: str) -> int:
        """Return the number of images of a split."""
        return self.splits[split]

    def require_split(self, split: str) -> None:
        """Raise UsageProblemError with the existing splits unless there is this split."""
        if split not in self.splits:
            raise UsageProblemError(
                f"{self.folder_name} has no {split!r} split: {did_you_mean(split, list(self.splits))}"
            )


def variant_of_task_request(request: Mapping[str, Any]) -> TaskSpec:
    """Return the task of `TaskManifest.request`, whose values are not validated.

    Raises:
        UsageProblemError: a value is missing or wrong.
    """
    name, canvas, labels = request.get("variant"), request.get("canvas"), request.get("labels")
    if not isinstance(name, str) or not isinstance(canvas, int) or not isinstance(labels, list):
        raise UsageProblemError(f"the record of the task {name!r} is damaged")
    if not all(isinstance(label, str) for label in labels):
        raise UsageProblemError(f"the record of the task {name!r} is damaged")
    return TaskSpec(name=name, summary="", paper="none", canvas=canvas, labels=tuple(labels))


def is_task(folder: Path) -> bool:
    """Return whether a folder has a prepared task."""
    return (Path(folder) / TASK_FILE).is_file()


def write_task(
    datasets: Path,
    task: str,
    preparation: dict[str, object],
    labels: tuple[str, ...],
    splits: Mapping[str, LabelledImages],
) -> Path:
    """Write a prepared task, and return its folder. An existing one with the same content is kept.

    Args:
        datasets: folder of all data sets.
        task: name of the task.
        preparation: how the images were prepared.
        labels: name of each class.
        splits: split → images.
    """
    datasets.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{split}-{kind}.npy": array
        for split, images in splits.items()
        for kind, array in zip(KINDS, images, strict=True)
        if array is not None
    }
    content = TaskContent(
        format_version=FORMAT_VERSION,
        task=task,
        preparation=preparation,
        labels=list(labels),
        images={split: len(images.labels) for split, images in splits.items()},
        files={name: _digest(array) for name, array in arrays.items()},
    )
    folder = datasets / TaskManifest(content).folder_name
    if is_task(folder):
        return folder
    with exclusive_atomic_folder(folder) as temporary:
        for name, array in arrays.items():
            np.save(temporary / name, array, allow_pickle=False)
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (temporary / TASK_FILE).write_text(text, encoding="utf-8")
    return folder


def _digest(array: np.ndarray) -> str:
    """Return the SHA-256 of the file that `numpy.save` writes."""
    digest = hashlib.sha256()
    np.lib.format.write_array(_HashedFile(digest), array, allow_pickle=False)
    return digest.hexdigest()


class _HashedFile:
    """A file whose content is only hashed."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def write(self, data: bytes) -> int:
        """Add data to the digest."""
        self._digest.update(data)
        return len(data)


def read_task(folder: Path) -> TaskManifest:
    """Return the manifest of a prepared task.

    Raises:
        DataProblemError: task.json is missing or damaged.
        OSError: the system cannot read the file.
    """
    path = Path(folder) / TASK_FILE
    if wrong := check_file(path):
        raise DataProblemError(f"{path}: {wrong}; prepare the task again")
    try:
        content = json.loads(read_text(path))
        _require_content(content)
    except (ValueError, RecursionError) as error:
        raise DataProblemError(f"{path}: damaged ({error}); delete the folder and prepare the task again") from error
    return TaskManifest(content)


def _require_content(content: object) -> None:
    """Raise ValueError unless parsed JSON has the form of `TaskContent`."""
    if not isinstance(content, dict) or set(content) != set(TaskContent.__annotations__):
        raise ValueError("its entries are not those of a task")
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"format version {content['format_version']}, this program reads {FORMAT_VERSION}")
    preparation, labels, images, files = (content[name] for name in ("preparation", "labels", "images", "files"))
    is_valid = (
        isinstance(content["task"], str)
        and isinstance(preparation, dict)
        and type(preparation.get("canvas")) is int
        and 0 < preparation["canvas"] <= MAX_STORED
        and isinstance(labels, list)
        and all(isinstance(label, str) for label in labels)
        and isinstance(images, dict)
        and set(images) == set(SPLITS)
        and all(type(number) is int for number in images.values())
        and isinstance(files, dict)
        and all(f"{split}-{kind}.npy" in files for split in SPLITS for kind in (IMAGES, LABELS))
    )
    if not is_valid:
        raise ValueError("an entry has a wrong type or value")


@lru_cache(maxsize=64)
def _require_intact_once(path: Path, sha256: str) -> None:
    """Raise DataProblemError unless a file has its digest. Each file is checked once per process."""
    if wrong := check_file(path):
        raise DataProblemError(f"{path}: {wrong}; delete the folder and prepare the task again")
    if file_sha256(path) != sha256:
        raise DataProblemError(f"{path}: damaged (its SHA-256 differs); delete the folder and prepare the task again")


def map_array(folder: Path, manifest: TaskManifest, split: str, kind: str) -> np.ndarray:
    """Map an array of a split into memory. Writes are private to this process.

    Args:
        folder: the folder of the task.
        manifest: its manifest.
        split: train, val or test.
        kind: one of `KINDS`.

    Raises:
        UsageProblemError: there is no such split.
        DataProblemError: the file is missing or damaged.
    """
    manifest.require_split(split)
    name = f"{split}-{kind}.npy"
    path = Path(folder) / name
    _require_intact_once(path, manifest.content["files"][name])
    array: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    side, images = manifest.variant.canvas, manifest.images(split)
    shape = {IMAGES: (images, side, side, 3), LABELS: (images,), MASKS: (images, side, side)}[kind]
    if array.shape != shape or array.dtype != (np.int64 if kind == LABELS else np.uint8):
        raise DataProblemError(f"{path}: {array.dtype} {array.shape}, the format requires {shape}")
    return array
