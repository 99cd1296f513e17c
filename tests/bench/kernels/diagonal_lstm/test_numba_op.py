"""The operator of the compiled diagonal LSTM."""

import os

import pytest
import torch

from bench.kernels import buffer_pool, numba_simd
from bench.kernels.diagonal_lstm import numba_op
from tests.bench.kernels.diagonal_lstm.cases import arguments, call, equal, run, single

NARROW, WIDE = 8, 16


@pytest.mark.parametrize(
    ("batch", "size", "lanes"),
    [
        *((1, NARROW, [8]), (9, NARROW, [16]), (17, NARROW, [24]), (32, NARROW, [16, 16]), (50, NARROW, [24, 16, 16])),
        *((1, WIDE, [8]), (9, WIDE, [16]), (17, WIDE, [32]), (33, WIDE, [48]), (50, WIDE, [32, 32])),
        (224, WIDE, [32] * 7),
    ],
)
def test_groups_of_the_compiled_diagonal_lstm_hold_every_image_once(batch, size, lanes, monkeypatch):
    monkeypatch.setattr(numba_simd, "WIDE_PIECE", size)
    assert [width for _, width in numba_op.groups(batch, torch.float32)] == lanes
    for dtype in (torch.float32, torch.float64):
        ends = [first + width for first, width in numba_op.groups(batch, dtype)]
        assert [first for first, _ in numba_op.groups(batch, dtype)] == [0, *ends[:-1]]
        assert batch <= ends[-1] < batch + size


@pytest.mark.parametrize("batch", [8, 9, 33, 50])
def test_single_precision_has_other_groups_and_the_same_values(batch):
    """The order of sums differs, so do the last bits."""
    inputs = arguments(3, 4, 5, channels=6, batch=batch, p=2)
    rounded = [x.detach().float().requires_grad_() for x in inputs]
    for exact, rough in zip(values_and_gradients(inputs), values_and_gradients(rounded), strict=True):
        torch.testing.assert_close(rough.double(), exact, rtol=1e-4, atol=1e-4)


def values_and_gradients(inputs) -> list[torch.Tensor]:
    out = numba_op.diagonal_lstm(*inputs)
    return [out, *torch.autograd.grad(out.square().sum(), inputs)]


@pytest.fixture
def poisoned(monkeypatch):
    """Fill lent memory and new uninitialised tensors with NaN."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    take = buffer_pool.Pool.take

    def poison(self, count, dtype):
        lent = take(self, count, dtype)
        lent[:] = float("nan")
        return lent

    monkeypatch.setattr(buffer_pool.Pool, "take", poison)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("m", "n", "t", "batch"), [(1, 1, 1, 1), (2, 5, 3, 3), (7, 4, 8, 20), (1, 30, 16, 40)])
def test_compiled_diagonal_lstm_reads_no_uninitialised_memory(m, n, t, batch, monkeypatch):
    inputs = arguments(m, n, t, batch=batch, **single)
    got = run("cpu", inputs)
    assert all(x.isfinite().all() for x in got)
    monkeypatch.undo()
    assert equal(got, run("cpu", inputs))


def test_number_of_threads_does_not_change_the_diagonal_lstm():
    inputs, results = arguments(9, 12, 16, batch=37, **single), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(run("cpu", inputs))
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_process_can_compute_the_diagonal_lstm():
    """A worker process of a data loader is forked, and has none of the threads that its parent started."""
    torch.set_num_threads(2)
    inputs = arguments(6, 7, 8, batch=40, **single)
    with torch.no_grad():
        expected = call("cpu", inputs)
        child = os.fork()
        if not child:
            os._exit(0 if torch.equal(call("cpu", inputs), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_diagonal_lstm_operator_passes_opcheck():
    """opcheck tests schema, fake tensors, autograd and tracing of both passes."""
    inputs = arguments(3, 4, 5, batch=9, **single)
    plain = [x.detach() for x in inputs]
    torch.library.opcheck(numba_op.operator, (*inputs, True))
    torch.library.opcheck(numba_op.operator, (*plain, False))
    out, kept = numba_op.operator(*plain, True)
    context, _, *weights = plain
    torch.library.opcheck(numba_op.gradients, (torch.ones_like(out), context, *weights, kept, True))
    torch.library.opcheck(numba_op.gradients, (torch.ones_like(out), context, *weights, kept, False))


def test_diagonal_lstm_compiles_to_one_graph():
    inputs = arguments(3, 4, 5, batch=9, **single)

    def step(*inputs):
        return (2 * call(None, inputs)).square().sum()

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(step(*inputs), inputs)
    assert equal(torch.autograd.grad(compiled(*inputs), inputs), expected)


def test_tensors_saved_by_the_diagonal_lstm_are_guarded_against_changes():
    inputs = [x.clone() for x in arguments(3, 4, batch=1, **single)]
    out = call("cpu", inputs)
    with torch.no_grad():
        inputs[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out.sum(), inputs)
