"""Numbers in bf16 in compiled code."""

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")
from bench.kernels import numba_simd  # noqa: E402
from bench.kernels.arrays import flat  # noqa: E402
from bench.kernels.numba_bf16 import number, put  # noqa: E402

LANES = 24


@numba.njit
def copy_vectors(width, source, out):
    for k in range(0, len(source), LANES):
        numba_simd.store(out, k, numba_simd.load(width, source, k))


@numba.njit
def copy_numbers(width, source, out):
    for k in range(len(source)):
        put(out, k, number(source, k))


def all_numbers() -> torch.Tensor:
    """Return every number in bf16, and zeros up to a multiple of LANES."""
    bits = torch.arange(1 << 16, dtype=torch.int32)
    return torch.cat([bits.to(torch.uint16).view(torch.bfloat16), torch.zeros(-len(bits) % LANES).bfloat16()])


def hard_to_round() -> torch.Tensor:
    """Return random numbers, ties, the numbers beside them, numbers that round to infinity, and NaN of all kinds."""
    generator = torch.Generator().manual_seed(0)
    upper = torch.randint(-(1 << 15), 1 << 15, (4 * LANES,), generator=generator)
    ties = torch.cat([(upper * 65536 + lower).to(torch.int32) for lower in (0x7FFF, 0x8000, 0x8001, 0xFFFF)])
    ends = torch.tensor([0x7F7FFFFF, 0x7F800001, 0x7FFFFFFF, -1, -0x7FFFFF, 1, 0x7FFF, 0x8000], dtype=torch.int32)
    x = torch.cat([ties.view(torch.float32), ends.view(torch.float32), torch.randn(1000, generator=generator)])
    return torch.cat([x, torch.zeros(-len(x) % LANES)])


@pytest.mark.parametrize("copy", [copy_vectors, copy_numbers])
def test_every_number_in_bf16_is_read_and_written(copy):
    source = all_numbers()
    wide, out = torch.empty(len(source)), torch.empty_like(source)
    copy((0,) * LANES, flat(source), flat(wide))
    torch.testing.assert_close(wide, source.float(), rtol=0, atol=0, equal_nan=True)
    copy((0,) * LANES, flat(wide), flat(out))
    torch.testing.assert_close(out, source, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("copy", [copy_vectors, copy_numbers])
def test_numbers_are_rounded_as_pytorch_rounds_them(copy):
    source = hard_to_round()
    out = torch.empty(len(source), dtype=torch.bfloat16)
    copy((0,) * LANES, flat(source), flat(out))
    torch.testing.assert_close(out, source.bfloat16(), rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_numbers_are_copied_unchanged(dtype):
    source = np.random.default_rng(0).random(LANES).astype(dtype)
    out = np.empty_like(source)
    copy_numbers((0,) * LANES, source, out)
    np.testing.assert_array_equal(out, source)
