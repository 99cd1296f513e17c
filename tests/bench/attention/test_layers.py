"""Layers that mechanisms share."""

from bench.attention.layers import QueryEmbedding


def test_query_embedding_has_no_bias():
    assert [name for name, _ in QueryEmbedding(4, 6).named_parameters()] == ["linear.weight"]
