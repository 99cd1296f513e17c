"""Keyed streams of random integers: an image does not depend on the process that draws it, or on the order.

A stream is Philox4x64-10 with key = (seed, split · 2³² + purpose) and counter = (block, index, 0, 0). Each purpose has
its own stream, so variants that differ only in the background have the same digits. All arithmetic is on integers and
gives the same results on every machine. Pure.

`Stream` is the readable form with NumPy's Philox. The compiled functions give the same numbers. A compiled stream is a
uint64 array of 9: key, key, block, index, number of unused words, and the four words.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np

from mnistref.common.numba_jit import compiled

CLASSES, COLORS, JITTER, GLYPHS, PLACEMENT, BACKGROUND, QUERY, PHOTO_VIEW = range(1, 9)
"""Purposes of the streams of an image."""

_U32 = np.uint64(0xFFFFFFFF)
_S32 = np.uint64(32)
_ONE = np.uint64(1)
_M0 = np.uint64(0xD2E7470EE14C6C93)
_M1 = np.uint64(0xCA5A826395121157)
_W0 = np.uint64(0x9E3779B97F4A7C15)
_W1 = np.uint64(0xBB67AE8584CAA73B)


class Stream:
    """One keyed stream, the reference of the compiled functions below.

    Args:
        seed: seed of the data set.
        split: number of the split.
        index: index of the image in the split.
        purpose: one of the purposes above.
    """

    def __init__(self, seed: int, split: int, index: int, purpose: int) -> None:
        key, counter = [seed, split << 32 | purpose], [0, index, 0, 0]
        self._philox = np.random.Philox(key=np.array(key, np.uint64), counter=np.array(counter, np.uint64))

    def next_u64(self) -> int:
        """Return an integer that is uniform in 0 … 2⁶⁴ − 1."""
        return int(self._philox.random_raw())

    def below(self, n: int) -> int:
        """Return an integer that is uniform in 0 … n − 1, by multiplication (the bias is below n / 2⁶⁴)."""
        return self.next_u64() * n >> 64

    def normal(self, thresholds: np.ndarray) -> int:
        """Return a sample of N(0, σ) rounded to an integer, by inversion of `normal_thresholds(σ)`."""
        u = np.uint64(self.next_u64())
        return int(np.searchsorted(thresholds, u, side="right")) - len(thresholds) // 2


@lru_cache
def normal_thresholds(sigma: int) -> np.ndarray:
    """Return 2⁶⁴ · Φ((k + ½) / σ) for k = −8σ … 8σ − 1, uint64 (16 σ,), computed exactly with decimals."""
    with localcontext() as context:
        context.prec = 80
        half = [_phi_minus_half((Decimal(k) + Decimal("0.5")) / sigma) for k in range(8 * sigma)]
        upper = [int((Decimal("0.5") + p) * 2**64) for p in half]
    lower = [2**64 - t for t in reversed(upper)]
    return np.array(lower + upper, np.uint64)


def _phi_minus_half(x: Decimal) -> Decimal:
    """Return Φ(x) − ½, computed as a power series."""
    two_pi = Decimal("6.28318530717958647692528676655900576839433879875021164194988918461563281257241799725606965")
    term = total = x
    k = 0
    while abs(term) > Decimal("1e-40"):
        k += 1
        term = -term * x * x / (2 * k)
        total += term / (2 * k + 1)
    return total / two_pi.sqrt()


@compiled
def start(stream: np.ndarray, seed: np.uint64, split: int, index: int, purpose: int) -> None:
    """Set `stream`, uint64 (9,), to the beginning of a keyed stream."""
    stream[0] = np.uint64(seed)
    stream[1] = (np.uint64(split) << _S32) | np.uint64(purpose)
    stream[2] = np.uint64(0)
    stream[3] = np.uint64(index)
    stream[4] = np.uint64(0)


@compiled
def _high(a: np.uint64, b: np.uint64) -> np.uint64:
    """Return the upper 64 bits of the 128-bit product."""
    a0, a1, b0, b1 = a & _U32, a >> _S32, b & _U32, b >> _S32
    low = a0 * b0
    mid = a1 * b0 + (low >> _S32)
    mid2 = a0 * b1 + (mid & _U32)
    return a1 * b1 + (mid >> _S32) + (mid2 >> _S32)


@compiled
def next_u64(stream: np.ndarray) -> np.uint64:
    """Return the next number, as `Stream.next_u64`."""
    if stream[4] == np.uint64(0):
        stream[2] += _ONE
        c0, c1, c2, c3 = stream[2], stream[3], np.uint64(0), np.uint64(0)
        k0, k1 = stream[0], stream[1]
        for _ in range(10):
            c0, c1, c2, c3 = _high(_M1, c2) ^ c1 ^ k0, _M1 * c2, _high(_M0, c0) ^ c3 ^ k1, _M0 * c0
            k0 += _W0
            k1 += _W1
        stream[5], stream[6], stream[7], stream[8] = c3, c2, c1, c0  # read from the end
        stream[4] = np.uint64(4)
    stream[4] -= _ONE
    word: np.uint64 = stream[np.int64(5) + np.int64(stream[4])]
    return word


@compiled
def below(stream: np.ndarray, n: int) -> np.int64:
    """Return a number in 0 … n − 1, as `Stream.below`."""
    return np.int64(_high(next_u64(stream), np.uint64(n)))


@compiled
def normal(stream: np.ndarray, thresholds: np.ndarray) -> int:
    """Return a rounded normal sample, as `Stream.normal`."""
    u = next_u64(stream)
    lo, hi = 0, thresholds.shape[0]
    while lo < hi:
        mid = (lo + hi) // 2
        if thresholds[mid] <= u:
            lo = mid + 1
        else:
            hi = mid
    sample: int = lo - thresholds.shape[0] // 2
    return sample
