"""The questions of each training step."""

import torch

from bench.data.grouping import image_sharing, parts_of

IMAGE = torch.tensor([0, 0, 0, 2, 5, 5])
"""Three images with 3, 1 and 2 questions."""
ORDER = torch.tensor([[2, 0], [1, 2]])
"""Two steps of two images each, numbered among the images with questions."""


def test_all_questions_of_the_images_are_in_the_order_of_the_step():
    parts = parts_of(IMAGE, ORDER, slice(0, 2), "all", epoch=0, seed=0)
    assert [part.tolist() for part in parts.questions] == [[4, 5, 0, 1, 2], [3, 4, 5]]
    assert [tuple(rows) for rows in parts.rows] == [(0, 5, 5), (0, 3, 3)]


def test_a_process_has_the_questions_of_its_images():
    parts = parts_of(IMAGE, ORDER, slice(1, 2), "all", epoch=0, seed=0)
    assert [part.tolist() for part in parts.questions] == [[0, 1, 2], [4, 5]]
    assert [tuple(rows) for rows in parts.rows] == [(2, 5, 5), (1, 3, 3)]


def test_drawn_questions_repeat_only_if_an_image_has_fewer():
    parts = parts_of(IMAGE, ORDER, slice(0, 2), 2, epoch=3, seed=0)
    first, second = (part.tolist() for part in parts.questions)
    assert sorted(first[:2]) == [4, 5]
    assert len(set(first[2:])) == 2
    assert set(first[2:]) < {0, 1, 2}
    assert second[:2] == [3, 3]
    assert [tuple(rows) for rows in parts.rows] == [(0, 4, 4), (0, 4, 4)]


def test_three_epochs_with_one_question_draw_each_question_of_an_image_once():
    drawn = [parts_of(IMAGE, ORDER, slice(0, 2), 1, epoch, seed=7).questions[0].tolist()[1] for epoch in range(3)]
    assert sorted(drawn) == [0, 1, 2]


def test_questions_of_a_recipe_share_an_image_unless_one_is_drawn_per_step():
    assert (image_sharing("one"), image_sharing("all"), image_sharing(3)) == (False, True, 3)
