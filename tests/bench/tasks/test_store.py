"""Prepared tasks on the disk: what is read is what was written, and damage is noticed."""

import json

import numpy as np
import pytest

from bench.tasks.store import TASK_FILE, is_task, map_array, read_task, variant_of_task_request, write_task
from bench.tasks.task_spec import LabelledImages
from mnistref.common.errors import DataProblemError, UsageProblemError


def some_images(number: int, seed: int) -> LabelledImages:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (number, 16, 16, 3), dtype=np.uint8)
    return LabelledImages(images, np.arange(number) % 3, (images[..., 0] > 99).astype(np.uint8))


@pytest.fixture
def written(tmp_path):
    splits = {split: some_images(number, number) for split, number in (("train", 6), ("val", 3), ("test", 5))}
    return write_task(tmp_path, "shapes", {"canvas": 16, "source": ""}, ("a", "b", "ç"), splits)


def test_a_task_is_read_as_it_was_written(written, tmp_path):
    manifest = read_task(written)
    assert is_task(written)
    assert (manifest.folder_name, manifest.variant.canvas, manifest.variant.label_names) == (
        written.name,
        16,
        ("a", "b", "ç"),
    )
    assert (manifest.variant.asks, manifest.variant.queries, manifest.variant.trainable) == (False, 0, True)
    for kind, array in zip(("images", "labels", "masks"), some_images(5, 5), strict=True):
        np.testing.assert_array_equal(map_array(written, manifest, "test", kind), array)
    found = variant_of_task_request(json.loads(json.dumps(manifest.request)))
    assert (found.label_names, found.canvas, found.name) == (("a", "b", "ç"), 16, "shapes")
    with pytest.raises(UsageProblemError, match="has no 'tset' split: did you mean 'test'"):
        map_array(written, manifest, "tset", "images")


def test_damaged_files_are_errors_that_name_them(written):
    array = written / "test-images.npy"
    data = bytearray(array.read_bytes())
    data[-1] ^= 1
    array.write_bytes(data)
    with pytest.raises(DataProblemError, match=r"test-images\.npy: damaged \(its SHA-256 differs\)"):
        map_array(written, read_task(written), "test", "images")
    content = json.loads((written / TASK_FILE).read_text(encoding="utf-8"))
    for broken in ("[]", "{", json.dumps({**content, "labels": "abc"}), json.dumps({**content, "format_version": 2})):
        (written / TASK_FILE).write_text(broken, encoding="utf-8")
        with pytest.raises(DataProblemError, match=r"task\.json: damaged"):
            read_task(written)
    with pytest.raises(UsageProblemError, match="the record of the task 'x' is damaged"):
        variant_of_task_request({"variant": "x", "canvas": "16", "labels": []})
