"""Draw more images for the training split of a data set, with its sampling law and its sources.

Image i of a split does not depend on the size of the split. A split of N images can therefore continue with the images
N, N + 1, … The digits and photos are those of the training split.
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
from mnistref.storage.manifest import Manifest, read_manifest
from mnistref.storage.schema import FIELDS
from mnistref.storage.shards import content_digest
from mnistref.storage.source import Source

SPLIT = "train"
_BLOCK_BYTES = 40e6
"""Size of the block that a thread draws before copying it, in bytes: less than 0.1 s of work."""


@dataclass(frozen=True)
class OnlineGenerator:
    """Draws images of the training split of a data set.

    Attributes:
        manifest: the data set.
        job: the parameters of a shard job; the range of images is replaced for each block.
    """

    manifest: Manifest
    job: ShardJob

    @property
    def images(self) -> int:
        """N, the number of images that the split stores."""
        return self.manifest.images(SPLIT)

    def draw(
        self, first: int, images: int, *names: str, threads: int = 1, stopped: Callable[[], bool] = lambda: False
    ) -> dict[str, np.ndarray]:
        """Draw fields of the images `first`, `first` + 1, and so on.

        Args:
            first: index of the first image in the split.
            images: number of images.
            names: fields, see `mnistref.storage.schema.FIELDS`.
            threads: number of threads; 1 draws in the calling thread. Compiled code releases the GIL.
            stopped: polled before each block. Once it returns True, the remaining images stay uninitialised.

        Returns:
            Field name → array (images, …).
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
        """Return the questions about drawn images.

        Args:
            units: one of `mnistref.spec.UNITS`.
            arrays: drawn fields, with at least those of `QUESTION_FIELDS`.
        """
        return triples(self.manifest.variant, units, **{name: arrays[name] for name in QUESTION_FIELDS})


QUESTION_FIELDS = ("digit_class", "digit_color", "query_slot")
"""The fields that questions are made from."""


def open_online_generator(
    folder: Path, raw: Path, digits_at: str | None = None, photos_at: str | None = None
) -> OnlineGenerator:
    """Open the sources of a data set for drawing more images, and check that they reproduce its first shard.

    Args:
        folder: a finished data set.
        raw: folder of the sources, see `generate`. Photos that are prepared there are not searched elsewhere.
        digits_at: folder of the digits, if the data set was made from a folder of digits.
        photos_at: folder of the photos, if the data set was made from a folder of photos.

    Raises:
        UsageProblemError: numba is missing, or the folder of a source was not given.
        DataProblemError: a source has changed, or this program draws other images than the data set holds.
    """
    manifest = read_manifest(folder)
    if not COMPILED:
        raise UsageProblemError("drawing images during training needs numba: pip install numba")
    if manifest.spec["law_version"] != LAW_VERSION:
        made_by = manifest.spec["law_version"]
        raise DataProblemError(
            f"{folder}: made by version {made_by} of the law, this program draws by version {LAW_VERSION}"
        )
    manifest.require_split(SPLIT)
    generator = OnlineGenerator(manifest, _job(Path(folder), manifest, raw.absolute(), digits_at, photos_at))
    own = manifest.splits[SPLIT][0]
    if content_digest(draw(replace(generator.job, first=0, images=own.images))) != own.content_sha256:
        raise DataProblemError(
            f"{folder}: its sources now give other images than it holds (photos may be decoded differently here); "
            "generate the data set again on this machine"
        )
    return generator


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
        path=folder,
        dataset=folder.name,
        variant=manifest.variant,
        seed=manifest.spec["seed"],
        split=SPLIT,
        first=0,
        images=0,
        digits=source,
        digits_sha256=manifest.digits.sha256,
        members=np.arange(len(found.labels)) if pool == "pooled" else found.splits[SPLIT],
        bank=prepared,
        photos=members,
        raw=raw,
    )


def _resolve_source(folder: Path, source: Source, names: tuple[str, ...], user_path: str | None, option: str) -> str:
    """Return a source by name if this program knows the name, otherwise the folder that the user gave."""
    if source.origin in names:
        return source.origin
    if user_path is None or not Path(user_path).is_dir():
        raise UsageProblemError(f"{folder}: made of a folder called {source.name!r}; give its path with {option}")
    return str(Path(user_path).absolute())


def _known_photos(folder: Path, manifest: Manifest, source: Source) -> photos.PhotoList:
    """Return the photos of the data set by name and digest, without their files."""
    names, sha256s = (tuple(part) for part in zip(*manifest.photos, strict=True))
    known = photos.PhotoList(source.name, tuple(map(Path, names)), names, sha256s)
    if known.sha256 != source.sha256:
        raise DataProblemError(f"{folder}: its photos were prepared by other rules; generate the data set again")
    return known


def _locate_photos(known: photos.PhotoList, source: str, raw: Path) -> photos.PhotoList:
    """Return the same photos with the paths of their files in a source, which may hold other photos too."""
    there = photos.list_photos(source, raw, skip_bad=True)
    paths = dict(zip(there.sha256s, there.paths, strict=True))
    lost = [name for name, sha256 in zip(known.names, known.sha256s, strict=True) if sha256 not in paths]
    if lost:
        raise DataProblemError(
            f"{source}: {len(lost)} of the {len(known.names)} photos of the data set are missing or have changed, "
            f"the first is {lost[0]}; restore them"
        )
    return replace(known, paths=tuple(paths[sha256] for sha256 in known.sha256s))
