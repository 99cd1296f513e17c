"""Hard attention compared with its formula."""

import itertools

import torch
from torch.nn import functional as F

from bench.attention.base import Reading
from bench.attention.han import HardReadout
from bench.model import Head
from tests.bench.attention.helpers import inputs


def test_hard_attention_sums_over_every_position():
    torch.manual_seed(0)
    readout, head = HardReadout(5, 4).double().eval(), Head(5, 3, 0, 0.5).double().eval()
    x, query = inputs(3, 4)
    reading = readout([x], query)
    probabilities = head(reading, query).exp()
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3, dtype=torch.float64))
    weight = readout.score(x, query).flatten(1).softmax(1)
    expected = torch.zeros(3, 3, dtype=torch.float64)
    for i, j in itertools.product(range(3), range(4)):
        alone = Reading(x[:, :, i, j].unsqueeze(1), [])
        expected += weight[:, i * 4 + j, None] * head(alone, query).softmax(dim=1)
    torch.testing.assert_close(probabilities, expected)


def test_hard_attention_is_finite_when_one_position_has_all_weight():
    """A logarithm of zero is avoided if one position has all the weight."""
    torch.manual_seed(0)
    readout, head = HardReadout(5, 4), Head(5, 3, 0, 0.0)
    with torch.no_grad():
        readout.score.score.weight *= 1e4
    x, query = (t.float() for t in inputs(4, 4))
    loss = F.cross_entropy(head(readout([x], query), query), torch.tensor([0, 1, 2]))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in readout.parameters())
