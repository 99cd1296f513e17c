"""The self-test of an implementation: wrong results and gradients, NaN, and crashes."""

import pytest
import torch

from bench.kernels.diagonal_lstm import (
    IMPLEMENTATIONS,
    compiled_works,
)
from tests.bench.kernels.diagonal_lstm.cases import taken_over

pytestmark = pytest.mark.usefixtures("fresh_self_tests")


def test_self_test_detects_a_wrong_result(monkeypatch):
    right = IMPLEMENTATIONS["packed"]
    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", lambda *a: right(*a) * (1 + 1e-4))
    taken_over("its error is 2.0e-04")


def test_self_test_detects_a_wrong_gradient(monkeypatch):
    right = IMPLEMENTATIONS["packed"]
    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", lambda *a: right(a[0].detach(), *a[1:]) + 0 * a[0].sum())
    taken_over("its error is")


def test_self_test_detects_a_nan_gradient(monkeypatch):
    """The gradient of the readout is NaN, which is not the first gradient that is compared."""
    right = IMPLEMENTATIONS["packed"]
    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", lambda *a: right(*a[:4], NaN.apply(a[4])))
    taken_over("its error is nan")


class NaN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad * torch.nan


def test_self_test_detects_a_crash(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no such instruction")

    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", broken)
    taken_over("RuntimeError: no such instruction")


def test_the_self_test_is_unaffected_by_modes():
    pytest.importorskip("numba")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert compiled_works(torch.float32)
