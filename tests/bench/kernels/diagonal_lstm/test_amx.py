"""When the diagonal LSTM multiplies in bf16 by AMX, and its self-test."""

import pytest
import torch

from bench.kernels.diagonal_lstm import amx, amx_op, diagonal_lstm, relative_error
from bench.kernels.diagonal_lstm.implementation_log import record_implementations
from bench.kernels.numba_tiles import DEPTH
from tests.bench.kernels.diagonal_lstm.amx_cases import BOUND, arguments, exact, slope_of


def ran(inputs, name=None, dtype=torch.bfloat16, **kinds):
    """Return the names of the implementations that run under autocast."""
    names: set[str] = set()
    with record_implementations(names), torch.autocast("cpu", dtype, **kinds):
        diagonal_lstm(*inputs[:4], name, inputs[4])
    return names


def singles(inputs):
    return [x.detach().float().requires_grad_() for x in inputs]


def test_amx_runs_under_autocast_to_bf16_only():
    inputs = singles(arguments(3, 4, 2))
    assert ran(inputs) == ran(inputs, "cpu") == {"amx"}
    assert ran(inputs, "packed") == {"packed"}
    assert ran(inputs, enabled=False) == {"cpu"}
    assert ran(inputs, dtype=torch.float16) == {"cpu"}
    assert ran([x.double() for x in inputs]) == {"cpu"}
    assert ran(singles(arguments(3, 4, 2, channels=24))) == {"cpu"}
    assert ran(singles(arguments(3, 4, 2, t=16))) == {"cpu"}


def test_result_under_autocast_is_in_fp32_and_so_are_the_gradients():
    inputs = singles(arguments(3, 4, 5))
    with torch.autocast("cpu", torch.bfloat16):
        out = diagonal_lstm(*inputs[:4], None, inputs[4])
    found = torch.autograd.grad((out * slope_of(out)).sum(), inputs)
    assert {x.dtype for x in (out, *found)} == {torch.float32}
    right, doubled = exact(inputs)
    wanted = torch.autograd.grad((right * slope_of(right)).sum(), doubled)
    for k, pair in enumerate(zip((out, *found), (right, *wanted), strict=True)):
        assert relative_error(*pair) < BOUND, k


@pytest.fixture
def fresh_self_test():
    amx._works_here.cache_clear()
    yield
    amx._works_here.cache_clear()


@pytest.mark.usefixtures("fresh_self_test")
def test_self_test_passes_on_this_machine():
    assert amx.works()


def test_channels_and_units_are_multiples_of_32():
    assert amx.MULTIPLE == DEPTH
    assert amx.supports_sizes(96, 32)
    assert not any(amx.supports_sizes(*sizes) for sizes in ((0, 32), (32, 0), (31, 32), (32, 16), (48, 32)))


@pytest.mark.usefixtures("fresh_self_test")
def test_wrong_results_are_detected_and_computed_in_fp32(monkeypatch):
    right = amx_op.diagonal_lstm
    monkeypatch.setattr(amx_op, "diagonal_lstm", lambda *given: 1.1 * right(*given))
    with pytest.warns(RuntimeWarning, match=r"AMX does not work here \(its error is .*computed in fp32"):
        assert not amx.works()
    assert ran(singles(arguments(3, 4, 2))) == {"cpu"}


@pytest.mark.parametrize("dynamic", [False, True])
def test_amx_compiles_to_one_graph_under_autocast(dynamic):
    inputs = singles(arguments(3, 4, 5))

    def step(*inputs):
        with torch.autocast("cpu", torch.bfloat16):
            return (2 * diagonal_lstm(*inputs[:4], None, inputs[4])).square().sum()

    compiled = torch.compile(step, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    expected = torch.autograd.grad(step(*inputs), inputs)
    assert all(map(torch.equal, torch.autograd.grad(compiled(*inputs), inputs), expected))


def test_without_amx_the_states_are_computed_in_fp32(monkeypatch):
    monkeypatch.setattr(amx, "works", lambda: False)
    assert ran(singles(arguments(3, 4, 2))) == {"cpu"}
