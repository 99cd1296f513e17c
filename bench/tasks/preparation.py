"""Preparation of a task: read its source, take the validation split from the training images, and store the arrays."""

import logging
import re
from functools import partial
from pathlib import Path
from typing import TypedDict

from bench.config import MIN_CANVAS
from bench.tasks.image_folder import PREFIX, digest_folder, load_folder, take_images
from bench.tasks.store import is_task, read_task, write_task
from bench.tasks.task_spec import Task, split_by_class
from bench.tasks.torchvision_sets import load_cifar10, load_cifar100, load_pets, load_stl10, load_svhn
from mnistref.common.atomic_files import locked, path_to_text
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean

log = logging.getLogger("bench")

VALIDATION_SHARE = 0.1
"""Share of the training images of each class in the validation split."""
SPLIT_SEED = 0
"""Seed of the draw of validation images, and of the test images of a folder."""
MAX_CANVAS = 512
"""Side of the largest images of a task, in pixels."""
FOLDER_CANVAS = 64
FOLDER_VARIANT = "folder-"
"""Beginning of the variant names of folders of images."""

TASKS = {
    task.name: task
    for task in (
        Task("cifar10", "natural images of 10 classes", 32, load_cifar10),
        Task("cifar100", "natural images of 100 classes", 32, load_cifar100),
        Task("svhn", "photographs of house numbers, 10 digits", 32, load_svhn),
        Task("stl10", "natural images of 10 classes, 5,000 for training", 96, load_stl10),
        Task("pets", "photographs of 37 breeds of cats and dogs, with masks", 96, load_pets),
    )
}
"""The tasks. One entry here adds a task to every command, test and table."""


class Preparation(TypedDict):
    """How the images of a task are prepared.

    Attributes:
        canvas: side of the images in pixels.
        validation_share: see `VALIDATION_SHARE`.
        seed: see `SPLIT_SEED`.
        source: digest of the source, if it is a folder of the user; otherwise "".
    """

    canvas: int
    validation_share: float
    seed: int
    source: str


def is_task_name(text: str) -> bool:
    """Return whether a text is a key of `TASKS` or has the form `folder:DIR`."""
    return text in TASKS or text.startswith(PREFIX)


def resolve_task(text: str) -> Task:
    """Return the task of this name, or that of `folder:DIR`.

    Raises:
        UsageProblemError: there is no such task or folder.
        DataProblemError: the folder has no folders of images.
    """
    if text.startswith(PREFIX):
        folder = Path(text.removeprefix(PREFIX)).absolute()
        stem = re.sub(r"[^a-z0-9_]+", "-", path_to_text(folder.name).lower()).strip("-")
        summary = f"the folders of {folder.name}"
        return Task(
            f"{FOLDER_VARIANT}{stem or 'images'}",
            summary,
            FOLDER_CANVAS,
            lambda raw, side: load_folder(folder, side, SPLIT_SEED),
            partial(digest_folder, folder),
        )
    if text not in TASKS:
        raise UsageProblemError(f"unknown task {text!r}: {did_you_mean(text, list(TASKS))}, or {PREFIX}DIR")
    return TASKS[text]


def prepare_task(text: str, root: Path, canvas: int | None = None) -> Path:
    """Return the folder of a prepared task. Prepare it if it does not exist; downloads go to `raw` below the root.

    Args:
        text: a key of `TASKS`, or folder:DIR.
        root: folder of all data.
        canvas: side of the images in pixels; by default that of the task.

    Raises:
        UsageProblemError: there is no such task or folder, or no image has this side.
        DataProblemError: the source cannot be fetched, or is damaged.
    """
    task = resolve_task(text)
    side = task.canvas if canvas is None else canvas
    if not MIN_CANVAS <= side <= MAX_CANVAS:
        raise UsageProblemError(f"canvas {side}: give {MIN_CANVAS} to {MAX_CANVAS} pixels")
    source = task.load_digest() if task.load_digest else ""
    preparation = Preparation(canvas=side, validation_share=VALIDATION_SHARE, seed=SPLIT_SEED, source=source)
    if found := _find_prepared(root / "datasets", task, preparation):  # before the lock, which must be written
        return found
    (root / ".locks").mkdir(parents=True, exist_ok=True)
    with locked(root / ".locks" / f"{task.name}.lock"):
        if found := _find_prepared(root / "datasets", task, preparation):  # another process has prepared it meanwhile
            return found
        log.info("preparing %s, %d px", task.name, side)
        labels, train, test = task.load(root / "raw", side)
        first, second = split_by_class(train.labels, VALIDATION_SHARE, SPLIT_SEED)
        splits = {"train": take_images(train, first), "val": take_images(train, second), "test": test}
        return write_task(root / "datasets", task.name, {**preparation}, labels, splits)


def _find_prepared(datasets: Path, task: Task, preparation: Preparation) -> Path | None:
    """Return the folder of a task that has been prepared like this."""
    for folder in sorted(datasets.glob(f"{task.name}-*")):
        if not is_task(folder):
            continue
        try:
            manifest = read_task(folder)
        except DataProblemError:
            continue
        content = manifest.content
        if (content["task"], content["preparation"], folder.name) == (task.name, preparation, manifest.folder_name):
            return folder
    return None
