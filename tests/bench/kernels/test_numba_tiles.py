"""Tiles of AMX, and vectors of pairs."""

import numpy as np
import pytest
import torch

numba = pytest.importorskip("numba")
from bench.kernels import numba_simd, numba_tiles  # noqa: E402
from bench.kernels.arrays import flat  # noqa: E402
from bench.kernels.numba_tiles import (  # noqa: E402
    LAYOUT,
    configure_tiles,
    load_tile,
    multiply_tiles,
    release_tiles,
    split_pairs,
    store_pairs,
    store_tile,
    tiles_available,
)
from tests.bench.kernels.processor import needs_amx  # noqa: E402


@numba.njit
def product(layout, left, right, out):
    configure_tiles(layout)
    load_tile(0, out, 0, 16)
    load_tile(1, left, 0, 32)
    load_tile(2, right, 0, 32)
    multiply_tiles(0, 1, 2)
    store_tile(0, out, 0, 16)
    release_tiles()


@needs_amx
def test_a_product_of_tiles_is_added():
    left, right = (
        torch.randn(shape, generator=torch.Generator().manual_seed(0)).bfloat16() for shape in ((16, 32), (32, 16))
    )
    out = torch.ones(16, 16)
    product(LAYOUT, flat(left), flat(right.view(16, 2, 16).transpose(1, 2)), flat(out))
    np.testing.assert_allclose(out.numpy(), (1 + left.double() @ right.double()).numpy(), rtol=1e-5, atol=1e-5)


@numba.njit
def zip_and_split(width, a, b, pairs, out):
    store_pairs(pairs, 1, numba_simd.load(width, a, 0), numba_simd.load(width, b, 0))
    split_pairs(width, pairs, 1, out, 2, 2 + len(width))


@needs_amx
@pytest.mark.parametrize("lanes", [16, 32, 48])
def test_pairs_are_rounded_and_split_again(lanes):
    a, b = torch.randn(2, lanes, generator=torch.Generator().manual_seed(0))
    pairs, out = torch.zeros(2 * lanes + 2).bfloat16(), torch.zeros(2 * lanes + 3).bfloat16()
    zip_and_split((0,) * lanes, flat(a), flat(b), flat(pairs), flat(out))
    assert torch.equal(pairs[1:-1], torch.stack([a, b], 1).flatten().bfloat16())
    assert torch.equal(out[2:-1], torch.cat([a, b]).bfloat16())
    assert (pairs[0], pairs[-1], out[1], out[-1]) == (0, 0, 0, 0)


def test_the_layout_has_eight_full_tiles():
    assert LAYOUT[0] == 1
    assert LAYOUT[16:32].view("u2").tolist() == [64] * 8
    assert LAYOUT[48:56].tolist() == [16] * 8


@needs_amx
def test_pairs_of_half_a_register_are_refused():
    numbers = np.zeros(64, np.uint16)
    with pytest.raises(numba.TypingError, match="pairs of 8 lanes"):
        numba.njit(lambda x: split_pairs((0,) * 8, x, 0, x, 16, 32))(numbers)


def test_without_tiles_the_operators_end_with_an_error(monkeypatch):
    monkeypatch.setattr(numba_tiles, "tiles_available", lambda: False)
    with pytest.raises(RuntimeError, match="no tiles"):
        numba_tiles.require_tiles()
    with pytest.raises(Exception, match="no tiles"):  # an error of numba, whose class depends on its version
        numba.njit(lambda layout: configure_tiles(layout))(LAYOUT)


@pytest.mark.parametrize("missing", ["amx-tile", "amx-bf16", "avx512f"])
def test_tiles_need_these_features_and_linux(missing, monkeypatch):
    features = dict.fromkeys(["amx-tile", "amx-bf16", "avx512f"], True)
    monkeypatch.setattr(numba_tiles.binding, "get_host_cpu_features", lambda: features | {missing: False})
    assert not tiles_available.__wrapped__()
    monkeypatch.setattr(numba_tiles.binding, "get_host_cpu_features", lambda: features)
    monkeypatch.setattr(numba_tiles.sys, "platform", "darwin")
    assert not tiles_available.__wrapped__()
