"""Transfer to other images: a linear classifier on the features of a finished run (LTPA §5.3)."""

import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from bench.compute import ComputeConfig
from bench.data.sets import map_split, read_triples
from bench.evaluation.features import compute_features
from bench.runs.data_folder import find_data_folder
from bench.runs.network_loading import find_trained_variant, load_model
from bench.runs.transfer_record import RECORD, TransferredSet
from bench.tasks import is_task, prepare_task, read_task
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.spec import SPLITS

log = logging.getLogger("bench")

FOLDS = 5
C = 1.0
"""Weight of the errors against the margin, as in the paper."""
MAX_ITERATIONS = 20_000
"""Most iterations of the training of a classifier."""


@dataclass(frozen=True)
class Transfer:
    """The result of `transfer_run`.

    Attributes:
        dataset: folder name of the prepared images.
        images: number of images.
        classes: number of classes.
        features: D, the width of the features.
        accuracies: accuracy on each fold by a classifier that was trained on the others, 0 … 1.
    """

    dataset: str
    images: int
    classes: int
    features: int
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy over the folds."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float:
        """Standard deviation of the accuracy over the folds."""
        return float(np.std(self.accuracies, ddof=1))


def transfer_run(
    run: Path, task: str, root: Path, computing: ComputeConfig, batch: int = 100, canvas: int | None = None
) -> Transfer:
    """Train a linear support vector machine on the features of all images of a task, with 5 folds.

    The features are the input of the network's last linear layer. The network is not trained any further. Each class is
    divided evenly among the folds, by a fixed seed. Writes the record into the folder of the run, see
    `bench.runs.transfer_record`. Logs a warning if the images are those of the run's data set, in whatever size, and if
    a classifier does not converge.

    Args:
        run: folder of a finished run on images without a question.
        task: folder:DIR, or another task, see `bench.tasks.resolve_task`.
        root: folder of all data.
        computing: the device.
        batch: images per pass.
        canvas: side of the images in pixels; by default that of the images of the run.

    Raises:
        UsageProblemError: scikit-learn is missing, the network needs a question, or there is no such run or task.
        DataProblemError: the run is not finished, or a file is damaged; or a class has fewer images than folds.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.model_selection import StratifiedKFold
        from sklearn.svm import LinearSVC
    except ImportError as error:
        raise UsageProblemError("bench transfer needs scikit-learn: pip install scikit-learn") from error
    config, model = load_model(run)
    trained = find_trained_variant(run)
    if trained.asks:
        raise UsageProblemError(f"{run}: {trained.name} has questions, and other images have none; give another run")
    folder = prepare_task(task, root, trained.canvas if canvas is None else canvas)
    if folder.name == config.dataset or _has_images_of(folder, find_data_folder(run, config.dataset, root)):
        log.warning("%s: the data set of the run has these images; this is no transfer to other images", folder.name)
    images, labels = _read_all(folder)
    if (fewest := int(np.bincount(labels).min())) < FOLDS:
        raise DataProblemError(f"{folder}: a class has {fewest} different images, and each of {FOLDS} folds needs one")
    with computing.backend_flags():
        try:
            features = compute_features(model.to(computing.device), _batches(images, batch, computing.device)).numpy()
        except ValueError as error:
            raise DataProblemError(f"{run}: {error}") from error
    right, fold = np.zeros(len(labels), bool), np.zeros(len(labels), np.int64)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(features, labels)
    for k, (train, test) in enumerate(folds):
        machine = LinearSVC(C=C, random_state=0, max_iter=MAX_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it does not name the fold
            machine.fit(features[train], labels[train])
        if np.max(machine.n_iter_) >= MAX_ITERATIONS:
            log.warning("the classifier of fold %d did not converge in %d iterations", k + 1, MAX_ITERATIONS)
        right[test], fold[test] = machine.predict(features[test]) == labels[test], k
    transferred = TransferredSet(
        dataset=folder.name,
        images=len(labels),
        classes=int(labels.max()) + 1,
        features=features.shape[1],
        folds=FOLDS,
    )
    accuracies = RECORD.write(run, transferred, right, fold).fold_accuracies(transferred)
    return Transfer(folder.name, len(labels), transferred["classes"], features.shape[1], tuple(accuracies))


def _has_images_of(folder: Path, other: Path | None) -> bool:
    """Return whether two prepared tasks have the same source and may differ in size only; False if one is missing."""
    if other is None or not is_task(other):
        return False
    first, second = read_task(folder).content, read_task(other).content
    sources = [content["preparation"].get("source") or content["task"] for content in (first, second)]
    return sources[0] == sources[1]


def _read_all(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the images and labels of all splits of a prepared task."""
    images = np.concatenate([part for split in SPLITS for part in map_split(folder, split)])
    return images, np.concatenate([read_triples(folder, split, "one").label for split in SPLITS])


def _batches(images: np.ndarray, size: int, device: torch.device) -> Iterator[Tensor]:
    """Yield images u1 (N, H, W, 3) as f4 (B, 3, H, W) in 0 … 1, channels last."""
    with tqdm(total=len(images), unit=" images", desc="features", disable=None) as bar:
        for first in range(0, len(images), size):
            part = torch.from_numpy(images[first : first + size]).to(device)
            yield part.permute(0, 3, 1, 2).float().div_(255)
            bar.update(len(part))
