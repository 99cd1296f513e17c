"""Reading of data sets: a generated one and a task give the same kinds of values."""

import numpy as np
import pytest

from bench.data import sets
from bench.tasks import prepare_task
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import Manifest, MnistRef
from mnistref.variants import VARIANTS
from tests.bench.tasks.real_files import write_cifar, write_pets


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_pets(root / "raw")
    return prepare_task("pets", root, 32)


def test_a_generated_data_set_is_read_as_by_mnistref(mini):
    dataset, questions = MnistRef(mini, "test", "all"), sets.read_triples(mini, "test", "all")
    assert isinstance(sets.read_manifest(mini), Manifest)
    assert sets.is_generated(mini)
    assert sets.has_masks(mini)
    for own, expected in zip(questions, dataset.triples, strict=True):
        np.testing.assert_array_equal(own, expected)
    np.testing.assert_array_equal(sets.read_scales(mini, "test", questions), dataset.scale)
    np.testing.assert_array_equal(sets.read_ink(mini, "test")[3], dataset.read_image(3)[1])
    request = sets.describe_request(dataset.manifest)
    assert sets.variant_of_record(request, "mini") == VARIANTS["mini"]
    assert sets.variant_of_record(None, "mbg") is VARIANTS["mbg"]


@pytest.mark.parametrize("units", ["one", "all"])
def test_a_task_has_one_question_for_each_image_and_no_scales(pets, units):
    questions = sets.read_triples(pets, "test", units)
    assert questions.image.tolist() == list(range(12))
    assert not questions.query.any()
    assert not questions.slot.any()
    assert questions.label.tolist() == [1, 0] * 6
    assert sets.read_scales(pets, "test", questions) is None
    (images,), ink = sets.map_split(pets, "test"), sets.read_ink(pets, "test")
    assert (images.shape, ink.shape, set(np.unique(ink))) == ((12, 32, 32, 3), (12, 32, 32), {0, 1})
    assert not sets.is_generated(pets)
    assert sets.has_masks(pets)


def test_the_record_of_a_run_describes_its_task(pets):
    manifest = sets.read_manifest(pets)
    found = sets.variant_of_record(sets.describe_request(manifest), "pets")
    assert (found.label_names, found.canvas) == (("Maine Coon", "Beagle"), 32)
    with pytest.raises(UsageProblemError, match="unknown variant 'pets'"):
        sets.variant_of_record(None, "pets")


def test_a_task_without_masks_has_no_ink(tmp_path, monkeypatch):
    write_cifar(tmp_path / "raw", "cifar100", monkeypatch)
    folder = prepare_task("cifar100", tmp_path)
    assert sets.read_ink(folder, "test") is None
    assert not sets.has_masks(folder)
    assert sets.read_manifest(folder).variant.classes == 100
