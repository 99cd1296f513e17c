"""Measure the sampling law of a data set."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnistref.common.errors import DataProblemError
from mnistref.spec import CLASSES, COLORS, DISJOINT, SCALE_BIN_NAMES, SCALE_BINS, VariantSpec
from mnistref.storage.integrity import require_intact
from mnistref.storage.manifest import Manifest, read_manifest
from mnistref.storage.schema import FIELDS, require_range
from mnistref.storage.shards import read_shard
from mnistref.variants import is_changed, range_text


@dataclass(frozen=True)
class ExpectedShare:
    """The expected and the measured share of one value of a quantity.

    Attributes:
        of: the quantity, a key of `plot.PANELS`.
        value: the value, or the bin of values.
        expected: fraction, 0 … 1.
        measured: fraction, 0 … 1.
    """

    of: str
    value: str
    expected: float
    measured: float


@dataclass(frozen=True)
class LawCheck:
    """The comparison of one rule of the sampling law with one split.

    Attributes:
        split: name of the split; "all" for a rule about all splits.
        law: the rule, in words.
        expected: expected value, as text.
        measured: measured value, as text.
        p: p-value of the test of uniformity; None for other rules.
        holds: whether the measured value is within the tolerance.
        shares: the numbers behind the two texts, for the plot.
    """

    split: str
    law: str
    expected: str
    measured: str
    p: float | None
    holds: bool
    shares: tuple[ExpectedShare, ...] = ()


MIN_P = 0.001
_SCALE_ROUNDING = 2.0**-22


def statistics(folder: Path) -> list[LawCheck]:
    """Return the laws of the variant measured on each split, and the disjointness of the splits."""
    manifest = read_manifest(folder)
    laws: list[LawCheck] = []
    used: dict[str, dict[str, set[int]]] = {"digits": {}, "photos": {}}
    for split in manifest.splits:
        sample = _sample(Path(folder), manifest, split)
        laws += _laws(split, manifest, sample)
        used["digits"][split] = set(np.unique(sample["digit_source"])) - {-1}
        used["photos"][split] = set(np.unique(sample["photo"])) - {-1}
    if manifest.spec["pool"] == DISJOINT:
        for kind, of_split in used.items():
            shared = sum(len(a & b) for s, a in of_split.items() for t, b in of_split.items() if s < t)
            laws.append(
                LawCheck("all", f"{kind} in two splits", expected="0", measured=str(shared), p=None, holds=shared == 0)
            )
    return laws


def _sample(folder: Path, manifest: Manifest, split: str) -> dict[str, np.ndarray]:
    """Return all fields of a split except the images, and `ink`: pixels of each digit, i8 (N, 9)."""
    names = [name for name in FIELDS if name != "image"]
    parts = []
    for shard in manifest.splits[split]:
        require_intact(folder / shard.file, shard)
        part = read_shard(folder / shard.file, shard.images, manifest.variant.canvas, names)
        _require_consistent_fields(part, folder / shard.file)
        instance = part.pop("instance").reshape(shard.images, -1)
        part["ink"] = np.stack([(instance == k + 1).sum(axis=1) for k in range(part["digit_class"].shape[1])], axis=1)
        parts.append(part)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _require_consistent_fields(fields: dict[str, np.ndarray], path: Path) -> None:
    """Raise DataProblemError if the fields contradict each other, as in a forged shard with valid digests."""
    for name, array in fields.items():
        require_range(name, array, str(path))
    there = fields["digit_class"] >= 0
    if not there.any() or any((there != (fields[name] >= 0)).any() for name in ("digit_color", "digit_source")):
        raise DataProblemError(f"{path}: its fields contradict each other; run generate again")


def _laws(split: str, manifest: Manifest, sample: dict[str, np.ndarray]) -> Iterator[LawCheck]:
    variant, there = manifest.variant, sample["digit_class"] >= 0
    low, high = variant.digits
    counts = np.bincount(sample["count"], minlength=high + 1)[low:]
    names = [str(n) for n in range(low, low + len(counts))]
    yield _uniform(
        split, f"digits in an image: {range_text(variant.digits)}, uniform", "digits in an image", names, counts
    )
    yield _classes_uniform(split, sample["digit_class"])
    colors = np.bincount(sample["digit_color"][there], minlength=len(COLORS))
    yield _uniform(split, "colours uniform", "colour", list(COLORS), colors)
    if variant.expected_shares:
        yield from _scales(split, variant, sample["digit_scale"][there])
        yield _ink(split, variant, sample["ink"][there])
    elif is_changed(variant.note):  # they are unknown, as for a law of another version
        yield _scale_range(split, variant, sample["digit_scale"][there])
    box = sample["digit_box"][there]
    inside = bool((box.min() >= 0) and (box.max() <= variant.canvas))
    yield LawCheck(
        split, "boxes inside the canvas", expected="all", measured="all" if inside else "not all", p=None, holds=inside
    )
    sides = np.floor(28 * sample["digit_scale"][there].astype(np.float64))
    square = bool((box[:, 2] - box[:, 0] == sides).all() and (box[:, 3] - box[:, 1] == sides).all())
    yield LawCheck(
        split, "side = ⌊28 · scale⌋", expected="all", measured="all" if square else "not all", p=None, holds=square
    )


def _ink(split: str, variant: VariantSpec, pixels: np.ndarray) -> LawCheck:
    """Return the law of the mean ink of a digit.

    The tolerance is 5 standard errors, and at least 10 %. The standard deviation of the ink of a digit is 1.29 times
    the mean on 100 px, and less on other canvases. With few digits the tolerance can exceed 100 %. The lower limit is
    never less than a tenth of the expected ink, so that digits without ink are found.
    """
    ink, wanted = float(pixels.mean()) / variant.canvas**2, variant.expected_ink
    spread = max(0.1, 5 * 1.29 / math.sqrt(len(pixels)))
    holds = max(0.1, 1 - spread) * wanted <= ink <= (1 + spread) * wanted
    share = ExpectedShare("canvas", "mean ink", wanted, ink)
    return LawCheck(
        split,
        "mean ink of a digit",
        expected=f"{100 * wanted:.2f} %",
        measured=f"{100 * ink:.2f} %",
        p=None,
        holds=holds,
        shares=(share,),
    )


def _scales(split: str, variant: VariantSpec, scale: np.ndarray) -> Iterator[LawCheck]:
    """Yield the share of digits in each bin of scales."""
    for bin_name, expected, (bottom, top) in zip(SCALE_BIN_NAMES, variant.expected_shares, SCALE_BINS, strict=True):
        measured, name = float(((scale >= bottom) & (scale < top)).mean()), bin_name.replace("_", "–")
        spread = math.sqrt(max(expected * (1 - expected), 1e-9) / len(scale))
        holds, share = (
            abs(measured - expected) <= max(0.01, 4 * spread),
            ExpectedShare("scale", name, expected, measured),
        )
        yield LawCheck(
            split,
            f"scale {name}",
            expected=f"{100 * expected:.1f} %",
            measured=f"{100 * measured:.1f} %",
            p=None,
            holds=holds,
            shares=(share,),
        )


def _scale_range(split: str, variant: VariantSpec, scale: np.ndarray) -> LawCheck:
    """Return the law of the smallest and the largest scale. Scales are multiples of 2⁻²¹."""
    (low, high), smallest, largest = variant.scales, float(scale.min()), float(scale.max())
    return LawCheck(
        split,
        "scale within its range",
        expected=range_text(variant.scales),
        measured=f"{smallest:.3f}–{largest:.3f}",
        p=None,
        holds=low - _SCALE_ROUNDING <= smallest and largest <= high + _SCALE_ROUNDING,
    )


def _uniform(split: str, law: str, of: str, names: list[str], counts: np.ndarray) -> LawCheck:
    """Return the χ² test of counts against equal shares."""
    mean = counts.mean()
    if len(counts) == 1:
        return _equal_shares(split, law, of=of, names=names, counts=counts, p=None)
    p = _chi2(float(((counts - mean) ** 2 / mean).sum()), len(counts) - 1) if mean else 0.0
    return _equal_shares(split, law, of=of, names=names, counts=counts, p=p)


def _classes_uniform(split: str, digit_class: np.ndarray) -> LawCheck:
    """Return the χ² test of how many images show each class.

    Classes of an image differ, so the variance is that of drawing without replacement: n (10 − n) / 90 for an image
    that shows n.
    """
    shown = np.stack([(digit_class == c).any(axis=1) for c in range(CLASSES)], axis=1)
    n = shown.sum(axis=1)
    counts = shown.sum(axis=0)
    variance = float((n * (CLASSES - n)).sum()) / (CLASSES * (CLASSES - 1))
    p = _chi2(float(((counts - counts.mean()) ** 2).sum()) / variance, CLASSES - 1) if variance else None
    return _equal_shares(
        split, "classes uniform", of="class", names=[str(c) for c in range(CLASSES)], counts=counts, p=p
    )


def _equal_shares(split: str, law: str, of: str, names: list[str], counts: np.ndarray, p: float | None) -> LawCheck:
    expected, found = 1 / len(counts), counts / max(1, counts.sum())
    measured = f"{100 * found.min():.1f}–{100 * found.max():.1f} %"
    shares = tuple(ExpectedShare(of, name, expected, float(share)) for name, share in zip(names, found, strict=True))
    return LawCheck(
        split,
        law,
        expected=f"{100 * expected:.1f} % each",
        measured=measured,
        p=p,
        holds=p is None or p > MIN_P,
        shares=shares,
    )


def _chi2(statistic: float, degrees: int) -> float:
    """Return the upper tail of the χ² distribution. Without SciPy, PyTorch computes it and is slower to import."""
    try:
        from scipy.special import gammaincc
    except ImportError:
        import torch

        half = torch.tensor([degrees / 2, statistic / 2], dtype=torch.float64)
        return float(torch.special.gammaincc(*half))
    return float(gammaincc(degrees / 2, statistic / 2))
