"""Tensors as flat arrays."""

import pytest
import torch

from bench.kernels.arrays import flat, to_channels_last


def test_features_are_laid_out_with_channels_last():
    x = torch.arange(24.0, requires_grad=True).view(1, 2, 3, 4)
    last = to_channels_last(x)
    assert last.shape == (1, 3, 4, 2)
    assert last.is_contiguous()
    assert flat(last).tolist() == x.permute(0, 2, 3, 1).flatten().tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
def test_an_array_shares_the_memory_of_its_tensor(dtype):
    x = torch.arange(6, dtype=dtype).view(2, 3)
    flat(x)[4] = 0
    assert x.tolist() == [[0, 1, 2], [3, 0, 5]]


def test_bf16_is_given_by_its_bits():
    assert flat(torch.tensor([1.0, -2.0], dtype=torch.bfloat16)).tolist() == [0x3F80, 0xC000]
