"""Photos that show the same picture at another size, format or quality: found by how they look at 16 × 16.

A pair counts as one picture where all of this holds: both have the same shape, within the rounding of a side; their
brightness and colour differ little, on average and in every place; what stands out from its surroundings correlates.

The limits lie far from photos that differ. Of 1,577 photographs of 8 scenes, no two different ones came nearer than a
mean difference of 11 and a correlation of 0.75 (limits: 3 and 0.9); an edited one, whose shadows are tinted, came to a
difference of 5.4. Of copies whose short side has 32 to 256 pixels, scaled by three filters and saved as JPEG (quality
30 to 75), WebP, GIF or PNG, 99 % or more are found; of those of 24 pixels 95 %, of 16 pixels less than half.

Cropped, mirrored, turned and edited copies count as other pictures. Pictures without structure, such as a plain sky,
are not compared: nothing tells them apart.
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
"""How one photo looks: its width and height, and its brightness and colour (blue and red difference) in the small."""
MAX_MEAN, MAX_DIFFERENCE, MAX_SHIFT, MAX_COLOUR, MAX_DECORRELATION = 3.0, 20.0, 1.5, 3.0, 0.1
"""Limits: of the mean and the largest difference of brightness, of the difference of the mean brightness, of the mean
difference of colour, and of 1 − correlation."""
SMALL_SIDE, SMALL_FACTOR = 48, 2.0
"""A copy whose short side has fewer pixels has lost more: so many times the limits hold for it."""
MIN_DETAIL = 2.0
"""Pictures in which less than this stands out are not compared. (A linear gradient has 0.9.)"""
_FRAME, _CLIP = 3, 4.0


def make_thumbnail(photo: Image.Image, size: tuple[int, int], sha256: str) -> np.ndarray:
    """Return how an upright RGB photo looks, a `THUMBNAIL`. `size`: of the original, upright."""
    luma, *colour = photo.resize((2 * SIDE, 2 * SIDE), Image.Resampling.BILINEAR).convert("YCbCr").split()
    thumbnail = empty_thumbnail(sha256)
    thumbnail["size"], thumbnail["luma"] = size, np.asarray(luma.reduce(2))
    thumbnail["colour"] = np.stack([np.asarray(channel.reduce(4)) for channel in colour], axis=-1)
    return thumbnail


def empty_thumbnail(sha256: str) -> np.ndarray:
    """Return what stands for a photo that cannot be decoded: its size is 0."""
    thumbnail = np.zeros((), THUMBNAIL)
    thumbnail["sha256"] = np.frombuffer(bytes.fromhex(sha256), np.uint8)
    return thumbnail


def smaller_copies(thumbnails: np.ndarray) -> list[int]:
    """Return the indices, in order, of those `thumbnails` (n,) that show the picture of another one with more pixels.

    Where pixels are as many, the photo with the lower digest is the original. A copy of a copy that is not like the
    original itself is kept.
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
    return (
        _has_same_shape(one["size"], many["size"])
        & (luma.mean(axis=(1, 2)) <= MAX_MEAN * limit)
        & (luma.max(axis=(1, 2)) <= MAX_DIFFERENCE * limit)
        & (np.abs(brighter.mean(axis=(1, 2))) <= MAX_SHIFT * limit)
        & (colour.mean(axis=(1, 2, 3)) <= MAX_COLOUR * limit)
        & (like >= 1 - MAX_DECORRELATION * limit)
    )


def _has_same_shape(small: np.ndarray, large: np.ndarray) -> np.ndarray:
    """Return whether a size (2,) is one of those (n, 2), scaled: one side by the other, rounded up or down."""
    (width, height), (widths, heights) = small.astype(float), large.astype(float).T
    return np.minimum(np.abs(width - widths * height / heights), np.abs(height - heights * width / widths)) <= 1


def _coarse(luma: np.ndarray) -> np.ndarray:
    """Return the mean brightness of 4 × 4 places, f4 (n, 16): their mean difference is no more than that of 16 × 16."""
    step = SIDE // COARSE
    return luma.reshape(-1, COARSE, step, COARSE, step).mean(axis=(2, 4), dtype=np.float32).reshape(-1, COARSE**2)


def _detail(luma: np.ndarray) -> np.ndarray:
    """Return how far each place stands out from its four neighbours, f4 (n, 100).

    Places at the border are left out and values are clipped at twice their median, so that neither a frame nor a
    horizon speaks for the whole picture.
    """
    y = luma.astype(np.float32)
    inner = 4 * y[:, 1:-1, 1:-1] - y[:, :-2, 1:-1] - y[:, 2:, 1:-1] - y[:, 1:-1, :-2] - y[:, 1:-1, 2:]
    flat = inner[:, _FRAME - 1 : 1 - _FRAME, _FRAME - 1 : 1 - _FRAME].reshape(len(y), (SIDE - 2 * _FRAME) ** 2)
    bound = np.maximum(2 * np.median(np.abs(flat), axis=1, keepdims=True), _CLIP) if len(y) else flat
    return np.clip(flat, -bound, bound)
