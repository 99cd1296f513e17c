"""The implementations of the diagonal LSTM compared with the reference, and the reference with the equations."""

import itertools
import random

import pytest
import torch

from bench.kernels.diagonal_lstm import IMPLEMENTATIONS, TOLERANCE, compiled_works, diagonal_lstm, example, reference
from bench.kernels.diagonal_lstm import relative_error as error

SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (7, 13), (13, 7), (12, 12)]
ON_CPU = [name for name in IMPLEMENTATIONS if name != "triton"]  # triton has separate tests
FAST = [name for name in ON_CPU if name != "reference"]
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


def arguments(m, n, t=4, channels=3, batch=2, p=None, dtype=torch.float64):
    """Return arguments of `diagonal_lstm` that need gradients, with a readout if p is given."""
    given = example(batch, m, n, channels, t, p or 1)[: 5 if p else 4]
    return [x.to(dtype).requires_grad_() for x in given]


def run(name, inputs, weight=None):
    """Return values and every gradient."""
    out = diagonal_lstm(*inputs[:4], name, *inputs[4:])
    weight = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad((out * weight.to(out)).sum(), inputs)]


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


@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize(("t", "batch", "p"), [(1, 1, 1), (5, 3, 2)])
def test_the_reference_of_weight_gradients_equals_autograd(m, n, t, batch, p):
    """Additional channels are added to the gates, so that their gradient by autograd is that of each gate's sum."""
    context, bias, kernel_x, kernel_h, readout = inputs = arguments(m, n, t, batch=batch, p=p)
    added = torch.zeros(batch, 8 * t, m, n, dtype=torch.float64, requires_grad=True)
    one = torch.eye(8 * t, dtype=torch.float64).unflatten(0, (2, 4 * t))
    states = reference.diagonal_lstm(torch.cat([context, added], 1), bias, torch.cat([kernel_x, one], 2), kernel_h)
    out = torch.einsum("dpt,dbtij->dbpij", readout, states)
    grad = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    *expected, d_added = torch.autograd.grad((out * grad).sum(), [*inputs[1:], added])
    left, right = d_added.permute(0, 2, 3, 1).split(4 * t, 3)
    h = [
        reference.one_direction(x, *(given[d] for given in (bias, kernel_x, kernel_h))).permute(0, 2, 3, 1)
        for d, x in enumerate((context, context.flip(-1)))
    ]
    d_gates = torch.stack([left, right.flip(2)])
    found = reference.weight_gradients(context.permute(0, 2, 3, 1), torch.stack(h), d_gates, grad)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("m", "n", "t", "batch"), a_sample())
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
def test_image_does_not_depend_on_other_images_of_the_batch(name):
    inputs = [a.detach() for a in arguments(3, 4, batch=11, dtype=torch.float32)]
    moved = [inputs[0].clone(), *inputs[1:]]
    moved[0][4] += 1
    changed = (diagonal_lstm(*moved, name) != diagonal_lstm(*inputs, name)).flatten(2).any(2).any(0)
    assert changed.nonzero().flatten().tolist() == [4]


@pytest.mark.parametrize("name", ON_CPU)
def test_padding_is_not_changed_by_biases(name):
    """With a large bias and no context, the corner of a map equals that of a larger map: padding adds nothing."""
    _, bias, kernel_x, kernel_h = arguments(2, 2, batch=1)
    small, large = (
        diagonal_lstm(torch.zeros(1, 3, *size, dtype=torch.float64), 5 + bias, kernel_x, kernel_h, name)
        for size in ((2, 3), (5, 6))
    )
    torch.testing.assert_close(small[0], large[0, :, :, :2, :3])
    torch.testing.assert_close(small[1, ..., -1], large[1, :, :, :2, -1])


@pytest.mark.parametrize("name", ON_CPU)
def test_huge_numbers_saturate_and_nan_is_not_hidden(name):
    context, bias, kernel_x, kernel_h = (a.detach().float() for a in arguments(2, 2))
    assert diagonal_lstm(context * 1e30, bias, kernel_x, kernel_h, name).abs().max() <= 2
    context[0, 0, 0, 0] = torch.nan
    left = diagonal_lstm(context, bias, kernel_x, kernel_h, name)[0]
    assert left[0].isnan().all()
    assert left[1].isfinite().all()


@pytest.mark.parametrize("name", FAST)
def test_channels_last_views_and_odd_gradients_are_supported(name):
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
def test_empty_batch_gives_empty_states(name):
    context, *others = (a.detach() for a in arguments(3, 4))
    assert diagonal_lstm(context[:0], others[0][:, :0], *others[1:], name).shape == (2, 0, 4, 3, 4)
