"""The sets of torchvision: real pixels in files of its formats, read by its loaders."""

import random
import urllib.error
import urllib.request

import numpy as np
import pytest
from torchvision import datasets

from bench.tasks import TASKS
from bench.tasks.torchvision_sets import load_cifar10, load_cifar100, load_pets, load_stl10, load_svhn
from mnistref.common.errors import DataProblemError
from tests.bench.tasks.real_files import write_cifar, write_pets, write_stl10, write_svhn


@pytest.mark.parametrize(("name", "load", "classes"), [("cifar10", load_cifar10, 10), ("cifar100", load_cifar100, 100)])
def test_cifar_has_the_pixels_labels_and_classes_of_its_files(name, load, classes, tmp_path, monkeypatch):
    images, labels = write_cifar(tmp_path, name, monkeypatch)
    task = load(tmp_path, 32)
    assert task.labels == tuple(f"class {k}" for k in range(classes))
    np.testing.assert_array_equal(task.test.images, images)
    np.testing.assert_array_equal(task.test.labels, labels)
    np.testing.assert_array_equal(task.train.images, np.tile(images, (2, 1, 1, 1)))
    assert (task.test.masks, task.test.labels.dtype, task.test.images.flags.c_contiguous) == (None, np.int64, True)
    assert load(tmp_path, 24).test.images.shape == (20, 24, 24, 3)


def test_svhn_and_stl10_have_the_pixels_of_their_files_and_labels_from_zero(tmp_path, monkeypatch):
    for write, load, side in ((write_svhn, load_svhn, 32), (write_stl10, load_stl10, 96)):
        images, labels = write(tmp_path, monkeypatch)
        task = load(tmp_path, side)
        np.testing.assert_array_equal(task.test.images, images)
        np.testing.assert_array_equal(task.train.labels, labels)
        assert len(task.labels) == 10


def test_pets_are_cropped_with_their_masks(tmp_path):
    images, bodies = write_pets(tmp_path)
    task = load_pets(tmp_path, 32)
    assert task.labels == ("Maine Coon", "Beagle")
    np.testing.assert_array_equal(task.test.labels, np.arange(12) % 2 == 0)
    np.testing.assert_array_equal(task.test.images, [image[16:48] for image in images])  # the centre, not resized
    np.testing.assert_array_equal(task.test.masks, [body[16:48] for body in bodies])


@pytest.mark.parametrize("name", TASKS)
def test_a_set_that_cannot_be_fetched_says_what_to_download_and_where_to_put_it(name, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("no network")

    for module in ("cifar", "svhn", "stl10", "oxford_iiit_pet"):
        for function in ("download_and_extract_archive", "download_url"):
            if hasattr(getattr(datasets, module), function):
                monkeypatch.setattr(getattr(datasets, module), function, refuse)
    with pytest.raises(DataProblemError) as error:
        TASKS[name].load(tmp_path / "raw", 32)
    message = str(error.value)
    assert "could not be fetched (no network); download http" in message
    assert f"put the files in {tmp_path / 'raw'}" in message
    assert "\n" not in message


ARCHIVES = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "svhn": "test_32x32.mat",
    "stl10": "stl10_binary.tar.gz",
    "pets": "oxford-iiit-pet/annotations.tar.gz",
}


@pytest.fixture
def offline(monkeypatch):
    """Let every download fail as it does without internet."""

    def refuse(*arguments, **options):
        raise urllib.error.URLError("no internet")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


@pytest.mark.parametrize("name", TASKS)
def test_a_damaged_file_is_told_from_a_missing_one(name, tmp_path, offline):
    with pytest.raises(DataProblemError) as missing:
        TASKS[name].load(tmp_path, 32)
    assert "checksum" not in str(missing.value)
    path = tmp_path / ARCHIVES[name]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(random.Random(0).randbytes(5000))
    with pytest.raises(DataProblemError) as damaged:
        TASKS[name].load(tmp_path, 32)
    message = str(damaged.value)
    assert message.startswith(f"{path} exists, but its checksum differs; ")
    assert "; download http" in message
    assert f" again, and put the files in {path.parent} as they are" in message
    assert "\n" not in message


def test_a_damaged_file_of_an_unpacked_archive_is_named(tmp_path, monkeypatch, offline):
    write_cifar(tmp_path, "cifar10", monkeypatch)
    with (tmp_path / datasets.CIFAR10.base_folder / "test").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataProblemError, match=r"^[^;]*cifar-10-batches-py/test exists, but its checksum differs; "):
        load_cifar10(tmp_path, 32)
