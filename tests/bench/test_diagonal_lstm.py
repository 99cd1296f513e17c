"""The implementations of the diagonal LSTM against the reference, and the reference against the equations."""

import pytest
import torch

from bench.kernels.diagonal_lstm import IMPLEMENTATIONS, diagonal_lstm

SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (7, 13), (13, 7), (12, 12)]
FAST = [name for name in IMPLEMENTATIONS if name != "reference"]


def arguments(m, n, t=4, channels=3, batch=2, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype).requires_grad_()

    return (
        normal(batch, channels, m, n),
        normal(2, batch, 4 * t),
        normal(2, 4 * t, channels, scale=0.5),
        normal(2, 4 * t, 2 * t, scale=0.5),
    )


def cell_by_cell(context, bias, kernel_x, kernel_h):
    """h of the left LSTM by recursion over cells, without skewing (ARNN Eq. 7 and 8)."""
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


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_equals_the_recursion_over_cells(name, m, n):
    context, bias, kernel_x, kernel_h = arguments(m, n)
    h = diagonal_lstm(context, bias, kernel_x, kernel_h, name)
    assert h.shape == (2, 2, 4, m, n)
    torch.testing.assert_close(h[0], cell_by_cell(context, bias[0], kernel_x[0], kernel_h[0]))
    right = cell_by_cell(context.flip(-1), bias[1], kernel_x[1], kernel_h[1]).flip(-1)
    assert (h[1, :, :, 0] == 0).all()
    torch.testing.assert_close(h[1, :, :, 1:], right[:, :, :-1])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize(("m", "n"), SHAPES)
@pytest.mark.parametrize(("t", "batch"), [(1, 1), (16, 3)])
def test_values_and_every_gradient_equal_the_reference(name, m, n, t, batch):
    inputs = arguments(m, n, t=t, batch=batch)
    weight = torch.randn(2, batch, t, m, n, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values, gradients = {}, {}
    for implementation in (name, "reference"):
        values[implementation] = diagonal_lstm(*inputs, implementation)
        gradients[implementation] = torch.autograd.grad((values[implementation] * weight).sum(), inputs)
    torch.testing.assert_close(values[name], values["reference"], rtol=1e-12, atol=1e-13)
    for got, expected in zip(gradients[name], gradients["reference"], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", FAST)
def test_error_in_single_precision(name):
    inputs = arguments(25, 13, t=32, channels=32, batch=3)
    single = tuple(a.detach().float().requires_grad_() for a in inputs)
    exact = diagonal_lstm(*inputs, "reference")
    weight = torch.randn(exact.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((exact * weight).sum(), inputs)
    rough = diagonal_lstm(*single, name)
    got = torch.autograd.grad((rough * weight.float()).sum(), single)
    for a, b in zip((rough, *got), (exact, *expected), strict=True):
        assert float((a.detach().double() - b.detach()).norm() / b.detach().norm()) < 1e-5


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(("m", "n"), [(1, 3), (3, 2)])
def test_gradcheck(name, m, n):
    assert torch.autograd.gradcheck(lambda *a: diagonal_lstm(*a, name), arguments(m, n, t=2, channels=2))


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("t", [1, 16, 32])
@pytest.mark.parametrize(("m", "n"), [(4, 6), (6, 3), (1, 4)])
def test_each_state_has_seen_exactly_its_cells(name, t, m, n):
    """Every cell of the context is perturbed in turn, and every state looked at."""
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


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_padding_does_not_run_on_biases(name):
    """With a large bias and no context, a map's corner is as that of a larger map: nothing enters from outside."""
    _, bias, kernel_x, kernel_h = arguments(2, 2, batch=1)
    small, large = (
        diagonal_lstm(torch.zeros(1, 3, *size, dtype=torch.float64), 5 + bias, kernel_x, kernel_h, name)
        for size in ((2, 3), (5, 6))
    )
    torch.testing.assert_close(small[0], large[0, :, :, :2, :3])
    torch.testing.assert_close(small[1, ..., -1], large[1, :, :, :2, -1])


@pytest.mark.parametrize("name", FAST)
def test_channels_last_and_views_are_understood(name):
    context, bias, kernel_x, kernel_h = (a.detach() for a in arguments(5, 4))
    plain = diagonal_lstm(context, bias, kernel_x, kernel_h, name)
    last = context.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(diagonal_lstm(last, bias, kernel_x, kernel_h, name), plain)
    views = bias.repeat(1, 1, 2)[:, :, : bias.shape[2]], torch.cat([kernel_x, kernel_x], 2)[:, :, :3]
    torch.testing.assert_close(diagonal_lstm(context, *views, kernel_h, name), plain)


def test_an_unknown_implementation_lists_the_known():
    with pytest.raises(ValueError, match="packed, reference"):
        diagonal_lstm(*arguments(2, 2), "fastest")
