"""Photo sources: `builtin`, `sun397`, or a folder of images. Photos are decoded and scaled once, into a bank in `raw/`.

A photo is prepared in `views` sizes (one, or so many that there are at least 64 in all): the short side of each is
uniform in 1 … 2 × the canvas, decided by the photo's own digest, so a bank serves every seed. A background is a random
crop of a view. Resizing is bicubic, whose weights need no function that differs between machines.
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnistref.errors import DataProblemError, UsageProblemError
from mnistref.files import exclusive, file_sha256, whole_folder
from mnistref.rng import PHOTO_VIEW, Stream
from mnistref.sources.crew import Crew
from mnistref.sources.decode import bad_digests, opened_photo
from mnistref.sources.search import escaped, images_in
from mnistref.spec import SPLITS, canonical_json

log = logging.getLogger("mnistref")

NAMES = ("builtin", "sun397")
BUILTIN = {
    "skimage": (
        *(f"data/{name}.png" for name in ("astronaut", "chelsea", "coffee", "ihc", "motorcycle_left")),
        *(f"data/{name}.jpg" for name in ("hubble_deep_field", "retina", "rocket")),
    ),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
"""The colour photographs in scikit-image and scikit-learn (of the stereo pair, one)."""
LEAST_VIEWS = 64
INDEX, PIXELS = "index.json", "pixels.u1"
BANK_VERSION = 2
"""Of the rules by which photos are prepared: part of the content that a collection is named by."""


@dataclass(frozen=True)
class PhotoList:
    """P different photos in the order of their digests, which is also that of their indices."""

    name: str
    paths: tuple[Path, ...]
    names: tuple[str, ...]
    sha256s: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """Names the collection by its content, and by how it is prepared."""
        return hashlib.sha256("\n".join([f"bank {BANK_VERSION}", *self.sha256s]).encode()).hexdigest()

    @property
    def views(self) -> int:
        """In how many sizes each photo is prepared."""
        return -(-LEAST_VIEWS // len(self.paths)) if len(self.paths) < LEAST_VIEWS else 1


@dataclass(frozen=True)
class Bank:
    """Prepared photos, V = P · views of them: `pixels` u1, flat; `offset`, `height`, `width` i8 (V,)."""

    pixels: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    width: np.ndarray
    views: int


def check_photos(source: str) -> None:
    """A usage error for what is neither a source's name nor a folder."""
    if source not in NAMES and not Path(source).is_dir():
        raise UsageProblemError(f"no photo source {source!r}: give {', '.join(NAMES)}, or a folder of images")


def list_photos(source: str, raw: Path, skip_bad: bool = False) -> PhotoList:
    """`source`: builtin, sun397, or a folder, searched through. Files are named by their SHA-256, not decoded.

    `skip_bad`: leave out those that cannot be read or that `prepare` would refuse; each file is decoded for that once,
    and what was found is kept in `raw`.
    """
    check_photos(source)
    if source == "builtin":
        name, files = "builtin", _builtin()
    elif source == "sun397":
        name, files = "sun397", images_in(_sun397(raw))
    else:
        name, files = escaped(Path(source).resolve().name), images_in(Path(source))
    out: list[str] = []
    photos = _listed(name, files, out if skip_bad else None)
    if skip_bad:
        bad = bad_digests(dict(zip(photos.sha256s, photos.paths, strict=True)), raw)
        out += [n for n, sha256 in zip(photos.names, photos.sha256s, strict=True) if sha256 in bad]
        photos = _chosen(photos, [k for k, sha256 in enumerate(photos.sha256s) if sha256 not in bad])
    if out:
        first = ", ".join(sorted(out)[:3]) + (" …" if len(out) > 3 else "")
        if not photos.paths:
            raise DataProblemError(f"{name}: not one of {len(out)} photos can be used ({first}); give others")
        log.info("%s: %d of %d photos left out: %s", name, len(out), len(out) + len(photos.paths), first)
    return photos


def split_photos(photos: PhotoList, pool: str) -> dict[str, np.ndarray]:
    """Which photos (i8 indices) each split may use: 60 / 20 / 20 % in the order of the digests, or all if pooled."""
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


def prepare(photos: PhotoList, canvas: int, raw: Path) -> Path:
    """The folder of the bank of these photos for this canvas, made if it is not there or damaged."""
    if found := find_bank(photos, canvas, raw):
        return found
    folder = _bank_folder(photos, canvas, raw)
    with exclusive(raw / ".lock", raw):
        if _is_sound(folder):  # made by another process meanwhile
            return folder
        if folder.exists():
            log.info("%s is damaged; preparing the photos again", folder)
            shutil.rmtree(folder)
        log.info("preparing %d photos for %d × %d images (once) …", len(photos.paths), canvas, canvas)
        with whole_folder(folder) as partial:
            _write_bank(photos, canvas, partial)
    return folder


def find_bank(photos: PhotoList, canvas: int, raw: Path) -> Path | None:
    """The folder of that bank if it is there, to the byte. The photos' own files are not asked for."""
    folder = _bank_folder(photos, canvas, raw)
    return folder if _is_sound(folder) else None


def is_prepared(photos: PhotoList, canvas: int, raw: Path) -> bool:
    """Whether there is a bank already (`prepare` looks whether it is sound)."""
    return _bank_folder(photos, canvas, raw).is_dir()


def _bank_folder(photos: PhotoList, canvas: int, raw: Path) -> Path:
    key = canonical_json([photos.sha256, canvas, photos.views])
    return raw / f"photos-{canvas}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


@lru_cache(maxsize=4)
def open_bank(folder: Path) -> Bank:
    """Map a bank into memory; its pages are shared by all processes.

    A data error where its index is damaged; `prepare` looks at the pixels, too.
    """
    try:
        index = _read_index(folder)
    except ValueError as error:
        raise DataProblemError(f"{folder}: damaged; delete it and run again") from error
    height, width = np.array(index["height"], np.int64), np.array(index["width"], np.int64)
    ends = np.cumsum(height * width * 3)
    pixels = np.asarray(np.memmap(folder / PIXELS, np.uint8, "r"))
    return Bank(pixels, ends - height * width * 3, height, width, index["views"])


def _read_index(folder: Path) -> dict[str, Any]:
    """What `_write_bank` wrote; a ValueError if it is anything else, since pixels are addressed by it unchecked."""
    try:
        index = json.loads((folder / INDEX).read_text())
        if index.pop("seal") != _seal(index):
            raise ValueError("its digest is another")
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError("not an index") from error
    return index


def _seal(index: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(index).encode()).hexdigest()


def _is_sound(folder: Path) -> bool:
    try:
        return file_sha256(folder / PIXELS) == _read_index(folder)["sha256"]
    except (OSError, ValueError):
        return False


def _write_bank(photos: PhotoList, canvas: int, folder: Path) -> None:
    heights, widths, digest = [], [], hashlib.sha256()
    crew = Crew()
    prepared = crew.over(
        lambda k: _views(photos.paths[k], photos.sha256s[k], canvas, photos.views, crew),
        range(len(photos.paths)),
        "preparing photos",
    )
    with open(folder / PIXELS, "wb") as file, closing(prepared):
        for views in prepared:
            for view in views:
                heights.append(view.shape[0])
                widths.append(view.shape[1])
                digest.update(view.data)
                file.write(view.data)
    index = {"height": heights, "width": widths, "views": photos.views, "sha256": digest.hexdigest()}
    (folder / INDEX).write_text(canonical_json(index | {"seal": _seal(index)}))


def _views(path: Path, sha256: str, canvas: int, views: int, crew: Crew) -> list[np.ndarray]:
    """A photo in each of its sizes, u1 (h, w, 3)."""
    prepared = []
    with opened_photo(path, crew) as photo:
        for view in range(views):
            crew.go_on()
            short = canvas + Stream(int(sha256[:16], 16), 0, view, PHOTO_VIEW).below(canvas + 1)
            scale = short / min(photo.size)
            size = [max(short, round(side * scale)) for side in photo.size]
            prepared.append(np.asarray(photo.resize((size[0], size[1]), Image.Resampling.BICUBIC)))
    return prepared


def _listed(name: str, files: Sequence[tuple[str, Path]], out: list[str] | None) -> PhotoList:
    """The different ones of files. Those that cannot be read are an error or, if there is one, added to `out`."""
    crew, unique = Crew(), dict[str, tuple[str, Path]]()
    copies = 0
    with closing(crew.over(_digest, files, "reading photos")) as digests:
        for file, found in zip(files, digests, strict=True):
            if isinstance(found, str):
                copies += found in unique
                unique.setdefault(found, file)
            elif out is None:
                raise found
            else:
                out.append(escaped(file[0]))
    if copies:
        log.info("%s: %d photos occur more than once and count once", name, copies)
    order = sorted(unique)
    return PhotoList(name, tuple(unique[s][1] for s in order), tuple(unique[s][0] for s in order), tuple(order))


def _digest(file: tuple[str, Path]) -> str | Exception:
    """The file's SHA-256, or why it cannot be had or named."""
    name, path = file
    if escaped(name) != name:  # found now, and not when the finished set's manifest is to name it
        return DataProblemError(f"{escaped(str(path))}: a file name that is not UTF-8; rename it (or give --skip-bad)")
    try:
        return file_sha256(path)
    except OSError as error:
        error.filename = error.filename or str(path)
        return error


def _chosen(photos: PhotoList, left: list[int]) -> PhotoList:
    paths, names, sha256s = photos.paths, photos.names, photos.sha256s
    return PhotoList(
        photos.name, tuple(paths[k] for k in left), tuple(names[k] for k in left), tuple(sha256s[k] for k in left)
    )


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
    """The SUN397 folder under `raw`, downloaded with torchvision (37 GB) if it is not there."""
    from torchvision.datasets import SUN397

    try:
        SUN397(str(raw), download=True)
    except Exception as error:
        raise DataProblemError(
            f"SUN397 could not be fetched ({str(error).splitlines()[0] if str(error) else type(error).__name__}); "
            f"unpack it into {raw / 'SUN397'}, or give --backgrounds builtin or a folder of images"
        ) from error
    return raw / "SUN397"
