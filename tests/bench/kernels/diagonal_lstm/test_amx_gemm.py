"""Blocks of tiles."""

import numba
import numpy as np
import pytest
import torch

from bench.kernels.arrays import flat
from bench.kernels.diagonal_lstm.amx_gemm import add_block, load_block, store_block
from bench.kernels.numba_tiles import LAYOUT, configure_tiles, release_tiles
from tests.bench.kernels.processor import needs_amx


@numba.njit
def product(layout, left, stride, right, step, depth, columns, out):
    configure_tiles(layout)
    load_block(out, 3, columns + 2, columns)
    add_block(left, 1, stride, right, 2, step, depth, columns)
    store_block(out, 3, columns + 2, columns)
    release_tiles()


@needs_amx
@pytest.mark.parametrize("columns", [16, 32])
@pytest.mark.parametrize("depth", [32, 96])
def test_a_product_of_strided_factors_is_added(depth, columns):
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(33, depth + 5, generator=generator).bfloat16()
    right = torch.randn(depth, columns, generator=generator).bfloat16()
    pairs = torch.zeros(depth // 2, 2 * columns + 6).bfloat16()
    pairs[:, 2 : 2 + 2 * columns] = right.view(-1, 2, columns).transpose(1, 2).flatten(1)
    out = torch.randn(34, columns + 2, generator=generator)
    wanted = out.double().flatten()
    block = wanted[3 : 3 + 32 * (columns + 2)].view(32, columns + 2)[:, :columns]
    block += left.double().flatten()[1 : 1 + 32 * (depth + 5)].view(32, depth + 5)[:, :depth] @ right.double()
    product(LAYOUT, flat(left), depth + 5, flat(pairs), 2 * columns + 6, depth, columns, flat(out))
    np.testing.assert_allclose(out.flatten().numpy(), wanted.numpy(), rtol=1e-4, atol=1e-4)
