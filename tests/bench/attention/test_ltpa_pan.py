"""Progressive attention of LTPA."""

import pytest
import torch
from torch.nn import functional as F

from bench.attention.ltpa_pan import GlobalScore, Tail
from tests.bench.attention.helpers import CHANNELS, inputs, score_of


@pytest.mark.parametrize(("side", "kernel"), [(16, 4), (8, 2)])
def test_the_tail_pools_as_the_authors_program(side, kernel):
    torch.manual_seed(0)
    tail = Tail(CHANNELS).double().eval()
    x, _ = inputs(side, side, channels=CHANNELS)
    expected = F.max_pool2d(x, kernel)
    for convolution, norm, *_ in tail.stages:
        expected = F.max_pool2d(norm(convolution(expected)).relu(), 2)
    assert tuple(expected.shape[2:]) == (1, 1)
    torch.testing.assert_close(tail(x), tail.linear(expected.flatten(1)))
    assert [stage[-1].p for stage in tail.stages] == [0.4, 0.4]
    assert tail.dropout.p == 0.5


@pytest.mark.parametrize("shape", [(1, 1), (3, 9), (50, 7)])
def test_the_tail_takes_maps_of_any_size(shape):
    x, _ = inputs(*shape, channels=CHANNELS)
    assert Tail(CHANNELS).double().eval()(x).shape == (3, CHANNELS)


def test_the_global_feature_shifts_the_score_alike_at_every_position():
    module = score_of("ltpa-pan", channels=CHANNELS).eval()
    x, _ = inputs(6, 5, channels=CHANNELS)
    shift = module(x) - module.score(x)
    torch.testing.assert_close(shift, shift[:, :, :1, :1].expand_as(shift))
    assert shift.abs().max() > 1e-3


def test_the_last_slot_has_no_tail():
    assert isinstance(score_of("ltpa-pan"), GlobalScore)
    assert score_of("ltpa-pan").tail is not None
    assert score_of("ltpa-pan", last=True).tail is None
    assert score_of("ltpa-pan", tail=False).tail is None
