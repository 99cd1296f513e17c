"""The ink of queried digits: stored with the pictures, or read from the data set."""

import numpy as np
import pytest
from PIL import Image

from bench.evaluation.picture_files import IMAGES, TARGETS
from bench.report.targets import find_targets, read_targets
from mnistref.dataset import MnistRef


def test_stored_ink_is_read_if_its_size_fits(tmp_path):
    assert read_targets(tmp_path, 3) is None
    ink = np.zeros((8, 24), np.uint8)
    ink[2:5, 10:13] = 255
    Image.fromarray(ink).save(tmp_path / TARGETS)
    np.testing.assert_array_equal(read_targets(tmp_path, 3), ink > 0)
    assert read_targets(tmp_path, 2) is None


@pytest.fixture
def pictures(mini, tmp_path):
    """Return a folder with the pictures of the test questions 3 and 5."""
    dataset = MnistRef(mini, "test")
    images = np.concatenate([np.asarray(dataset[k]["image"].permute(1, 2, 0)) for k in (3, 5)], axis=1)
    Image.fromarray(images).save(tmp_path / IMAGES)
    return tmp_path


def test_ink_is_found_in_the_data_set_of_the_pictures(pictures, mini):
    dataset = MnistRef(mini, "test")
    found = find_targets(pictures, mini.name, "one", [3, 5], [pictures, mini.parent.parent])
    np.testing.assert_array_equal(found, np.concatenate([np.asarray(dataset[k]["mask"]) for k in (3, 5)], axis=1))


@pytest.mark.parametrize(
    "questions",
    [[3, 6], [3, -1], [3, True], [3, "5"], [3, 10**6], [3]],
    ids=["other", "below", "bool", "text", "end", "one"],
)
def test_questions_of_other_pictures_have_no_ink_in_the_report(questions, pictures, mini):
    assert find_targets(pictures, mini.name, "one", questions, [mini.parent.parent]) is None


def test_ink_of_a_data_set_that_does_not_exist_is_not_found(pictures, mini, tmp_path):
    assert find_targets(pictures, mini.name, "one", [3, 5], [tmp_path]) is None
    assert find_targets(tmp_path / "none", mini.name, "one", [3, 5], [mini.parent.parent]) is None
