"""Attention in blocks compared with its formula."""

import pytest
import torch
from torch.nn import functional as F

from bench.attention.brnn import BlockAttentionRNN
from tests.bench.attention.helpers import inputs, score_of


@pytest.mark.parametrize("block", [2, 3])
@pytest.mark.parametrize(("height", "width"), [(6, 6), (7, 5), (1, 8), (2, 2)])
def test_block_attention_map_is_one_value_per_block_times_the_kernel(block, height, width):
    module = score_of("brnn2", block=block)
    x, query = inputs(height, width)
    score, coarse = module(x, query), module.coarse(x, query)
    assert coarse.shape[2:] == (-(-height // block), -(-width // block))
    large = coarse.repeat_interleave(block, dim=2).repeat_interleave(block, dim=3)[:, :, :height, :width]
    torch.testing.assert_close(score, large)  # the kernel starts as ones
    with torch.no_grad():
        module.grow.weight += torch.randn_like(module.grow.weight)
        module.grow.bias += 0.5
    tiles = module.grow.weight[0, 0].repeat(height, width)[:height, :width]
    torch.testing.assert_close(module(x, query), large * tiles + 0.5)


def test_block_attention_pads_incomplete_blocks_with_zeros():
    module, (x, query) = BlockAttentionRNN(5, 4, block=3).double(), inputs(7, 8)
    padded = F.pad(x, (0, 1, 0, 2))
    torch.testing.assert_close(
        module.coarse(x, query),
        module.attend(F.conv2d(padded, module.shrink.weight, module.shrink.bias, stride=3), query),
    )
