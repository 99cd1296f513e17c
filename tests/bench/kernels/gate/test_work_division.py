"""Questions grouped by image, and passes over images in pieces."""

import numpy as np
import pytest
import torch

from bench.kernels.gate.work_division import questions_of, run_pass


def test_questions_are_grouped_by_image_in_their_order():
    questions = questions_of(torch.tensor([3, 0, 3, 1, 0]), images=5)
    assert questions.order.tolist() == [1, 4, 3, 0, 2]
    assert questions.starts.tolist() == [0, 2, 3, 3, 5, 5]


def test_a_batch_without_questions_about_an_image_has_empty_groups():
    questions = questions_of(torch.zeros(0, dtype=torch.long), images=2)
    assert questions.order.tolist() == []
    assert questions.starts.tolist() == [0, 0, 0]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("images", [1, 2, 13, 50])
def test_a_pass_visits_every_image_once_with_the_same_arguments(images, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        visited, questions, extra = [], questions_of(torch.arange(images), images), np.zeros(2)

        def work(order, starts, first, last, places, channels, array):
            assert order is questions.order
            assert starts is questions.starts
            assert (places, channels) == (6, 8)
            assert array is extra
            visited.extend(range(first, last))

        run_pass(work, questions, 6, 8, extra)
    finally:
        torch.set_num_threads(before)
    assert sorted(visited) == list(range(images))
