"""A linear classifier on the features of a run."""

import numpy as np
import pytest
import torch

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment
from bench.runs import transfer_run as module
from bench.runs.transfer_record import RECORD
from bench.runs.transfer_run import FOLDS, transfer_run
from bench.tasks import prepare_task
from mnistref.common.errors import DataProblemError, UsageProblemError
from tests.bench.runs.helpers import configured
from tests.bench.tasks.conftest import write_photos

CPU = ComputeConfig(torch.device("cpu"))
SHORT = Recipe("fast", "adam", lr=0.003, batch=8, epochs=1, schedule="onecycle")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    data = prepare_task(f"folder:{write_photos(root / 'photos')}", root, 32)
    return experiment.run(configured(data, "none", SHORT), data, root / "runs")


def test_classes_that_differ_in_colour_are_separated_and_the_width_is_told(run, tmp_path):
    photos = write_photos(tmp_path / "Others", seed=5)
    found = transfer_run(run, f"folder:{photos}", tmp_path, CPU, batch=10)
    assert (found.images, found.classes, found.features, len(found.accuracies)) == (33, 3, 32, FOLDS)
    assert found.dataset.startswith("folder-others-")
    assert found.mean == pytest.approx(np.mean(found.accuracies))
    assert found.mean > 0.8  # chance is 0.36
    record = RECORD.read(run)
    assert tuple(record.fold_accuracies(record.sets[0])) == found.accuracies
    assert record.sets == [{"dataset": found.dataset, "images": 33, "classes": 3, "features": 32, "folds": FOLDS}]
    assert transfer_run(run, f"folder:{photos}", tmp_path, CPU, batch=7) == found
    assert len(RECORD.read(run).sets) == 1


def test_images_of_the_training_are_no_other_images(run, caplog, tmp_path):
    root = run.parent.parent
    transfer_run(run, f"folder:{root / 'photos'}", root, CPU)
    message = "the data set of the run has these images; this is no transfer to other images"
    assert message in caplog.text
    caplog.clear()
    transfer_run(run, f"folder:{root / 'photos'}", root, CPU, canvas=40)
    assert message in caplog.text
    caplog.clear()
    transfer_run(run, f"folder:{write_photos(tmp_path / 'photos', seed=5)}", root, CPU)
    assert "no transfer" not in caplog.text


def test_a_classifier_that_does_not_converge_is_named(run, caplog, tmp_path, monkeypatch, recwarn):
    monkeypatch.setattr(module, "MAX_ITERATIONS", 1)
    transfer_run(run, f"folder:{write_photos(tmp_path / 'photos', seed=5)}", tmp_path, CPU)
    assert "the classifier of fold 5 did not converge in 1 iterations" in caplog.text
    assert not [warning for warning in recwarn if "liblinear" in str(warning.message).lower()]


def test_runs_with_questions_and_small_classes_are_refused(run, mini, tmp_path):
    photos = write_photos(tmp_path / "few")
    for path in list((photos / "beach").rglob("*.*"))[4:]:
        path.unlink()
    with pytest.raises(DataProblemError, match="a class has 4 different images, and each of 5 folds needs one"):
        transfer_run(run, f"folder:{photos}", tmp_path, CPU)
    asked = experiment.run(configured(mini, "none", SHORT), mini, tmp_path / "runs")
    with pytest.raises(UsageProblemError, match="mini has questions, and other images have none"):
        transfer_run(asked, f"folder:{photos}", tmp_path, CPU)
