"""The implementations of the diagonal LSTM: values, autograd graphs, threads and memory, and the equations."""

import itertools
import random
import threading

import pytest
import torch

from bench.kernels import buffer_pool
from bench.kernels.diagonal_lstm import (
    TOLERANCE,
    compiled_works,
    diagonal_lstm,
)
from bench.kernels.diagonal_lstm import relative_error as error
from tests.bench.kernels.diagonal_lstm.cases import FAST, ON_CPU, SHAPES, arguments, call, equal, run, single
from tests.helpers import long_form

SIDES, WIDTHS, BATCHES = (1, 2, 5, 7, 12, 13, 25, 50), (1, 8, 16, 32, 64), (1, 3, 128)


def a_sample():
    """Return some combinations of each size of work, fewer of the larger sizes."""
    chosen, wanted = [], {10**4: 40, 10**5: 24, 10**6: 6, 10**9: 0}
    every = list(itertools.product(SIDES, SIDES, WIDTHS, BATCHES))
    random.Random(0).shuffle(every)
    for m, n, t, batch in every:
        size = next(bound for bound in wanted if m * n * t * batch <= bound)
        if wanted[size]:
            wanted[size] -= 1
            chosen.append((m, n, t, batch))
    return [*chosen, (50, 50, 32, 3), (25, 13, 64, 20), (12, 7, 16, 128)]


def cell_by_cell(context, bias, kernel_x, kernel_h):
    """Return h of the left LSTM, computed by recursion over cells without skewing (ARNN Eq. 7 and 8)."""
    batch, _, m, n = context.shape
    t = kernel_h.shape[0] // 4
    zero = context.new_zeros(batch, t)
    h, c = {}, {}
    for i in range(m):
        for j in range(n):
            above, left = h.get((i - 1, j), zero), h.get((i, j - 1), zero)
            gates = bias + context[:, :, i, j] @ kernel_x.T + torch.cat([above, left], 1) @ kernel_h.T
            o, f, i_gate, g = gates.chunk(4, dim=1)
            c[i, j] = f.sigmoid() * c.get((i, j - 1), zero) + i_gate.sigmoid() * g.tanh()
            h[i, j] = o.sigmoid() * c[i, j].tanh()
    return torch.stack([torch.stack([h[i, j] for j in range(n)], -1) for i in range(m)], -2)


def test_compiled_diagonal_lstm_works_on_this_machine():
    """Otherwise the tests of "cpu" below would test the implementation that replaces it."""
    pytest.importorskip("numba")
    assert all(compiled_works(dtype) for dtype in TOLERANCE)


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_diagonal_lstm_equals_the_recursion_over_cells(name, m, n):
    context, bias, kernel_x, kernel_h = arguments(m, n)
    h = diagonal_lstm(context, bias, kernel_x, kernel_h, name)
    assert h.shape == (2, 2, 4, m, n)
    torch.testing.assert_close(h[0], cell_by_cell(context, bias[0], kernel_x[0], kernel_h[0]))
    right = cell_by_cell(context.flip(-1), bias[1], kernel_x[1], kernel_h[1]).flip(-1)
    assert (h[1, :, :, 0] == 0).all()
    torch.testing.assert_close(h[1, :, :, 1:], right[:, :, :-1])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize(("t", "batch", "p"), [(1, 1, None), (16, 3, 2), (5, 9, 5)])
def test_values_and_gradients_of_the_diagonal_lstm_equal_the_reference(name, m, n, t, batch, p):
    inputs = arguments(m, n, t, batch=batch, p=p)
    for got, expected in zip(run(name, inputs), run("reference", inputs), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("m", "n", "t", "batch"), long_form(a_sample(), a_sample()[::3]))
def test_diagonal_lstm_error_in_single_precision_is_small(m, n, t, batch):
    """The expected values are from `packed` in fp64, which is faster than the reference and equals it to 1e-10."""
    inputs = arguments(m, n, t, channels=7, batch=batch, p=2)
    exact = run("packed", inputs)
    rough = [x.detach().float().requires_grad_() for x in inputs]
    for name in ON_CPU if m * n * t * batch <= 10**4 else FAST:
        for a, b in zip(run(name, rough), exact, strict=True):
            assert a.isfinite().all(), name
            assert error(a, b) < TOLERANCE[torch.float32], name


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("p", [None, 2])
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 2)])
def test_diagonal_lstm_passes_gradcheck(name, m, n, p):
    inputs = arguments(m, n, t=2, channels=2, p=p)
    assert torch.autograd.gradcheck(lambda *a: diagonal_lstm(*a[:4], name, *a[4:]), inputs)


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("t", [1, 16, 32])
@pytest.mark.parametrize(("m", "n"), [(4, 6), (6, 3), (1, 4)])
def test_diagonal_lstm_state_depends_on_exactly_its_cells(name, t, m, n):
    """Every cell of the context is perturbed in turn, and every state is compared."""
    context, bias, kernel_x, kernel_h = (a.detach() for a in arguments(m, n, t=t, batch=1))
    plain = diagonal_lstm(context, bias, kernel_x, kernel_h, name)
    for i in range(m):
        for j in range(n):
            moved = context.clone()
            moved[:, :, i, j] += 1.0
            seen = (diagonal_lstm(moved, bias, kernel_x, kernel_h, name) != plain).any(dim=2)[:, 0]
            rows, columns = torch.meshgrid(torch.arange(m), torch.arange(n), indexing="ij")
            assert torch.equal(seen[0], (rows >= i) & (columns >= j))
            assert torch.equal(seen[1], (rows >= i + 1) & (columns <= j))


@pytest.mark.parametrize("name", ON_CPU)
def test_diagonal_lstm_of_an_image_does_not_depend_on_other_images(name):
    inputs = [a.detach() for a in arguments(3, 4, batch=11, dtype=torch.float32)]
    moved = [inputs[0].clone(), *inputs[1:]]
    moved[0][4] += 1
    changed = (diagonal_lstm(*moved, name) != diagonal_lstm(*inputs, name)).flatten(2).any(2).any(0)
    assert changed.nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize("name", ON_CPU)
def test_padding_of_the_diagonal_lstm_is_not_changed_by_biases(name):
    """With a large bias and no context, the corner of a map equals that of a larger map: padding adds nothing."""
    _, bias, kernel_x, kernel_h = arguments(2, 2, batch=1)
    small, large = (
        diagonal_lstm(torch.zeros(1, 3, *size, dtype=torch.float64), 5 + bias, kernel_x, kernel_h, name)
        for size in ((2, 3), (5, 6))
    )
    torch.testing.assert_close(small[0], large[0, :, :, :2, :3])
    torch.testing.assert_close(small[1, ..., -1], large[1, :, :, :2, -1])


@pytest.mark.parametrize("name", ON_CPU)
def test_huge_numbers_saturate_the_diagonal_lstm_and_nan_is_not_hidden(name):
    context, bias, kernel_x, kernel_h = (a.detach().float() for a in arguments(2, 2))
    assert diagonal_lstm(context * 1e30, bias, kernel_x, kernel_h, name).abs().max() <= 2
    context[0, 0, 0, 0] = torch.nan
    left = diagonal_lstm(context, bias, kernel_x, kernel_h, name)[0]
    assert left[0].isnan().all()
    assert left[1].isfinite().all()


@pytest.mark.parametrize("name", FAST)
def test_diagonal_lstm_supports_channels_last_views_and_odd_gradients(name):
    inputs = arguments(5, 4, p=2)
    context, bias, kernel_x, kernel_h, readout = (a.detach() for a in inputs)
    plain = run(name, inputs)
    views = (
        context.contiguous(memory_format=torch.channels_last),
        bias.repeat(1, 1, 2)[:, :, : bias.shape[2]],
        torch.cat([kernel_x, kernel_x], 2)[:, :, :3],
        kernel_h.transpose(1, 2).contiguous().transpose(1, 2),
        readout.flip(1).flip(1)[:, :, ::1],
    )
    for got, expected in zip(run(name, [v.requires_grad_() for v in views]), plain, strict=True):
        torch.testing.assert_close(got, expected)
    out = diagonal_lstm(*inputs[:4], name, inputs[4])
    expanded = torch.autograd.grad(out.sum(), inputs)  # all strides of the gradient of a sum are 0
    full = torch.autograd.grad(diagonal_lstm(*inputs[:4], name, inputs[4]), inputs, torch.ones_like(out))
    for a, b in zip(expanded, full, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ON_CPU)
def test_diagonal_lstm_of_an_empty_batch_has_empty_states(name):
    context, *others = (a.detach() for a in arguments(3, 4))
    assert diagonal_lstm(context[:0], others[0][:, :0], *others[1:], name).shape == (2, 0, 4, 3, 4)


def close(some, others):
    return all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("name", FAST)
def test_diagonal_lstm_is_deterministic(name):
    inputs = arguments(9, 12, 16, batch=37, **single)
    assert equal(run(name, inputs), run(name, inputs))


@pytest.mark.parametrize("name", FAST)
def test_diagonal_lstm_backward_pass_works_after_other_forward_passes(name):
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
def test_diagonal_lstm_backward_may_run_twice_and_its_output_may_be_used_twice(name):
    inputs = arguments(4, 5, batch=3, **single)
    out = call(name, inputs)
    first = torch.autograd.grad(out.sum(), inputs, retain_graph=True)
    assert equal(torch.autograd.grad(out.sum(), inputs, retain_graph=True), first)
    both = torch.autograd.grad(out.sum() + 2 * out.sum(), inputs)
    for a, b in zip(both, first, strict=True):
        torch.testing.assert_close(a, 3 * b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", FAST)
def test_diagonal_lstm_gradients_of_some_inputs_equal_those_of_all(name):
    inputs = arguments(4, 5, batch=3, **single)
    every = torch.autograd.grad(call(name, inputs).sum(), inputs)
    for k, x in enumerate(inputs):
        alone = [y if y is x else y.detach() for y in inputs]
        assert torch.equal(torch.autograd.grad(call(name, alone).sum(), x)[0], every[k])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_diagonal_lstm_without_gradients_saves_nothing(name, mode):
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
def test_two_threads_can_compute_the_diagonal_lstm_at_once(name):
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


@pytest.mark.parametrize("name", FAST)
def test_memory_of_the_diagonal_lstm_does_not_grow_over_training_steps(name):
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
