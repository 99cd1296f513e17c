"""Images of a set's training split beyond its own, drawn when they are wanted: by the set's law, from its sources.

Image i of a split is the same whatever the split's size, so a split of N images goes on with the images N, N + 1, …
Digits and photos are those that the split itself may use.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.common.numba_jit import COMPILED
from mnistref.generation.shard_worker import ShardJob, draw
from mnistref.queries import Triples, triples
from mnistref.sources import bank, digits, photos
from mnistref.spec import LAW_VERSION
from mnistref.storage.manifest import Manifest, Source, read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import content_digest

SPLIT = "train"
_BLOCK_BYTES = 40e6
"""Bytes that a thread draws into before they are copied to where they are wanted: under a tenth of a second's work."""


@dataclass(frozen=True)
class Fresh:
    """Draws images of the training split of `manifest`'s set. `job`: what a worker is asked for, but for the range."""

    manifest: Manifest
    job: ShardJob

    @property
    def images(self) -> int:
        """N, how many the split itself has."""
        return self.manifest.images(SPLIT)

    def draw(
        self, first: int, images: int, *names: str, threads: int = 1, stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, np.ndarray]:
        """Fields of the images `first`, `first` + 1, …: name → array (images, …), see `schema.FIELDS`.

        Drawn by so many threads, which hold the GIL for moments only; with one, by the caller's. Once `stopped` says so
        they end early, and what was not drawn is left as it came from memory.
        """
        canvas = self.manifest.variant.canvas
        arrays = {name: np.empty(FIELDS[name].full_shape(images, canvas), FIELDS[name].dtype) for name in names}
        step = max(1, int(_BLOCK_BYTES // (canvas**2 * 4)))

        def part(start: int) -> None:
            if stopped():
                return
            end = min(start + step, images)
            drawn = draw(replace(self.job, first=first + start, images=end - start))
            for name, array in arrays.items():
                array[start:end] = getattr(drawn, name)

        if threads == 1:
            for start in range(0, images, step):
                part(start)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(part, range(0, images, step)))
        return arrays

    def triples(self, units: str, arrays: dict[str, np.ndarray]) -> Triples:
        """The questions about drawn images, in one of the `queries.UNITS`; see `ASKED` for the fields it takes."""
        return triples(self.manifest.variant, units, **{name: arrays[name] for name in ASKED})


ASKED = ("digit_class", "digit_color", "query_slot")
"""The fields that questions are made of."""


def open_fresh(folder: Path, raw: Path, digits_at: str | None = None, photos_at: str | None = None) -> Fresh:
    """What draws more images for the set in `folder`, its sources found and known by their content.

    Args:
        folder: a finished set.
        raw: where sources are kept, see `generate`. Photos that are prepared there are not asked for elsewhere.
        digits_at, photos_at: folders, where the set's digits or photos came from folders.

    Raises:
        UsageProblemError: numba is missing, or it is not said where a source lies. DataProblemError: a source is no
            longer what the set was made of, or this program draws other images than the set holds.
    """
    manifest = read_manifest(folder)
    if not COMPILED:
        raise UsageProblemError("images are drawn beside a training by compiled code only: pip install numba")
    if manifest.spec["law_version"] != LAW_VERSION:
        made_by = manifest.spec["law_version"]
        raise DataProblemError(f"{folder}: made by version {made_by} of the law, this program draws by {LAW_VERSION}")
    manifest.require_split(SPLIT)
    fresh = Fresh(manifest, _job(Path(folder), manifest, raw.absolute(), digits_at, photos_at))
    own = manifest.splits[SPLIT][0]
    if content_digest(draw(replace(fresh.job, first=0, images=own.images))) != own.content_sha256:
        raise DataProblemError(
            f"{folder}: its sources now give other images than it holds (photos may be decoded otherwise here); "
            "generate the set again, on this machine"
        )
    return fresh


def _job(folder: Path, manifest: Manifest, raw: Path, digits_at: str | None, photos_at: str | None) -> ShardJob:
    source = _resolve_source(folder, manifest.digits, digits.NAMES, digits_at, "--digits")
    found = digits.load_digits(source, raw)
    if found.sha256 != manifest.digits.sha256:
        raise DataProblemError(f"{source}: not the digits that {folder} was made of (their SHA-256 differs)")
    prepared, members = None, np.zeros(0, np.int64)
    pool = manifest.spec["pool"]
    if manifest.backgrounds:
        known = _known_photos(folder, manifest, manifest.backgrounds)
        prepared = bank.find_bank(known, manifest.variant.canvas, raw)
        if prepared is None:
            source_of = _resolve_source(folder, manifest.backgrounds, photos.NAMES, photos_at, "--backgrounds")
            prepared = bank.prepare_bank(_locate_photos(known, source_of, raw), manifest.variant.canvas, raw)
        members = photos.split_photos(known, pool)[SPLIT]
    return ShardJob(
        folder,
        folder.name,
        manifest.variant,
        manifest.spec["seed"],
        SPLIT,
        0,
        0,
        source,
        manifest.digits.sha256,
        np.arange(len(found.labels)) if pool == "pooled" else found.splits[SPLIT],
        prepared,
        members,
        raw,
    )


def _resolve_source(folder: Path, source: Source, names: tuple[str, ...], given: str | None, option: str) -> str:
    """Where a source is looked for: by its name, if it has one that this program knows; else where the user says."""
    if source.origin in names:
        return source.origin
    if given is None or not Path(given).is_dir():
        raise UsageProblemError(f"{folder}: made of a folder called {source.name!r}; say where it is with {option}")
    return str(Path(given).absolute())


def _known_photos(folder: Path, manifest: Manifest, source: Source) -> photos.PhotoList:
    """The set's photos by name and digest, wherever their files are."""
    names, sha256s = (tuple(part) for part in zip(*manifest.photos, strict=True))
    known = photos.PhotoList(source.name, tuple(map(Path, names)), names, sha256s)
    if known.sha256 != source.sha256:
        raise DataProblemError(f"{folder}: its photos were prepared by other rules than this program's")
    return known


def _locate_photos(known: photos.PhotoList, source: str, raw: Path) -> photos.PhotoList:
    """The same photos with their files, looked for in a source, which may hold others too."""
    there = photos.list_photos(source, raw, skip_bad=True)
    paths = dict(zip(there.sha256s, there.paths, strict=True))
    lost = [name for name, sha256 in zip(known.names, known.sha256s, strict=True) if sha256 not in paths]
    if lost:
        raise DataProblemError(
            f"{source}: {len(lost)} of the {len(known.names)} photos that the set was made of are not there or have "
            f"changed, the first is {lost[0]}"
        )
    return replace(known, paths=tuple(paths[sha256] for sha256 in known.sha256s))
