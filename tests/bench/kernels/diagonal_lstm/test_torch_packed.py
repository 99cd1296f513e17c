"""The packed layout of a map: its diagonals, neighbours and places."""

import pytest
import torch

from bench.kernels.diagonal_lstm import torch_packed
from bench.kernels.diagonal_lstm.reference import diagonal_lstm
from tests.bench.kernels.diagonal_lstm.cases import SHAPES, arguments

CPU = torch.device("cpu")


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_every_cell_is_packed_once_on_its_diagonal(m, n):
    layout = torch_packed.geometry(m, n, CPU)
    assert len(layout.diagonals) == m + n - 1
    for places in layout.pack:
        assert sorted(places.tolist()) == list(range(m * n))
    left = layout.pack[0]
    for number, diagonal in enumerate(layout.diagonals):
        assert ((left[diagonal.cells] // n + left[diagonal.cells] % n) == number).all()


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_neighbours_of_a_diagonal_are_above_and_to_the_left(m, n):
    layout = torch_packed.geometry(m, n, CPU)
    left = layout.pack[0]
    for diagonal in layout.diagonals:
        assert torch.equal(left[diagonal.above], left[diagonal.has_above] - n)
        assert torch.equal(left[diagonal.left], left[diagonal.has_left] - 1)
        below_top, behind_edge = left[diagonal.cells] >= n, left[diagonal.cells] % n > 0
        assert below_top.sum() == len(left[diagonal.has_above])
        assert behind_edge.sum() == len(left[diagonal.has_left])


@pytest.mark.parametrize(("m", "n"), SHAPES)
def test_unpacking_inverts_packing_and_shifts_the_right_direction(m, n):
    layout = torch_packed.geometry(m, n, CPU)
    for direction in range(2):
        packed = torch.cat([torch.arange(m * n)[layout.pack[direction]], torch.tensor([-1])])
        found = packed[layout.unpack[direction]].view(m, n)
        cells = torch.arange(m * n).view(m, n)
        if direction:
            cells = torch.cat([torch.full((1, n), -1), cells[:-1]])
        assert torch.equal(found, cells)


@pytest.mark.parametrize(("m", "n", "t", "batch"), [(1, 1, 1, 1), (3, 5, 4, 2), (6, 2, 3, 7)])
def test_packed_states_and_gradients_equal_the_reference(m, n, t, batch):
    inputs = arguments(m, n, t, batch=batch)
    results = []
    for implementation in (torch_packed.diagonal_lstm, diagonal_lstm):
        out = implementation(*inputs)
        slope = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        results.append([out, *torch.autograd.grad(out, inputs, slope)])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
