"""The choice of the implementation of the diagonal LSTM: by device and dtype, by name, and if one does not work."""

import sys
import warnings

import pytest
import torch

from bench.kernels import diagonal_lstm as package
from bench.kernels.diagonal_lstm import (
    FALLBACK,
    IMPLEMENTATIONS,
    VARIABLE,
    ImplementationError,
    compiled_works,
    diagonal_lstm,
    resolve_implementation,
)
from tests.bench.kernels.diagonal_lstm.cases import ON_CPU, arguments, no_images, taken_over

pytestmark = pytest.mark.usefixtures("fresh_self_tests")


def test_the_implementation_follows_device_and_dtype():
    pytest.importorskip("numba")
    assert resolve_implementation("cpu", torch.float32) == "cpu"
    assert resolve_implementation("cpu", torch.float64) == "cpu"
    assert resolve_implementation("cpu", torch.bfloat16) == FALLBACK
    assert resolve_implementation("mps", torch.float32) == FALLBACK
    assert resolve_implementation("cuda", torch.float32) == "triton"
    assert resolve_implementation("cuda", torch.float64) == FALLBACK


@pytest.mark.parametrize("name", ON_CPU)
def test_an_implementation_is_chosen_by_name(name, monkeypatch):
    pytest.importorskip("numba")
    assert compiled_works(torch.float64)
    calls = []
    monkeypatch.setitem(IMPLEMENTATIONS, name, lambda *a: calls.append(name) or a[0])
    diagonal_lstm(*arguments(2, 2), name)
    monkeypatch.setenv(VARIABLE, name)
    diagonal_lstm(*arguments(2, 2))
    other = next(n for n in ON_CPU if n != name)
    diagonal_lstm(*arguments(2, 2), other)  # the argument overrides the variable
    assert calls == [name, name]
    monkeypatch.setenv(VARIABLE, "")
    assert resolve_implementation("cpu", torch.float64) == "cpu"


def test_unknown_implementation_name_lists_the_known_ones(monkeypatch):
    with pytest.raises(ValueError, match=r"'fastest'.*cpu, packed, reference, triton"):
        diagonal_lstm(*arguments(2, 2), "fastest")
    monkeypatch.setenv(VARIABLE, "fastest")
    with pytest.raises(ValueError, match=r"'fastest'.*cpu, packed, reference, triton"):
        diagonal_lstm(*arguments(2, 2))


def test_inputs_unsupported_by_compiled_code_use_another_implementation():
    with pytest.raises(ValueError, match=r"fp32 and fp64 on the CPU, not torch.bfloat16 on cpu"):
        diagonal_lstm(*arguments(2, 2, dtype=torch.bfloat16), "cpu")
    assert diagonal_lstm(*arguments(2, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_another_diagonal_lstm_runs_without_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in [n for n in sys.modules if n.startswith(("bench.kernels.diagonal_lstm.", "bench.kernels.numba_"))]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("numba_op", "numba_forward", "numba_backward"):
        monkeypatch.delattr(package, name, raising=False)
    taken_over("ImportError|ModuleNotFoundError")


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Make `triton` the choice for fp32 on the CPU, where its interpreter could run."""
    caches = package.triton_import_problem, package.triton_self_test, package.warn_triton_fallback
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(package, "_on_cpu", lambda device, dtype: False)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def without_triton(as_on_a_gpu, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    for name in ("triton_op", "triton_kernels"):
        monkeypatch.delitem(sys.modules, f"bench.kernels.diagonal_lstm.{name}", raising=False)
        monkeypatch.delattr(package, name, raising=False)


def test_another_diagonal_lstm_runs_without_triton(without_triton):
    inputs = arguments(2, 3, dtype=torch.float32)
    with pytest.warns(RuntimeWarning, match="Triton diagonal LSTM does not work here .ModuleNotFoundError"):
        out = diagonal_lstm(*inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(diagonal_lstm(*inputs), out)
    assert torch.equal(out, diagonal_lstm(*inputs, FALLBACK))


def test_requested_triton_runs_or_raises(without_triton, monkeypatch):
    inputs = arguments(2, 3, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the error is enough, so there is no warning
        with pytest.raises(ImplementationError, match=r"^the implementation 'triton': .* here \(ModuleNotFoundError: "):
            diagonal_lstm(*inputs, "triton")
        monkeypatch.setenv(VARIABLE, "triton")
        with pytest.raises(ImplementationError, match=r"^BENCH_DIAGONAL_LSTM=triton: .* does not work here .*'packed'"):
            diagonal_lstm(*inputs)
        assert diagonal_lstm(*inputs, "reference").isfinite().all()  # the argument overrides the variable
        assert diagonal_lstm(*arguments(2, 3)).dtype == torch.float64  # triton does not support it
        assert diagonal_lstm(*no_images(inputs)).shape[1] == 0
