"""Layers that mechanisms share."""

import pytest
import torch
from torch.func import vmap

from bench.attention.layers import QueryEmbedding, one_hot

IMAGES = torch.rand(3, 3, 32, 48, generator=torch.Generator().manual_seed(0))


def test_query_embedding_has_no_bias():
    assert [name for name, _ in QueryEmbedding(4, 6).named_parameters()] == ["linear.weight"]


def test_missing_query_is_detected_inside_transforms():
    hot = vmap(lambda query: one_hot(query[None], 10, IMAGES)[0])(torch.tensor([3, 10, -1]))
    assert torch.equal(hot[0], one_hot(torch.tensor([3]), 10, IMAGES)[0])
    assert hot[1:].isnan().all()
    with pytest.raises(RuntimeError):
        one_hot(torch.tensor([10]), 10, IMAGES)
