"""The state of a forward pass."""

from types import SimpleNamespace

import torch
from torch import nn

from bench.attention.base import BlockGate
from bench.attention.pan import QueryScore
from bench.attention.slot import BLOCK, READOUT, Layout, Slot
from bench.attention.stn import SpatialTransformer
from bench.networks.forward_pass import ForwardPass

LAYOUT = Layout((Slot("a", 4, (5, 5), BLOCK), Slot("b", 4, (5, 5), BLOCK), Slot("r", 4, (5, 5), READOUT)), (0, 2))


def begin(gates: dict[str, nn.Module], query_slots: set[int], questions: int = 2) -> ForwardPass:
    network = SimpleNamespace(layout=LAYOUT, queries=3, gates=nn.ModuleDict(gates), query_slots=query_slots)
    query = torch.eye(3)[torch.arange(2 * questions) % 3]
    return ForwardPass(network, torch.rand(2, 3, 10, 10), query, questions)


def test_a_block_repeats_the_identity_when_questions_begin():
    run, x, identity = begin({"1": BlockGate(QueryScore(4, 3))}, {1}), torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5)
    same, other = run.block(0, x, identity)  # an empty slot
    assert same is x
    assert other is identity
    run.keep(0, x)
    branch, other = run.block(1, x, identity)
    assert torch.equal(other, identity.repeat_interleave(2, 0))
    assert branch.shape == (4, 4, 5, 5)
    assert (run.rows, run.image_levels, run.slots) == (None, 1, [2])
    again, other = run.block(1, branch, other)
    assert len(again) == len(other) == 4


def test_slots_without_the_query_keep_one_row_per_image():
    run = begin({"0": BlockGate(QueryScore(4, 0))}, set())
    run.network.queries = 0
    branch, identity = run.block(0, torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5))
    assert len(branch) == len(identity) == 2
    assert run.rows == 2


def test_features_resampled_in_a_branch_move_only_the_map_of_their_slot():
    transformer = SpatialTransformer(4, 3)
    with torch.no_grad():
        transformer.theta.bias.copy_(torch.tensor([1.0, 0.0, 0.5, 0.0, 1.0, 0.0]))
    run = begin({"0": BlockGate(transformer)}, {0})
    run.block(0, torch.randn(2, 4, 5, 5), torch.randn(2, 4, 5, 5))
    assert run.frame is None
    assert run.masks[0].shape == (4, 1, 5, 5)
    assert (run.masks[0][:, :, :, 0] < 1).all()  # the window is on the right
