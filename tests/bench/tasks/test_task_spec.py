"""Divisions by class."""

import numpy as np
import pytest

from bench.tasks.task_spec import TaskSpec, split_by_class


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_each_class_is_divided_by_itself_and_by_the_seed(share):
    labels = np.random.default_rng(0).integers(0, 4, 400)
    first, second = split_by_class(labels, share, 3)
    np.testing.assert_array_equal(np.sort(np.concatenate([first, second])), np.arange(400))
    counts = np.bincount(labels)
    np.testing.assert_array_equal(np.bincount(labels[second]), np.round(share * counts))
    again, other = (split_by_class(labels, share, seed)[1] for seed in (3, 4))
    np.testing.assert_array_equal(again, second)
    assert (other != second).any()


def test_the_division_of_a_class_does_not_depend_on_the_others():
    labels = np.repeat([0, 1], 50)
    alone = split_by_class(labels[:50], 0.2, 0)[1]
    np.testing.assert_array_equal(split_by_class(labels, 0.2, 0)[1][: len(alone)], alone)


def test_a_task_has_no_question():
    task = TaskSpec(name="pets", summary="", paper="none", canvas=96, labels=("cat", "dog"))
    assert (task.classes, task.queries, task.asks, task.label_noun) == (2, 0, False, "class")
    assert task.target_noun == "object"
