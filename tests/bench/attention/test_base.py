"""Gates and readouts: their use of a score."""

import torch

from bench.attention.base import Gate, PooledReadout
from tests.bench.attention.helpers import inputs, score_of


def test_a_gate_multiplies_then_normalises_and_a_readout_averages():
    x, query = inputs(4, 3)
    score = score_of("pan")
    gate, a = Gate(score, 5).double(), score(x, query).sigmoid()
    torch.testing.assert_close(gate(x, query).mask, a)
    product = x * a
    mean, variance = product.mean(dim=(0, 2, 3)), product.var(dim=(0, 2, 3), unbiased=False)
    expected = (product - mean[:, None, None]) / (variance[:, None, None] + 0.01).sqrt()
    torch.testing.assert_close(gate(x, query).features, expected)
    reading = PooledReadout(score)([x], query)
    weight = torch.exp(score(x, query))
    weight = weight / weight.sum(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(reading.masks[0], weight)
    torch.testing.assert_close(reading.vectors[:, 0], torch.einsum("bchw,bhw->bc", x, weight[:, 0]))
