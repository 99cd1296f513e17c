"""Preparation: names, validation splits, reuse."""

import numpy as np
import pytest

from bench.tasks import TASKS, prepare_task, resolve_task
from bench.tasks.store import map_array, read_task
from mnistref.common.errors import UsageProblemError
from tests.bench.tasks.conftest import write_photos
from tests.bench.tasks.real_files import write_cifar


def test_a_task_is_prepared_once_and_named_by_its_content(tmp_path, monkeypatch):
    images, labels = write_cifar(tmp_path / "raw", "cifar10", monkeypatch)
    folder = prepare_task("cifar10", tmp_path)
    manifest = read_task(folder)
    assert folder == tmp_path / "datasets" / manifest.folder_name
    assert folder.name == f"cifar10-{manifest.spec_id}"
    np.testing.assert_array_equal(map_array(folder, manifest, "test", "images"), images)
    trained, validated = (map_array(folder, manifest, split, "labels") for split in ("train", "val"))
    assert sorted([*trained, *validated]) == sorted(labels * 2)
    counts = np.bincount(labels, minlength=10) * 2
    np.testing.assert_array_equal(np.bincount(validated, minlength=10), np.minimum(counts, 1))  # a tenth, at least one
    monkeypatch.setattr("bench.tasks.preparation.write_task", None)  # nothing is prepared again
    assert prepare_task("cifar10", tmp_path) == folder


def test_a_folder_is_prepared_again_if_its_images_change(tmp_path):
    photos = write_photos(tmp_path / "Places 3")
    first = prepare_task(f"folder:{photos}", tmp_path, 16)
    assert first.name.startswith("folder-places-3-")
    assert prepare_task(f"folder:{photos}", tmp_path, 16) == first
    assert prepare_task(f"folder:{photos}", tmp_path, 20) != first
    (photos / "beach" / "1.jpg").unlink()
    changed = prepare_task(f"folder:{photos}", tmp_path, 16)
    assert changed != first
    assert {split: read_task(first).images(split) for split in ("train", "val", "test")} == {
        "train": 24,
        "val": 3,
        "test": 6,
    }


def test_unknown_tasks_and_sizes_are_usage_errors(tmp_path):
    with pytest.raises(UsageProblemError, match=r"^unknown task 'cifar': did you mean 'cifar10' or 'cifar100'\?"):
        resolve_task("cifar")
    with pytest.raises(UsageProblemError, match="canvas 8: give 16 to 512 pixels"):
        prepare_task("cifar10", tmp_path, 8)
    assert [resolve_task(name) for name in TASKS] == list(TASKS.values())
