"""Calls of a module as in a slot: sizes, names of outputs, randomness, and leaks between the images of a batch."""

import pytest
import torch
from torch import nn

from bench.attention import MECHANISMS
from bench.attention.base import Changed, Gate, Reading, Readout, Scored
from bench.attention.mechanism import Mechanism
from bench.config import DEFAULT_WIDTH
from bench.conformance.probe import (
    QUERIES,
    UntestedError,
    adapt_features,
    build_slot,
    describe_leak,
    is_random_in_evaluation,
    make_inputs,
    name_outputs,
    run_module,
    slot_sizes,
)


def of_user(forward) -> Mechanism:
    """Return a mechanism whose class has this function as `forward(self, x, query)`."""

    class Own(nn.Module):
        def __init__(self, channels, query_dim):
            super().__init__()
            self.score = nn.Conv2d(channels, 1, 1)

    Own.forward = forward
    return Mechanism("own", "a class", "own.py", target=Own)


def test_slots_have_the_sizes_of_all_stages_of_all_canvases():
    assert slot_sizes() == sorted(slot_sizes())
    assert {(50, 50), (25, 25), (12, 12), (24, 24), (3, 3)} <= {*slot_sizes()}
    assert {*slot_sizes(last=True)} < {*slot_sizes()}
    assert slot_sizes(canvas=48) == [(3, 3), (6, 6), (12, 12), (24, 24)]


@pytest.mark.parametrize("batch", [1, 11])
def test_inputs_are_fixed_and_queries_one_hot(batch):
    (x, query), (again, _) = make_inputs(5, 7, batch), make_inputs(5, 7, batch)
    assert x.shape == (batch, DEFAULT_WIDTH, 5, 7)
    assert torch.equal(x, again)
    assert (x >= 0).all()
    assert query.argmax(1).tolist() == [k % QUERIES for k in range(batch)]
    assert torch.equal(query.sum(1), torch.ones(batch))


def test_outputs_are_named_by_their_kind():
    a, b = torch.zeros(1), torch.ones(1)
    assert name_outputs(a) == {"the score": a}
    assert name_outputs(Scored(a, b)) == {"features": a, "the score": b}
    assert name_outputs(Changed(a, b)) == {"features": a, "map 0": b}
    assert name_outputs(Changed(a)) == {"features": a}
    assert name_outputs(Reading(a, [b, a])) == {"vectors": a, "map 0": b, "map 1": a}


def test_a_readout_gets_the_features_of_all_slots_and_a_gate_those_of_one():
    x, _ = make_inputs(2, 3)
    assert adapt_features(build_slot(MECHANISMS["pan"]), x) is x
    readout = build_slot(MECHANISMS["ltpa-dp"])
    assert isinstance(readout, Readout)
    assert [f.shape[2:] for f in adapt_features(readout, x)] == [(16, 24), (8, 12), (4, 6), (2, 3)]


def test_a_slot_is_the_same_each_time_and_its_module_has_no_zero_parameter():
    first, again = (build_slot(MECHANISMS["pan"]) for _ in range(2))
    assert isinstance(first, Gate)
    for parameter, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(parameter, other)
    assert all((parameter != 0).all() for parameter in first.attend.parameters())


def test_only_sampled_mechanisms_are_random_in_evaluation():
    assert is_random_in_evaluation(MECHANISMS["arnn-sampled"])
    assert not is_random_in_evaluation(MECHANISMS["arnn"])


def test_the_seed_of_a_call_decides_its_draws():
    module = build_slot(of_user(lambda self, x, query: self.score(x) + torch.randn(len(x), 1, *x.shape[2:])))
    first, again, other = (run_module(module, *make_inputs(3, 4), seed=seed)["features"] for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_leak_is_described_with_the_output_that_leaks():
    assert describe_leak(MECHANISMS["pan"]) == ""
    leak = describe_leak(of_user(lambda self, x, query: self.score(x) - self.score(x).mean()), training=True)
    assert leak.startswith("the score of an image changes by ")
    assert leak.endswith("when another image of the batch changes")


def test_a_leak_through_batch_norm_alone_vanishes_when_it_is_frozen():
    class Normed(nn.Module):
        def __init__(self, channels, query_dim):
            super().__init__()
            self.score, self.norm = nn.Conv2d(channels, 1, 1), nn.BatchNorm2d(1)

        def forward(self, x, query):
            return self.norm(self.score(x))

    mechanism = Mechanism("own", "a class", "own.py", target=Normed)
    assert describe_leak(mechanism, training=True)
    assert describe_leak(mechanism, training=True, freeze_batch_norm=True) == ""


def test_a_number_of_draws_that_depends_on_the_images_cannot_be_tested():
    def forward(self, x, query):
        return self.score(x) + torch.randn(1 + int(x.sum() * 1e4) % 97)[0]

    with pytest.raises(UntestedError, match="the number of random draws depends on the images"):
        describe_leak(of_user(forward))
