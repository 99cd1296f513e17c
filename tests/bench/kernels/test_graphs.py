"""Implementations of the diagonal LSTM in PyTorch: autograd graphs, threads, memory, modes and compilers."""

import os
import threading

import pytest
import torch

from bench.kernels.diagonal_lstm import diagonal_lstm
from tests.bench.kernels.test_diagonal_lstm import FAST, ON_CPU, arguments, run

numba = pytest.importorskip("numba")
from bench.kernels import buffer_pool  # noqa: E402
from bench.kernels.diagonal_lstm import numba_op  # noqa: E402

single = {"dtype": torch.float32, "channels": 5, "p": 2}


def call(name, inputs):
    return diagonal_lstm(*inputs[:4], name, *inputs[4:])


def equal(some, others):
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def close(some, others):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(some, others, strict=True))


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
def test_uninitialised_memory_is_not_read(m, n, t, batch, monkeypatch):
    inputs = arguments(m, n, t, batch=batch, **single)
    got = run("cpu", inputs)
    assert all(x.isfinite().all() for x in got)
    monkeypatch.undo()
    assert equal(got, run("cpu", inputs))


@pytest.mark.parametrize("name", FAST)
def test_diagonal_lstm_is_deterministic(name):
    inputs = arguments(9, 12, 16, batch=37, **single)
    assert equal(run(name, inputs), run(name, inputs))


def test_number_of_threads_does_not_change_the_diagonal_lstm():
    inputs, results = arguments(9, 12, 16, batch=37, **single), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(run("cpu", inputs))
    assert equal(results[0], results[1])
    assert equal(results[0], results[2])


@pytest.mark.parametrize("name", FAST)
def test_backward_pass_works_after_other_forward_passes(name):
    """A call does not overwrite the tensors that an earlier call of the same shape saved."""
    first, second = (arguments(4, 5, batch=3, **single) for _ in range(2))
    with torch.no_grad():
        for x in second:
            x.mul_(-1)
    expected = [torch.autograd.grad(call(name, a).square().sum(), a) for a in (first, second)]
    one, other = call(name, first), call(name, second)
    call(name, second)
    with torch.no_grad():
        call(name, first)
    assert equal(torch.autograd.grad(other.square().sum(), second), expected[1])
    assert equal(torch.autograd.grad(one.square().sum(), first), expected[0])


@pytest.mark.parametrize("name", FAST)
def test_backward_may_run_twice_and_an_output_may_be_used_twice(name):
    inputs = arguments(4, 5, batch=3, **single)
    out = call(name, inputs)
    first = torch.autograd.grad(out.sum(), inputs, retain_graph=True)
    assert equal(torch.autograd.grad(out.sum(), inputs, retain_graph=True), first)
    both = torch.autograd.grad(out.sum() + 2 * out.sum(), inputs)
    for a, b in zip(both, first, strict=True):
        torch.testing.assert_close(a, 3 * b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAST)
def test_gradients_of_some_inputs_equal_those_of_all(name):
    inputs = arguments(4, 5, batch=3, **single)
    every = torch.autograd.grad(call(name, inputs).sum(), inputs)
    for k, x in enumerate(inputs):
        alone = [y if y is x else y.detach() for y in inputs]
        assert torch.equal(torch.autograd.grad(call(name, alone).sum(), x)[0], every[k])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_saved(name, mode):
    inputs = arguments(4, 5, batch=3, **single)
    plain = call(name, inputs)
    with mode():
        out = call(name, inputs)
        held = buffer_pool.POOL.held
        assert torch.equal(call(name, [x.clone() for x in inputs]), out)
    assert not out.requires_grad
    assert torch.equal(out, plain.detach())
    assert buffer_pool.POOL.held == held


@pytest.mark.parametrize("name", ON_CPU)
def test_two_threads_can_compute_at_once(name):
    """Results are equal to the bit, except for PyTorch's matrix products, which may depend on the thread."""
    torch.set_num_threads(2)
    inputs = [arguments(6, 7, 8, batch=batch, **single) for batch in (3, 17)]
    expected = [run(name, a) for a in inputs]
    wrong = []

    def work(k):
        for _ in range(20):
            found = run(name, inputs[k])
            if not (equal(found, expected[k]) if name == "cpu" else close(found, expected[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forked_child_process_can_compute():
    """A worker process of a data loader is forked, and has none of the threads that its parent started."""
    torch.set_num_threads(2)
    inputs = arguments(6, 7, 8, batch=40, **single)
    with torch.no_grad():
        expected = call("cpu", inputs)
        child = os.fork()
        if not child:
            os._exit(0 if torch.equal(call("cpu", inputs), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("name", FAST)
def test_memory_does_not_grow_over_training_steps(name):
    inputs = arguments(3, 2, 4, batch=2, **single)

    def steps(count):
        for _ in range(count):
            torch.autograd.grad(call(name, inputs).sum(), inputs)
        return buffer_pool.POOL.held, _resident()

    held, resident = steps(100)
    assert steps(900)[0] == held
    assert _resident() - resident < 8e6


def _resident() -> int:
    psutil = pytest.importorskip("psutil")
    return psutil.Process().memory_info().rss


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


def test_saved_tensors_are_guarded_against_changes():
    inputs = [x.clone() for x in arguments(3, 4, batch=1, **single)]
    out = call("cpu", inputs)
    with torch.no_grad():
        inputs[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(out.sum(), inputs)
