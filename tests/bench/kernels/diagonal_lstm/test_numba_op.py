"""The operator of the compiled diagonal LSTM."""

import pytest
import torch

numba = pytest.importorskip("numba")


@pytest.mark.parametrize(("batch", "lanes"), [(1, [8]), (9, [16]), (17, [24]), (32, [16, 16]), (50, [24, 16, 16])])
def test_groups_hold_every_image_once(batch, lanes):
    from bench.kernels.diagonal_lstm.numba_op import groups

    assert [width for _, width in groups(batch, torch.float32)] == lanes
    for dtype in (torch.float32, torch.float64):
        ends = [first + width for first, width in groups(batch, dtype)]
        assert [first for first, _ in groups(batch, dtype)] == [0, *ends[:-1]]
        assert batch <= ends[-1] < batch + 8
