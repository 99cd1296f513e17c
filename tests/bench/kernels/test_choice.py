"""Which implementation runs: by device and dtype, by name, and when the compiled one does not work."""

import sys
import warnings

import pytest
import torch

from bench.kernels import diagonal_lstm as package
from bench.kernels.diagonal_lstm import (
    ELSEWHERE,
    IMPLEMENTATIONS,
    VARIABLE,
    choose,
    compiled_works,
    diagonal_lstm,
    triton_imports,
)
from tests.bench.kernels.test_diagonal_lstm import ON_CPU, arguments


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    compiled_works.cache_clear()
    yield
    compiled_works.cache_clear()


def test_by_device_and_dtype():
    pytest.importorskip("numba")
    assert choose("cpu", torch.float32) == "cpu"
    assert choose("cpu", torch.float64) == "cpu"
    assert choose("cpu", torch.bfloat16) == ELSEWHERE
    assert choose("mps", torch.float32) == ELSEWHERE
    assert choose("cuda", torch.float32) == "triton"
    assert choose("cuda", torch.float64) == ELSEWHERE


@pytest.mark.parametrize("name", ON_CPU)
def test_by_name(name, monkeypatch):
    pytest.importorskip("numba")
    assert compiled_works(torch.float64)
    calls = []
    monkeypatch.setitem(IMPLEMENTATIONS, name, lambda *a: calls.append(name) or a[0])
    diagonal_lstm(*arguments(2, 2), name)
    monkeypatch.setenv(VARIABLE, name)
    diagonal_lstm(*arguments(2, 2))
    other = next(n for n in ON_CPU if n != name)
    diagonal_lstm(*arguments(2, 2), other)  # the argument goes first
    assert calls == [name, name]
    monkeypatch.setenv(VARIABLE, "")
    assert choose("cpu", torch.float64) == "cpu"


def test_a_wrong_name_lists_the_right_ones(monkeypatch):
    with pytest.raises(ValueError, match=r"'fastest'.*cpu, packed, reference, triton"):
        diagonal_lstm(*arguments(2, 2), "fastest")
    monkeypatch.setenv(VARIABLE, "fastest")
    with pytest.raises(ValueError, match=r"'fastest'.*cpu, packed, reference, triton"):
        diagonal_lstm(*arguments(2, 2))


def test_what_the_compiled_one_does_not_take():
    with pytest.raises(ValueError, match=r"fp32 and fp64 on the CPU, not torch.bfloat16 on cpu"):
        diagonal_lstm(*arguments(2, 2, dtype=torch.bfloat16), "cpu")
    assert diagonal_lstm(*arguments(2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def taken_over(message):
    inputs = arguments(2, 3)
    expected = diagonal_lstm(*inputs, ELSEWHERE)
    with pytest.warns(RuntimeWarning, match=message):
        assert torch.equal(diagonal_lstm(*inputs), expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no second warning
        assert torch.equal(diagonal_lstm(*inputs), expected)
        assert torch.equal(diagonal_lstm(*inputs, "cpu"), expected)


def test_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in [n for n in sys.modules if n.startswith(("bench.kernels.diagonal_lstm.", "bench.kernels.vec"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("cpu", "raster"):
        monkeypatch.delattr(package, name, raising=False)
    taken_over("ImportError|ModuleNotFoundError")


def test_without_triton(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in ("gpu", "wavefront"):
        monkeypatch.delitem(sys.modules, f"bench.kernels.diagonal_lstm.{name}", raising=False)
        monkeypatch.delattr(package, name, raising=False)
    triton_imports.cache_clear()
    inputs = arguments(2, 3, dtype=torch.float32)
    with pytest.warns(RuntimeWarning, match="Triton diagonal LSTM does not work here .ModuleNotFoundError"):
        out = diagonal_lstm(*inputs, "triton")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(diagonal_lstm(*inputs, "triton"), out)
    assert torch.equal(out, diagonal_lstm(*inputs, ELSEWHERE))
    triton_imports.cache_clear()


def test_a_wrong_result_is_found(monkeypatch):
    right = IMPLEMENTATIONS["packed"]
    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", lambda *a: right(*a) * (1 + 1e-4))
    taken_over("its error is 2.0e-04")


def test_a_wrong_gradient_is_found(monkeypatch):
    right = IMPLEMENTATIONS["packed"]
    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", lambda *a: right(a[0].detach(), *a[1:]) + 0 * a[0].sum())
    taken_over("its error is")


def test_a_crash_is_found(monkeypatch):
    def broken(*arguments):
        raise RuntimeError("no such instruction")

    monkeypatch.setitem(IMPLEMENTATIONS, "cpu", broken)
    taken_over("RuntimeError: no such instruction")


def test_the_self_test_stands_aside_of_modes():
    pytest.importorskip("numba")
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert compiled_works(torch.float32)
