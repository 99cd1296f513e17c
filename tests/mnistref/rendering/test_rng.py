"""Random streams and their distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mnistref.rendering import rng
from mnistref.rendering.rng import Stream, normal_thresholds


def compiled_stream(seed: int, split: int, index: int, purpose: int) -> np.ndarray:
    stream = np.zeros(9, np.uint64)
    rng.start(stream, np.uint64(seed), split, index, purpose)
    return stream


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2), st.integers(0, 2**62), st.integers(1, 8), st.integers(1, 2**40))
def test_compiled_stream_is_numpys_philox(seed, split, index, purpose, n):
    reference, stream = Stream(seed, split, index, purpose), compiled_stream(seed, split, index, purpose)
    thresholds = normal_thresholds(10)
    for _ in range(3):
        assert rng.next_u64(stream) == reference.next_u64()
        assert rng.below(stream, n) == reference.below(n)
        assert rng.normal(stream, thresholds) == reference.normal(thresholds)


def test_streams_of_different_keys_differ():
    keys = [(s, p, i, u) for s in (0, 1) for p in (0, 1, 2) for i in (0, 1, 999) for u in range(1, 9)]
    first = {Stream(*key).next_u64() for key in keys}
    assert len(first) == len(keys)


@pytest.mark.parametrize("n", [2, 5, 17, 71])
def test_bounded_integers_are_uniform(n):
    stream = compiled_stream(7, 0, 3, 1)
    counts = np.bincount([rng.below(stream, n) for _ in range(2000 * n)], minlength=n)
    assert len(counts) == n
    assert stats.chisquare(counts).pvalue > 0.001


def test_normal_thresholds_equal_the_normal_distribution_function():
    thresholds = normal_thresholds(10)
    expected = stats.norm.cdf((np.arange(-80, 80) + 0.5) / 10)
    np.testing.assert_allclose(thresholds.astype(np.float64) / 2.0**64, expected, rtol=1e-9, atol=1e-17)
    assert (np.diff(thresholds.astype(object)) > 0).all()


def test_normal_has_the_declared_law():
    stream, thresholds = compiled_stream(1, 2, 3, 4), normal_thresholds(10)
    drawn = np.array([rng.normal(stream, thresholds) for _ in range(50_000)])
    edges = np.arange(-25, 26, 5)
    expected = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], edges - 0.5, [np.inf]]) / 10))
    observed = np.histogram(drawn, np.concatenate([[-1000], edges - 0.5, [1000]]))[0]
    assert stats.chisquare(observed, expected * len(drawn)).pvalue > 0.001
