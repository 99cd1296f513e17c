"""The compiled pooling with ReLU: equal to plain operators to the bit, and cases that use plain operators."""

import pytest
import torch

import bench
from bench.distributed.global_batch import RowRange, global_batch_rows
from bench.kernels import pool
from bench.kernels.pool import pooled_relu

SIZES = [(2, 2), (2, 3), (3, 2), (5, 7), (12, 12), (25, 25), (9, 64)]


def maps(count, channels, height, width, dtype=torch.float32):
    """Return random features, channels last, with many equal numbers."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, channels, height, width, generator=generator).mul(2).round().div(2)
    return x.to(dtype, memory_format=torch.channels_last)


def outcome(pooling, x):
    x = x.clone().requires_grad_()
    out = pooling(x)
    slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad((out * slope).sum(), x)]


def test_compiled_pooling_works_on_this_machine():
    """Otherwise the tests below would compare plain operators with themselves."""
    pytest.importorskip("numba")
    assert pool.compiled_works(torch.float32)
    assert pool.compiled_works(torch.bfloat16)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize(("count", "channels"), [(1, 1), (3, 5), (5, 32)])
def test_compiled_pooling_equals_plain_operators_to_the_bit(count, channels, height, width):
    x = maps(count, channels, height, width)
    assert pool.is_supported(x)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        (found, slope), (wanted, exact) = outcome(pooled_relu, x), outcome(pool.pool_reference, x)
        assert torch.equal(found, wanted)
        assert torch.equal(slope, exact)
        assert found.stride() == wanted.stride() or min(found.shape) == 1


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_pooling_in_bf16_equals_plain_operators_to_the_bit(height, width):
    x = maps(3, 5, height, width, torch.bfloat16)
    assert not pool.is_supported(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert pool.is_supported(x)
        found, wanted = outcome(pooled_relu, x), outcome(pool.pool_reference, x)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype == torch.bfloat16
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_pooling_propagates_nonfinite_values(dtype):
    x = maps(2, 8, 7, 9, dtype)
    generator = torch.Generator().manual_seed(1)
    for value in (torch.nan, torch.inf, -torch.inf, -0.0):
        x[torch.rand(x.shape, generator=generator) < 0.1] = value
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        assert pool.is_supported(x)
        found = outcome(pooled_relu, x)
    for a, b in zip(found, outcome(pool.pool_reference, x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_compiled_pooling_has_second_derivatives(height, width):
    results = []
    for pooling in (pooled_relu, pool.pool_reference):
        x = maps(2, 8, height, width).requires_grad_()
        (first,) = torch.autograd.grad(pooling(x.square() - 1).pow(3).sum(), x, create_graph=True)
        results.append([first, *torch.autograd.grad(first.square().sum(), x)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_pooling_on_other_devices_and_dtypes_uses_plain_operators():
    x = maps(2, 8, 5, 7)
    assert pool.is_supported(x)
    assert not any(map(pool.is_supported, (x.double(), x.bfloat16(), x.contiguous(), x[..., 1:], x[:0], x.to("meta"))))
    with pytest.raises(RuntimeError, match="too small"):
        pooled_relu(x[:, :, :1])
    with global_batch_rows(RowRange(0, 2, 2), lambda x: x, 1, 0):
        assert not pool.is_supported(x)
    seen = []
    torch.func.grad(lambda y: seen.append(pool.is_supported(y)) or pooled_relu(y).sum())(x)
    assert seen == [False]


@pytest.mark.parametrize("attn", ["san", "pan", "stn-m,ltpa-pc"])
def test_step_with_one_question_per_image_equals_plain_operators_to_the_bit(attn, monkeypatch):
    images, query = torch.rand(4, 3, 38, 45).contiguous(memory_format=torch.channels_last), torch.tensor([3, 1, 4, 1])
    results = []
    for takes in (pool.is_supported, lambda _: False):
        monkeypatch.setattr(pool, "is_supported", takes)
        torch.manual_seed(0)
        model = bench.create_model(attn, classes=4, queries=10, size=(38, 45)).to(memory_format=torch.channels_last)
        torch.nn.functional.cross_entropy(model(images, query).logits, query % 4).backward()
        results.append([*(p.grad for p in model.parameters() if p.grad is not None), *model.buffers()])
    assert all(map(torch.equal, *results))


def test_plain_pooling_runs_without_numba(monkeypatch):
    monkeypatch.setattr(pool, "COMPILED", False)
    assert pool._tried(torch.float32) == "numba is not installed"
