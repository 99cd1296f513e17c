"""Verify every byte of a data set (`verify`), and measure its sampling law (`statistics`)."""

import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import check_file, file_sha256, is_file
from mnistref.common.errors import DataProblemError
from mnistref.metadata.card import pages
from mnistref.spec import CLASSES, COLORS, SCALE_BIN_NAMES, SCALE_BINS, VariantSpec
from mnistref.storage.integrity import is_intact, require_intact
from mnistref.storage.manifest import MANIFEST, PAGES, SUMS, Manifest, checksums_text, expected_checksums, read_manifest
from mnistref.storage.schema import FIELDS, require_range
from mnistref.storage.shards import read_shard, read_shard_info
from mnistref.variants import range_text

log = logging.getLogger("mnistref")


@dataclass(frozen=True)
class Fault:
    """A bad file and what is wrong with it. `stray` files are not part of the data set."""

    file: str
    description: str
    stray: bool = False


def advise_on_faults(faults: list[Fault]) -> str:
    """Return what to do about the faults."""
    mine = "remove what is not part of it, or move it away" if any(fault.stray for fault in faults) else ""
    return "; ".join(filter(None, [mine, "" if all(fault.stray for fault in faults) else "run generate again"]))


def verify(folder: Path) -> list[Fault]:
    """Return everything that is wrong with a data set, one fault per file; empty if every byte is correct.

    Three kinds of checksums identify the bad file. dataset.json stores a digest of itself and of each shard file, each
    shard stores a digest of its arrays, and SHA256SUMS stores the digest of every file.
    """
    folder = Path(folder)
    sums, lines = _read_sums(folder / SUMS)
    if sums and not os.path.lexists(folder / MANIFEST):
        return [Fault(MANIFEST, "missing")]
    try:
        manifest = read_manifest(folder)
    except DataProblemError as error:
        return [Fault(MANIFEST, str(error)), *_checksum_faults(folder, sums, lines)]
    faults = [*_page_faults(folder, manifest, sums), *_shard_faults(folder, manifest)]
    expected = expected_checksums(folder, manifest) | {f.file: sums[f.file] for f in faults if f.file in sums}
    if wrong := check_file(folder / SUMS):
        faults.append(Fault(SUMS, wrong))
    elif (folder / SUMS).read_bytes() != checksums_text(expected).encode():
        faults.append(Fault(SUMS, "differs from what generate writes"))
    known = {shard.file for shard in manifest.shards} | {MANIFEST, SUMS, *PAGES}
    strays = sorted(path.name for path in folder.iterdir() if path.name not in known)
    return faults + [Fault(name, "not part of the data set; remove it or move it away", True) for name in strays]


def _read_sums(path: Path) -> tuple[dict[str, str], list[int]]:
    """Return name → digest, and the numbers of invalid lines."""
    text = path.read_bytes().decode("utf-8", "replace") if is_file(path) else ""
    lines = [re.fullmatch(r"([0-9a-f]{64})  ([\w.-]{1,255})", line, re.ASCII) for line in text.splitlines()]
    return {line[2]: line[1] for line in lines if line}, [k for k, line in enumerate(lines, 1) if not line]


def _checksum_faults(folder: Path, sums: dict[str, str], lines: list[int]) -> Iterator[Fault]:
    """Yield files that differ from SHA256SUMS, the only check without a manifest."""
    for name, digest in sums.items():
        if name == MANIFEST:
            continue
        if wrong := check_file(folder / name):
            yield Fault(name, wrong)
        elif file_sha256(folder / name) != digest:
            yield Fault(name, f"its SHA-256 differs from {SUMS}")
    if lines:
        yield Fault(SUMS, f"line {lines[0]} is not a SHA-256 digest and a file name")


def _page_faults(folder: Path, manifest: Manifest, sums: dict[str, str]) -> Iterator[Fault]:
    """Yield pages whose SHA-256 is wrong.

    The manifest has the correct one. Manifests of older versions have none: then a page is correct if it has the
    SHA-256 in SHA256SUMS or is the page that this version writes.
    """
    if (folder / MANIFEST).read_bytes() != manifest.text().encode():
        yield Fault(MANIFEST, "differs from what generate writes")
    source, digests = (MANIFEST, manifest.pages) if manifest.pages else (SUMS, sums)
    for name, text in pages(manifest).items():
        if wrong := check_file(folder / name):
            yield Fault(name, wrong)
            continue
        found, ours = file_sha256(folder / name), hashlib.sha256(text.encode()).hexdigest()
        if found != digests.get(name) and (manifest.pages or found != ours):
            yield Fault(name, f"its SHA-256 differs from {source}")
        elif found != ours:
            log.info("%s: differs from the page that this version writes, but matches %s", folder / name, source)


def _shard_faults(folder: Path, manifest: Manifest) -> Iterator[Fault]:
    """Yield bad shards. Only files with the correct SHA-256 are opened, because HDF5 can crash on others."""
    for shard in manifest.shards:
        path = folder / shard.file
        if not is_intact(path, shard):
            yield Fault(shard.file, check_file(path) or f"differs from {MANIFEST}")
            continue
        try:
            found = read_shard_info(path, shard.images, manifest.variant.canvas, manifest.folder_name)
        except DataProblemError as error:
            yield Fault(shard.file, str(error).removeprefix(f"{path}: "))
            continue
        if found != shard:
            yield Fault(shard.file, f"differs from {MANIFEST}")


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
        p: p-value of the test of uniformity; None for other rules, or without scipy.
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
    if manifest.spec["pool"] == "disjoint":
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
    else:  # they are unknown for a law of another version, and for other ranges
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


def _chi2(statistic: float, degrees: int) -> float | None:
    """Return the upper tail of the χ² distribution, or None without scipy."""
    try:
        from scipy.stats import chi2
    except ImportError:
        return None
    return float(chi2.sf(statistic, degrees))
