"""Check whether the ink of digits is plausible, and describe what is wrong with the values otherwise.

The masks of a data set are all pixels above 0. A background above 0, noise, and the artefacts of lossy files around a
stroke would all count as ink, and the mask of an image that is all ink is a whole square.

Measured on MNIST, mnist5k (also rotated, shifted, scaled, bold, thin, or blurred by 2 pixels), fonts, and
scikit-learn's digits scaled to 20 and 28 pixels. Means over a collection:

- `ink`, the share of a square above 0: .08 … .70. Black on white 0.87 or more.
- `bright`, the share above 127: up to 0.4. Black on white 0.6 or more.
- `stray`, the share of ink more than 3 pixels from any pixel brighter than a quarter of the maximum: up to .022. JPEG
  files .05, faint noise on a tenth of the background .047, on half of it .23, a background above 0 .46.
- `specks`, the share of ink in single pixels without neighbouring ink, diagonals included: 5e-5 in MNIST and mnist5k.
  Salt noise (white pixels at random places) on 1 % of the background .035, on 5 % .11, on 20 % .08.
- `border`, the share of the outermost pixels above 0: up to .33. Noise as bright as strokes .46 or more.

For single images, `stray` is up to .1, `border` .76 and `ink` .93.
"""

from dataclasses import dataclass

import numpy as np

from mnistref.spec import GLYPH

BRIGHT, FULL, STRAY, SPECKS, BORDER = 0.5, 0.8, 0.04, 0.015, 0.45
"""Maxima of mean shares over a pool: of the square above 127, of the square above 0, of stray pixels, of the ink that
lies in specks, and of the border above 0."""
ONE_FULL, ONE_STRAY, ONE_BORDER = 0.95, 0.15, 0.9
"""Limits of the same shares of a single image."""
FAINT, ONE_FAINT = 64, 32
"""Minimum of the brightest value of an image: for the median over a pool, and for a single image."""
ODD, MIXED = 0.001, 0.9
"""Share of faulty images that a pool may have, and the share above which the message describes the whole pool."""
_NEARLY_ALL = "are nearly all ink, as masks count it (above 0); save them white on black (255 − value), or remove them"
_HARDLY_SEEN = f"can hardly be seen, their brightest value is below {ONE_FAINT}; make them brighter, or remove them"
_ALL_OVER = "have ink all over their square, as masks count it (above 0); set their ground to 0"
_FAR, _STROKE = 3, 0.25
_PART_IMAGES = 4096  # checked at a time, which bounds the memory


@dataclass(frozen=True)
class Ink:
    """Counts of each image, (M,): the shares in the module docstring, and its largest and smallest value."""

    ink: np.ndarray
    bright: np.ndarray
    stray: np.ndarray
    specks: np.ndarray
    border: np.ndarray
    most: np.ndarray
    least: np.ndarray

    def select(self, part: np.ndarray) -> "Ink":
        """Return the counts of some of the images."""
        return Ink(**{name: counted[part] for name, counted in vars(self).items()})


def count_ink(images: np.ndarray) -> Ink:
    """Return the counts of images, u1 (M, 28, 28)."""
    parts = [images[first : first + _PART_IMAGES] for first in range(0, len(images), _PART_IMAGES)]
    outer = np.ones((GLYPH, GLYPH), bool)
    outer[1:-1, 1:-1] = False
    return Ink(
        ink=np.concatenate([(x > 0).mean(axis=(1, 2)) for x in parts]),
        bright=np.concatenate([(x > 127).mean(axis=(1, 2)) for x in parts]),
        stray=np.concatenate([stray_ink(x).mean(axis=(1, 2)) for x in parts]),
        specks=np.concatenate([_speck_share(x) for x in parts]),
        border=np.concatenate([(x[:, outer] > 0).mean(axis=1) for x in parts]),
        most=images.max(axis=(1, 2)),
        least=images.min(axis=(1, 2)),
    )


def stray_ink(images: np.ndarray) -> np.ndarray:
    """Return which pixels above 0 are far from every stroke of their image, bool (n, 28, 28)."""
    stroke = images > _STROKE * images.max(axis=(1, 2), keepdims=True)
    near = np.pad(stroke, ((0, 0), (_FAR, _FAR), (_FAR, _FAR)))
    near = np.logical_or.reduce([near[:, k : k + GLYPH] for k in range(2 * _FAR + 1)])
    near = np.logical_or.reduce([near[:, :, k : k + GLYPH] for k in range(2 * _FAR + 1)])
    stray: np.ndarray = (images > 0) & ~near
    return stray


def _speck_share(images: np.ndarray) -> np.ndarray:
    """Return the share of the ink of each image in single pixels that touch no other ink, f8 (n,)."""
    ink = images > 0
    wide = np.pad(ink, ((0, 0), (1, 1), (1, 1))).view(np.uint8)
    rows = wide[:, :-2] + wide[:, 1:-1] + wide[:, 2:]
    around = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]  # with the pixel itself
    share: np.ndarray = (ink & (around == 1)).sum(axis=(1, 2)) / np.maximum(ink.sum(axis=(1, 2)), 1)
    return share


def check_ink(images: np.ndarray, pools: dict[str, np.ndarray]) -> str | None:
    """Return what is wrong with the pixel values of images and how to fix it, or None.

    Args:
        images: u1 (M, 28, 28).
        pools: name of each pool → indices of its images. Each pool is checked separately.
    """
    counted = count_ink(images)
    said = [_describe_pool_fault(name, images, part, counted.select(part)) for name, part in pools.items()]
    wrong = next((fault for fault in said if fault), None)
    if wrong and all(said) and len(said) > 1:  # named once
        everything = np.concatenate(list(pools.values()))
        return _describe_pool_fault("digits", images, everything, counted.select(everything)) or wrong
    return wrong


def _describe_pool_fault(name: str, images: np.ndarray, part: np.ndarray, counted: Ink) -> str | None:
    """Return what is wrong with the images of a pool: with some of them, or with the pool as a whole."""
    stray = counted.stray > ONE_STRAY
    full = ((counted.ink > ONE_FULL) | (counted.border > ONE_BORDER)) & ~stray
    faint = counted.most < ONE_FAINT
    for fault, odd in ((_NEARLY_ALL, full), (_HARDLY_SEEN, faint)):
        if odd.sum() < MIXED * len(odd) and (wrong := _describe_odd_images(name, odd, fault)):
            return wrong
    return _describe_common_fault(name, images, part, counted) or _describe_odd_images(name, stray, _ALL_OVER)


def _describe_common_fault(name: str, images: np.ndarray, part: np.ndarray, counted: Ink) -> str | None:
    """Return what is wrong with the values of a pool as a whole."""
    brightest = float(np.median(counted.most))
    if counted.most.max() <= 1:
        return f"the values of the {name} are 0 … 1 and must be 0 … 255; multiply them by 255"
    if brightest < FAINT:
        return f"the {name} can hardly be seen, their brightest value is {brightest:.0f}; scale them to 0 … 255"
    if np.ptp(counted.ink) == 0 and (images[part] == images[part[0]]).all():
        return f"all {len(part):,} images of the {name} are the same; give others"
    if (share := float(counted.bright.mean())) > BRIGHT:
        return (
            f"the {name} are black on white ({share:.0%} is inked), or noise; save them white on black (255 − value), "
            "or give others"
        )
    if counted.ink.mean() > FULL and np.median(counted.least) > 0:
        ground = int(np.median(images[part][:, [0, -1]]))
        return f"the ground of the {name} is {ground}, so that masks would be squares; save them white on black (0)"
    if counted.ink.mean() > FULL or counted.stray.mean() > STRAY or counted.border.mean() > BORDER:
        return (
            f"the ground of the {name} is not black: {counted.ink.mean():.0%} of their pixels are above 0, "
            f"which masks count as ink; {_cleaning(images[part], counted)}"
        )
    if (specks := float(counted.specks.mean())) > SPECKS:
        return (
            f"the {name} are speckled: {specks:.0%} of their ink is in single pixels that touch no other ink, as of "
            "noise; remove these pixels"
        )
    return None


def _cleaning(images: np.ndarray, counted: Ink) -> str:
    """Return advice for a background that is not black: the largest value to set to 0."""
    if counted.stray.mean() <= STRAY:
        return "save them without noise, or set dark values to 0"
    some = images[np.argsort(counted.stray)[-_PART_IMAGES:]]
    stray = some[stray_ink(some)]
    return f"set values up to {np.percentile(stray, 99):.0f} to 0"


def _describe_odd_images(name: str, odd: np.ndarray, fault: str) -> str | None:
    """Return the number of odd images of a pool and what is wrong with them, or None if there are only a few."""
    if odd.sum() <= ODD * len(odd):
        return None
    first = int(np.flatnonzero(odd)[0])
    return f"{odd.sum():,} of {len(odd):,} {name}, the first is number {first:,} (from 0), {fault}"
