"""Photo sources: `builtin`, `sun397`, or a folder of images."""

import hashlib
import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from mnistref.common.atomic_files import file_sha256, path_to_text
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean
from mnistref.common.text_table import escaped
from mnistref.sources.copies import smaller_copies
from mnistref.sources.exclusions import BAD, COPY, SMALLER, Exclusions
from mnistref.sources.image_files import find_images
from mnistref.sources.photo_checks import inspect_photo_files
from mnistref.sources.thread_pool import BoundedThreadPool
from mnistref.spec import SPLITS

log = logging.getLogger("mnistref")

NAMES = ("builtin", "sun397")
BUILTIN = {
    "skimage": (
        *(f"data/{name}.png" for name in ("astronaut", "chelsea", "coffee", "ihc", "motorcycle_left")),
        *(f"data/{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")),
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""Colour photographs in scikit-image and scikit-learn (one image of the stereo pair)."""
MIN_VIEWS = 64
BANK_VERSION = 2
"""Version of the rules by which photos are prepared, part of the digest of a collection."""


@dataclass(frozen=True)
class PhotoList:
    """P different photos in the order of their digests, which is also the order of their indices.

    `names` are paths below the folder, encoded by `mnistref.common.atomic_files.path_to_text`.
    """

    name: str
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    sha256s: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Digest of the collection, by its content and the rules of preparation."""
        return hashlib.sha256("\n".join([f"bank {BANK_VERSION}", *self.sha256s]).encode()).hexdigest()

    @property
    def views(self) -> int:
        """Number of sizes in which each photo is prepared."""
        return -(-MIN_VIEWS // len(self.paths)) if len(self.paths) < MIN_VIEWS else 1


def require_photo_source(source: str) -> None:
    """Raise UsageProblemError unless `source` is a known name or a folder."""
    if source not in NAMES and not (source and Path(source).is_dir()):  # Path("") is the working directory
        raise UsageProblemError(f"no photo source {source!r}: {did_you_mean(source, NAMES)}, or a folder of images")


def list_photos(source: str, raw: Path, skip_bad: bool = False, skip_copies: bool = False) -> PhotoList:
    """Return the photos of a source, and log in one line which files are left out.

    A file is decoded only for a verdict or a thumbnail that is not in the cache, see `mnistref.sources.photo_checks`.

    Args:
        source: builtin, sun397, or a folder, which is searched with its subfolders.
        raw: the folder of the caches and downloads.
        skip_bad: leave out files that cannot be read or decoded.
        skip_copies: leave out copies of other photos at another size or quality, so that no two splits share a picture.

    Raises:
        UsageProblemError: there is no such source.
        DataProblemError: a file is unreadable and `skip_bad` is off, or no photo remains.
    """
    require_photo_source(source)
    exclusions = Exclusions()
    if source == "builtin":
        name, files = "builtin", _builtin()
    elif source == "sun397":
        name, files = "sun397", find_images(_sun397(raw), exclusions)
    else:
        name, files = escaped(Path(source).resolve().name), find_images(Path(source), exclusions)
    photos = _usable(
        _build_photo_list(name, files, exclusions, skip_bad),
        raw,
        exclusions,
        skip_bad,
        skip_copies and source != "builtin",
    )
    bad = exclusions.names(BAD)
    if not photos.paths:
        first = ", ".join(bad[:3]) + (" …" if len(bad) > 3 else "")
        raise DataProblemError(f"{name}: not one of {len(bad)} photos can be used ({first}); give others")
    if exclusions:
        log.info("%s: %s used; left out: %s", name, f"{len(photos.paths):,}", exclusions)
    return photos


def _usable(photos: PhotoList, raw: Path, exclusions: Exclusions, skip_bad: bool, skip_copies: bool) -> PhotoList:
    """Return the photos without unusable ones and without smaller copies, as requested."""
    if not (skip_bad or skip_copies):
        return photos
    paths = dict(zip(photos.sha256s, photos.paths, strict=True))
    bad, thumbnails = inspect_photo_files(paths, raw, skip_bad, skip_copies)
    photos = _without(photos, {k for k, sha256 in enumerate(photos.sha256s) if sha256 in bad}, exclusions, BAD)
    return _without(photos, set(smaller_copies(thumbnails)), exclusions, SMALLER)


def _without(photos: PhotoList, out: set[int], exclusions: Exclusions, reason: tuple[str, str]) -> PhotoList:
    """Return the photos except those with these indices, whose names are added to `exclusions`."""
    for k in sorted(out):
        exclusions.add(reason, photos.names[k])
    kept = [k for k in range(len(photos.paths)) if k not in out]
    paths, names, sha256s = photos.paths, photos.names, photos.sha256s
    return PhotoList(
        photos.name, tuple(paths[k] for k in kept), tuple(names[k] for k in kept), tuple(sha256s[k] for k in kept)
    )


def split_photos(photos: PhotoList, pool: str) -> dict[str, np.ndarray]:
    """Return the photos of each split, i8 indices: 60 / 20 / 20 % in the order of the digests, or all if pooled.

    Raises:
        DataProblemError: there are too few photos for disjoint splits.
    """
    everyone = np.arange(len(photos.paths))
    if pool == "pooled":
        return dict.fromkeys(SPLITS, everyone)
    if len(everyone) < len(SPLITS):
        raise DataProblemError(
            f"{photos.name}: {len(everyone)} photo{'s' * (len(everyone) > 1)} cannot be split three ways; "
            "give more, or --pool pooled"
        )
    fifth = max(1, len(everyone) // 5)
    return dict(zip(SPLITS, np.split(everyone, [len(everyone) - 2 * fifth, len(everyone) - fifth]), strict=True))


def _build_photo_list(
    name: str, files: Sequence[tuple[str, Path]], exclusions: Exclusions, skip_bad: bool
) -> PhotoList:
    """Return the different files. Unreadable ones raise, or are left out with `skip_bad`."""
    pool, unique = BoundedThreadPool(), dict[str, tuple[str, Path]]()
    with closing(pool.map(_digest, files, "reading photos")) as digests:
        for file, found in zip(files, digests, strict=True):
            if isinstance(found, str):
                if unique.setdefault(found, file) is not file:
                    exclusions.add(COPY, file[0])
            elif skip_bad:
                exclusions.add(BAD, escaped(file[0]))
            else:
                raise found
    order = sorted(unique)
    names = tuple(path_to_text(unique[s][0]) for s in order)
    return PhotoList(name, tuple(unique[s][1] for s in order), names, tuple(order))


def _digest(file: tuple[str, Path]) -> str | Exception:
    """Return the file's SHA-256, or the error if it cannot be read."""
    _, path = file
    try:
        return file_sha256(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        return error


def _builtin() -> list[tuple[str, Path]]:
    found = []
    for package, files in BUILTIN.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise DataProblemError(
                "the builtin photos come with scikit-image and scikit-learn: pip install scikit-image scikit-learn "
                "(or give --backgrounds a folder of images)"
            )
        for file in files:
            path = Path(spec.origin).parent / file
            if not path.is_file():
                raise DataProblemError(f"{path}: this release of {package} lacks the photo; install another")
            found.append((f"{package}/{path.name}", path))
    return found


def _sun397(raw: Path) -> Path:
    """Return the SUN397 folder under `raw`. Download it with torchvision (37 GB) if it is missing."""
    from torchvision.datasets import SUN397

    try:
        SUN397(str(raw), download=True)
    except Exception as error:
        raise DataProblemError(
            f"SUN397 could not be fetched ({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            f"unpack it into {raw / 'SUN397'}, or give --backgrounds builtin or a folder of images"
        ) from error
    return raw / "SUN397"
