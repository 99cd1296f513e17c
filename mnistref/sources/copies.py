"""Detect photos that show the same picture at another size, format or quality, by their 16 × 16 thumbnails.

A pair counts as one picture if both have the same aspect ratio within the rounding of a side, their brightness and
colour differ little on average and everywhere, and their local detail correlates.

The limits are far from different photos. Among 1,577 photographs of 8 scenes, no two different ones came closer than a
mean difference of 11 and a correlation of 0.75 (limits: 3 and 0.9); an edited one with tinted shadows had a difference
of 5.4. Among copies whose short side has 32 to 256 pixels, scaled by three filters and saved as JPEG (quality 30 to
75), WebP, GIF or PNG, 99 % or more are detected; with 24 pixels 95 %, with 16 pixels less than half.

Cropped, mirrored, rotated and edited copies count as different pictures. Pictures without detail, such as a plain sky,
are not compared, because nothing distinguishes them.
"""

import numpy as np
from PIL import Image

SIDE, COARSE = 16, 4
THUMBNAIL = np.dtype(
    [
        ("sha256", "u1", 32),
        ("size", "<i4", 2),
        ("luma", "u1", (SIDE, SIDE)),
        ("colour", "u1", (SIDE // 2, SIDE // 2, 2)),
    ]
)
"""Thumbnail of one photo: width and height of the original, brightness, and colour (blue and red difference)."""
MAX_MEAN, MAX_DIFFERENCE, MAX_SHIFT, MAX_COLOUR, MAX_DECORRELATION = 3.0, 20.0, 1.5, 3.0, 0.1
"""Limits of the difference between two thumbnails.

In this order: mean and largest difference of brightness, difference of the mean brightness, mean difference of colour,
and 1 − correlation.
"""
SMALL_SIDE, SMALL_FACTOR = 48, 2.0
"""Side in pixels below which a copy has lost detail, so that its limits are multiplied by SMALL_FACTOR."""
MIN_DETAIL = 2.0
"""Minimum standard deviation of the local detail of pictures that are compared. (A linear gradient has 0.9.)"""
_FRAME, _CLIP = 3, 4.0


def make_thumbnail(photo: Image.Image, size: tuple[int, int], sha256: str) -> np.ndarray:
    """Return the `THUMBNAIL` of an upright RGB photo.

    Args:
        photo: the photo, possibly decoded at a reduced size.
        size: width and height of the original, upright.
        sha256: digest of the file.
    """
    luma, *colour = photo.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR).convert("YCbCr").split()
    thumbnail = empty_thumbnail(sha256)
    thumbnail["size"], thumbnail["luma"] = size, np.asarray(luma.reduce(2))
    thumbnail["colour"] = np.stack([np.asarray(channel.reduce(4)) for channel in colour], axis=-1)
    return thumbnail


def empty_thumbnail(sha256: str) -> np.ndarray:
    """Return a `THUMBNAIL` with size 0 and without pixels."""
    thumbnail = np.zeros((), THUMBNAIL)
    thumbnail["sha256"] = np.frombuffer(bytes.fromhex(sha256), np.uint8)
    return thumbnail


def smaller_copies(thumbnails: np.ndarray) -> list[int]:
    """Return the indices, in order, of the photos that show the picture of another one with more pixels.

    If the numbers of pixels are equal, the photo with the lower digest is the original. A copy of a copy that does not
    match the original itself is not reported.

    Args:
        thumbnails: `THUMBNAIL` (n,).
    """
    detail = _detail(thumbnails["luma"])
    able = np.flatnonzero((thumbnails["size"].min(axis=1) > 0) & (detail.std(axis=1) >= MIN_DETAIL))
    pixels = thumbnails["size"].astype(np.int64).prod(axis=1)
    digests = [bytes(digest) for digest in thumbnails["sha256"]]
    order = np.array(sorted(able, key=lambda k: (-pixels[k], digests[k])), np.int64)
    thumbnails, detail, coarse = thumbnails[order], detail[order], _coarse(thumbnails["luma"][order])
    limits = np.where(thumbnails["size"].min(axis=1) < SMALL_SIDE, SMALL_FACTOR, 1.0)
    brightness = coarse.mean(axis=1)
    by_brightness = np.argsort(brightness, kind="stable")
    steps, alike = brightness[by_brightness], coarse[by_brightness]
    first = np.searchsorted(steps, brightness - MAX_SHIFT * limits, "left")
    end = np.searchsorted(steps, brightness + MAX_SHIFT * limits, "right")
    copy = np.zeros(len(order), bool)
    for k, limit in enumerate(limits):
        window = slice(first[k], end[k])
        near = by_brightness[window][np.abs(alike[window] - coarse[k]).sum(axis=1) <= MAX_MEAN * limit * COARSE**2]
        near = near[(near < k) & ~copy[near]]
        copy[k] = len(near) > 0 and bool(_is_copy(thumbnails, detail, k, near, float(limit)).any())
    return sorted(int(k) for k in order[copy])


def _is_copy(thumbnails: np.ndarray, detail: np.ndarray, k: int, others: np.ndarray, limit: float) -> np.ndarray:
    """Return for each of the `others` whether photo k shows its picture."""
    one, many = thumbnails[k], thumbnails[others]
    brighter = many["luma"].astype(np.float32) - one["luma"]
    luma = np.abs(brighter)
    colour = np.abs(many["colour"].astype(np.float32) - one["colour"])
    like = detail[others] @ detail[k]
    like /= np.linalg.norm(detail[others], axis=1) * np.linalg.norm(detail[k])
    copies: np.ndarray = (
        _has_same_shape(one["size"], many["size"])
        & (luma.mean(axis=(1, 2)) <= MAX_MEAN * limit)
        & (luma.max(axis=(1, 2)) <= MAX_DIFFERENCE * limit)
        & (np.abs(brighter.mean(axis=(1, 2))) <= MAX_SHIFT * limit)
        & (colour.mean(axis=(1, 2, 3)) <= MAX_COLOUR * limit)
        & (like >= 1 - MAX_DECORRELATION * limit)
    )
    return copies


def _has_same_shape(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return for each size of `large` (n, 2) whether `small` (2,) is a scaled version of it, up to rounding."""
    (width, height), (widths, heights) = small.astype(float), large.astype(float).T
    same: np.ndarray = (
        np.minimum(np.abs(width - widths * height / heights), np.abs(height - heights * width / widths)) <= 1
    )
    return same


def _coarse(luma: np.ndarray) -> np.ndarray:
    """Return the mean brightness of 4 × 4 blocks, f4 (n, 16), a lower bound for 16 × 16 differences."""
    step = SIDE // COARSE
    means: np.ndarray = (
        luma.reshape(-1, COARSE, step, COARSE, step).mean(axis=(2, 4), dtype=np.float32).reshape(-1, COARSE**2)
    )
    return means


def _detail(luma: np.ndarray) -> np.ndarray:
    """Return the difference of each pixel from its four neighbours, f4 (n, 100).

    Pixels at the border are left out and values are clipped at twice their median, so that neither a frame nor a
    horizon dominates.
    """
    y = luma.astype(np.float32)
    inner = 4 * y[:, 1:-1, 1:-1] - y[:, :-2, 1:-1] - y[:, 2:, 1:-1] - y[:, 1:-1, :-2] - y[:, 1:-1, 2:]
    flat = inner[:, _FRAME - 1 : 1 - _FRAME, _FRAME - 1 : 1 - _FRAME].reshape(len(y), (SIDE - 2 * _FRAME) ** 2)
    bound = np.maximum(2 * np.median(np.abs(flat), axis=1, keepdims=True), _CLIP) if len(y) else flat
    clipped: np.ndarray = np.clip(flat, -bound, bound)
    return clipped
