"""Two questions about one image: which questions are paired, and how two maps are compared."""

import pytest
import torch

from bench.attribution.explained_network import ExplainedNetwork
from bench.attribution.swap import (
    LARGEST_CHANGE,
    MASSES,
    MOVED,
    RIGHTS,
    SAME_MAP,
    TOTAL_VARIATION,
    compare_maps,
    pair_questions,
    swap,
)
from bench.data.split import Resident
from bench.model import create_model


def split_of(rows: list[tuple[int, int, int, int]]) -> Resident:
    """Return questions (image, slot, query, label) about four images with three digits, one in each pair of rows."""
    ink = torch.zeros(4, 8, 8, dtype=torch.uint8)
    for slot in range(3):
        ink[:, 2 * slot : 2 * slot + 2] = slot + 1
    image, slot, query, label = torch.tensor(rows).T
    pixels = torch.arange(4 * 8 * 8 * 3).remainder(251).to(torch.uint8).view(4, 8, 8, 3)
    return Resident(image=image, slot=slot, query=query, label=label, images=pixels, instance=ink)


EVERYTHING = [(0, 0, 5, 1), (0, 1, 6, 2), (0, 2, 7, 3), (1, 0, 5, 0), (1, 1, 5, 0), (1, 2, 8, 4), (2, 1, 3, 1)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 0, 5, 1), (0, 1, 6, 2)),
        ((0, 2, 7, 3), (0, 0, 5, 1)),  # the first slot follows the last
        ((1, 0, 5, 0), (1, 2, 8, 4)),  # slot 1 has the same query
        ((1, 2, 8, 4), (1, 0, 5, 0)),
    ],
)
def test_the_second_question_is_the_next_one_with_another_query(first, second):
    one, other = pair_questions(split_of([first]), split_of(EVERYTHING[::-1]))
    for split, row in ((one, first), (other, second)):
        assert (int(split.image), int(split.slot), int(split.query), int(split.label)) == row


def test_images_without_another_query_are_left_out():
    one, other = pair_questions(split_of([(2, 1, 3, 1), (0, 1, 6, 2), (3, 0, 1, 1)]), split_of(EVERYTHING))
    assert one.image.tolist() == other.image.tolist() == [0]
    assert other.slot.tolist() == [2]
    assert one.images is other.images
    nothing, _ = pair_questions(split_of([(2, 1, 3, 1)]), split_of(EVERYTHING))
    assert len(nothing) == 0


def test_maps_of_swapped_questions_are_compared_by_value():
    map1, map2 = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    digit1, digit2 = torch.zeros(2, 4, 4).bool(), torch.zeros(2, 4, 4).bool()
    digit1[:, 0], digit2[:, 1] = True, True
    map1[0, 0], map2[0, 0, :2], map2[0, 1, :2] = 0.25, 0.125, 0.375
    map1[1] = map2[1] = 1 / 16
    found = {name: values.tolist() for name, values in compare_maps(map1, map2, digit1, digit2).items()}
    assert [found[name] for name in MASSES] == [[1.0, 0.25], [0.0, 0.25], [0.25, 0.25], [0.75, 0.25]]
    assert found[MOVED] == [0.75, 0.0]
    assert found[TOTAL_VARIATION] == [0.75, 0.0]
    assert found[LARGEST_CHANGE] == [1.0, 0.0]
    assert found["area_digit1"] == found["area_digit2"] == [0.25, 0.25]


def test_a_network_that_looks_where_it_is_asked_moves_its_whole_map():
    """Query k asks for the rows of digit k. The answer is the number of the query, and the labels are 0."""

    def looks(images, query):
        scores = torch.zeros(len(images), 8, 8)
        for k, slot in enumerate(query.tolist()):
            scores[k, 2 * slot : 2 * slot + 2] = 1
        return torch.eye(3)[query], scores

    one, other = pair_questions(split_of([(0, 0, 0, 0), (1, 1, 1, 0)]), split_of([(0, 1, 1, 0), (1, 2, 2, 0)]))
    found = swap(ExplainedNetwork(looks, 3), one, other, batch=1)
    assert found is not None
    values = {name: [round(v, 5) for v in measure.tolist()] for name, measure in found.measures.items()}
    assert [values[name] for name in (*MASSES, MOVED)] == [[1, 1], [0, 0], [0, 0], [1, 1], [1, 1]]
    assert values[TOTAL_VARIATION] == values[LARGEST_CHANGE] == [1, 1]
    assert [found.right[name].tolist() for name in RIGHTS] == [[1, 0], [0, 0]]


@pytest.mark.parametrize(
    ("attn", "follows"),
    [("san", True), ("ltpa-dp", True), ("ltpa-pc", False), ("ltpa-pc:linear=false", True), ("coord", False)],
)
def test_maps_of_mechanisms_depend_on_the_question_or_not(attn, follows):
    torch.manual_seed(0)
    model = create_model(attn, classes=5, queries=10, size=(48, 48))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    one, other = pair_questions(split_of([(0, 0, 5, 1), (1, 0, 5, 0)]), split_of(EVERYTHING))
    big = [
        Resident(
            image=s.image,
            slot=s.slot,
            query=s.query,
            label=s.label,
            images=s.images.repeat_interleave(6, 1).repeat_interleave(6, 2),
            instance=s.instance.repeat_interleave(6, 1).repeat_interleave(6, 2),
        )
        for s in (one, other)
    ]
    found = swap(ExplainedNetwork(model, 5), *big)
    assert found is not None
    assert bool((found.measures[LARGEST_CHANGE] >= SAME_MAP).all()) == follows
    assert bool((found.measures[LARGEST_CHANGE] < SAME_MAP).all()) != follows


def test_a_score_that_the_question_shifts_everywhere_alike_gives_one_map():
    """The identity behind `ltpa-pc`: softmax of ⟨u, l + g⟩ does not depend on g."""
    local, u = torch.randn(2, 6, 8, 8), torch.randn(6)

    def linear(images, query):
        g = 3 * torch.sin(query[:, None] * torch.arange(1, 7))
        score = torch.einsum("c,bchw->bhw", u, local[: len(images)] + g[:, :, None, None])
        return torch.zeros(len(images), 2), score.flatten(1).softmax(1).view_as(score)

    one, other = pair_questions(split_of([(0, 0, 5, 1), (1, 0, 5, 0)]), split_of(EVERYTHING))
    found = swap(ExplainedNetwork(linear, 2), one, other)
    assert found is not None
    assert (found.measures[LARGEST_CHANGE] < 1e-5).all()


def test_a_random_mechanism_draws_the_same_samples_for_both_questions():
    def noise(images, query):
        return torch.zeros(len(images), 2), torch.rand(len(images), 8, 8)

    one, other = pair_questions(split_of([(0, 0, 5, 1), (1, 0, 5, 0)]), split_of(EVERYTHING))
    found = swap(ExplainedNetwork(noise, 2), one, other)
    assert found is not None
    assert found.measures[LARGEST_CHANGE].tolist() == [0, 0]


def test_swapping_the_questions_of_a_network_without_a_map_gives_none():
    one, other = pair_questions(split_of([(0, 0, 5, 1)]), split_of(EVERYTHING))
    assert swap(ExplainedNetwork(lambda images, query: torch.zeros(len(images), 2), 2), one, other) is None
