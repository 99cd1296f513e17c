"""What the compiled operators have in common."""

import pytest
import torch

pytest.importorskip("numba")
from bench.kernels.diagonal_lstm.cpu_operator import by_gate, by_unit, interleave_four_rows, sum_groups


@pytest.mark.parametrize("dim", [0, 1])
def test_gates_are_ordered_by_unit_and_back(dim):
    gates = torch.arange(24).view(12, 2).transpose(0, 1) if dim else torch.arange(24).view(12, 2)
    assert by_unit(torch.arange(12), 0).tolist() == [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]
    assert torch.equal(by_gate(by_unit(gates, dim), dim), gates)


def test_rows_are_interleaved_in_fours_and_padded_with_zeros():
    found = interleave_four_rows(torch.arange(1.0, 11.0).view(1, 5, 2))
    assert found.tolist() == [[1, 3, 5, 7, 2, 4, 6, 8, 9, 0, 0, 0, 10, 0, 0, 0]]


def test_groups_are_summed_and_kept():
    parts = torch.arange(6.0).view(3, 2)
    assert sum_groups(parts).tolist() == [6, 9]
    assert parts.tolist() == [[0, 1], [2, 3], [4, 5]]
