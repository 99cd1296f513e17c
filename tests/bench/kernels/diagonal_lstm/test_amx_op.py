"""The diagonal LSTM in bf16 by AMX, compared with the reference in double precision."""

import pytest
import torch

from bench.kernels import buffer_pool
from bench.kernels.diagonal_lstm import amx_op, relative_error
from bench.kernels.numba_tiles import ROWS
from tests.bench.kernels.diagonal_lstm.amx_cases import BOUND, arguments, exact, outcome, slope_of
from tests.bench.kernels.diagonal_lstm.cases import equal

SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (7, 13), (13, 7)]


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize(("batch", "p"), [(1, 1), (17, 2), (32, 5), (49, 32)])
def test_values_and_gradients_equal_the_reference_but_for_rounding(m, n, batch, p):
    inputs = arguments(m, n, batch, p)
    found = outcome(amx_op.diagonal_lstm, inputs)
    out, doubled = exact(inputs)
    wanted = [out.detach(), *torch.autograd.grad((out * slope_of(out)).sum(), doubled)]
    assert [x.dtype for x in found] == [torch.float32, *(x.dtype for x in inputs)]
    for k, (rough, right) in enumerate(zip(found, wanted, strict=True)):
        assert relative_error(rough, right) < BOUND, k


@pytest.mark.parametrize(("channels", "t"), [(64, 32), (32, 64), (96, 32)])
def test_other_multiples_of_32_are_supported(channels, t):
    inputs = arguments(3, 4, 5, 3, channels, t)
    found = outcome(amx_op.diagonal_lstm, inputs)
    out, doubled = exact(inputs)
    wanted = [out.detach(), *torch.autograd.grad((out * slope_of(out)).sum(), doubled)]
    assert all(relative_error(rough, right) < BOUND for rough, right in zip(found, wanted, strict=True))


@pytest.mark.parametrize("batch", [1, 16, 17, 32, 33, 49, 224])
def test_groups_hold_every_image_once(batch):
    plan = [task for task in amx_op.tasks(torch.empty(batch, 32, 2, 3), 32) if not task.direction]
    assert [task.first for task in plan] == list(range(0, batch, 2 * ROWS))
    assert sum(task.used for task in plan) == batch
    assert {task.lanes for task in plan} <= {ROWS, 2 * ROWS}
    assert sum(task.lanes for task in plan) < batch + ROWS


@pytest.mark.parametrize(("m", "n", "batch"), [(1, 1, 1), (2, 5, 20), (1, 30, 40)])
def test_no_uninitialised_memory_is_read(m, n, batch, monkeypatch):
    take, inputs = buffer_pool.Pool.take, arguments(m, n, batch)

    def poison(self, count, dtype):
        lent = take(self, count, dtype)
        lent.view("u1")[:] = 255  # NaN in fp32 and in bf16
        return lent

    wanted = outcome(amx_op.diagonal_lstm, inputs)
    monkeypatch.setattr(buffer_pool.Pool, "take", poison)
    assert equal(outcome(amx_op.diagonal_lstm, inputs), wanted)


def test_number_of_threads_does_not_change_the_results():
    inputs, results = arguments(9, 12, 70), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(outcome(amx_op.diagonal_lstm, inputs))
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


def test_nan_affects_the_states_of_its_image_only():
    inputs = [x.detach() for x in arguments(3, 4, 20)]
    wanted = amx_op.diagonal_lstm(*inputs)
    inputs[0][3, 5, 1, 1] = torch.nan
    found = amx_op.diagonal_lstm(*inputs)
    assert found[0, 3, :, 2, 2].isnan().all()
    others = torch.arange(20) != 3
    assert torch.equal(found[:, others], wanted[:, others])
    assert torch.equal(found[0, 3, :, 0], wanted[0, 3, :, 0])


def test_gradients_of_some_inputs_equal_those_of_all():
    inputs = arguments(3, 4, 5)
    wanted = outcome(amx_op.diagonal_lstm, inputs)
    for k, x in enumerate(inputs):
        alone = [given.detach() for given in inputs]
        alone[k] = x
        out = amx_op.diagonal_lstm(*alone)
        (found,) = torch.autograd.grad((out * slope_of(out)).sum(), x)
        assert torch.equal(found, wanted[1 + k])


def test_operator_passes_opcheck():
    inputs = arguments(3, 4, 9)
    plain = [x.detach() for x in inputs]
    torch.library.opcheck(amx_op.operator, (*inputs, True), test_utils=("test_schema", "test_faketensor"))
    torch.library.opcheck(amx_op.operator, (*plain, False))
    out, kept = amx_op.operator(*plain, True)
    context, _, *weights = plain
    for with_readout in (True, False):
        torch.library.opcheck(amx_op.gradients, (torch.ones_like(out), context, *weights, kept, with_readout))


def test_it_is_differentiable_once():
    inputs = arguments(2, 3, 2)
    first = torch.autograd.grad(amx_op.diagonal_lstm(*inputs).square().sum(), inputs, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiable once"):
        first[0].sum().backward()
