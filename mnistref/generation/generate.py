"""A data set from a request: plan → executor → shards → manifest. What is there is kept, what is missing is made.

A shard depends on the plan and its own number alone, so any `concurrent.futures` executor, any number of workers and
any order give the same bytes.
"""

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mnistref.common.atomic_files import exclusive
from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.common.text_table import escaped
from mnistref.generation.dispatch import make_shards
from mnistref.generation.executors import default_workers
from mnistref.generation.shard_worker import ShardJob
from mnistref.metadata.card import pages
from mnistref.metadata.credits import LICENCES
from mnistref.sources.bank import has_bank, prepare_bank
from mnistref.sources.digit_check import check_digit_images
from mnistref.sources.digits import NAMES, Digits, load_digits, require_digit_source
from mnistref.sources.photos import NAMES as PHOTOS
from mnistref.sources.photos import PhotoList, list_photos, require_photo_source, split_photos
from mnistref.spec import POOLS, SPLITS, DatasetSpec, VariantSpec
from mnistref.storage.manifest import (
    Manifest,
    Source,
    intact_shards,
    is_finished,
    make_manifest,
    require_no_folders,
    shard_names,
    write_manifest,
)
from mnistref.storage.manifest_schema import MAX_COUNT
from mnistref.storage.schema import SHARD_IMAGES
from mnistref.storage.shards import ShardInfo
from mnistref.variants import get_variant

log = logging.getLogger("mnistref")

PAPER_SIZES = {"train": 30_000, "val": 10_000, "test": 10_000}


@dataclass(frozen=True)
class Request:
    """What a user asks for. `sizes`: images per split, for the splits of the variant; the papers' where left out."""

    variant: str
    root: Path = Path("data_cache")
    seed: int = 0
    sizes: Mapping[str, int] | None = None
    digits: str = "mnist"
    backgrounds: str = "builtin"
    pool: str = "disjoint"
    skip_bad: bool = False  # leave out photos that cannot be used
    any_digits: bool = False  # take digits that do not look like digits
    keep_copies: bool = False  # keep photos that are smaller or recompressed copies of others, though splits differ


def request_of(manifest: Manifest) -> dict[str, Any]:
    """What `Request` takes to make a set again, but for the root. A source that was a folder of the user's is None."""

    def name(source: Source | None) -> str | None:
        return source.origin if source and source.origin in LICENCES else None

    return {
        "variant": manifest.variant.name,
        "seed": manifest.spec["seed"],
        "sizes": dict(manifest.spec["sizes"]),
        "digits": name(manifest.digits),
        "backgrounds": name(manifest.backgrounds) if manifest.backgrounds else Request.backgrounds,
        "pool": manifest.spec["pool"],
        **({"any_digits": True} if manifest.spec.get("any_digits") else {}),
    }


@dataclass(frozen=True)
class Plan:
    """A request with its sources at hand: what will be made, and where."""

    request: Request
    spec: DatasetSpec
    digits: Digits
    photos: PhotoList | None

    @property
    def folder(self) -> Path:
        return Path(self.request.root) / "datasets" / self.spec.folder_name

    @property
    def images(self) -> int:
        return sum(size for _, size in self.spec.sizes)

    @property
    def bytes(self) -> int:
        """A little more than the set will take on the disk."""
        return self.images * (self.spec.variant.canvas**2 * 3 + 2048)

    @property
    def bank_bytes(self) -> int:
        """About what the prepared photos will take: 4 : 3, their short side one and a half times the canvas."""
        views = len(self.photos.paths) * self.photos.views if self.photos else 0
        return views * 9 * self.spec.variant.canvas**2

    @property
    def shard_bytes(self) -> int:
        """What the arrays of a shard take in memory."""
        return SHARD_IMAGES * (self.spec.variant.canvas**2 * 4 + 256)


def plan(request: Request) -> Plan:
    """Check a request and read its sources; nothing is written but what `raw/` keeps of them."""
    variant, sizes = _resolve_request(request)
    raw = _raw_folder(request)
    digits = load_digits(_absolute_source(request.digits), raw)
    odd = _are_digits_odd(digits, request)
    photos = _list_photos(request, raw) if variant.background == "photo" else None
    if not photos and request.backgrounds != Request.backgrounds:
        log.info("%s has no photos; the backgrounds are not used", variant.name)
    of_photos = photos.sha256 if photos else None
    spec = DatasetSpec(variant, request.seed, sizes, digits.sha256, of_photos, request.pool, odd)
    return Plan(request, spec, digits, photos)


def _are_digits_odd(digits: Digits, request: Request) -> bool:
    """Whether digits do not look like digits: a data error unless they are wanted all the same."""
    wrong = check_digit_images(digits) if digits.kind == "folder" else None  # others are known by their SHA-256
    if wrong and not request.any_digits:
        anyway = "`mnistref generate … --any-digits` takes them as they are (for a training give its set with --data)"
        raise DataProblemError(f"{escaped(request.digits)}: {wrong}; {anyway}")
    if wrong:
        log.info("%s: %s; taken as they are (--any-digits)", digits.name, wrong)
    return bool(wrong)


def _list_photos(request: Request, raw: Path) -> PhotoList:
    """The photos of a request; where splits must not share any, without copies of one picture."""
    skip_copies = request.pool == "disjoint" and not request.keep_copies
    return list_photos(request.backgrounds, raw, request.skip_bad, skip_copies)


def _resolve_request(request: Request) -> tuple[VariantSpec, tuple[tuple[str, int], ...]]:
    """The variant and the size of each split; a usage error where the request makes no sense."""
    variant = get_variant(request.variant)
    if not 0 <= request.seed < 2**63:
        raise UsageProblemError(f"seed {request.seed}: give a whole number from 0 to 2**63 − 1")
    if request.pool not in POOLS:
        raise UsageProblemError(f"pool {request.pool!r}: give one of {', '.join(POOLS)}")
    require_digit_source(request.digits)
    if variant.background == "photo":
        require_photo_source(request.backgrounds)
    return variant, _resolve_sizes(variant, request.sizes)


def _raw_folder(request: Request) -> Path:
    """Where sources are kept. Absolute, like every path that a worker gets."""
    return Path(request.root).absolute() / "raw"


def _absolute_source(digits: str) -> str:
    """A digit source that means the same in every working directory."""
    return str(Path(digits).absolute()) if Path(digits).is_dir() and digits not in NAMES else digits


def _resolve_sizes(variant: VariantSpec, asked: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    for split, size in (asked or {}).items():
        if split not in variant.splits:
            raise UsageProblemError(f"{variant.name} has no {split} split: {variant.note}")
        if not 1 <= size <= MAX_COUNT:
            raise UsageProblemError(
                f"{size} {split} images: give {'1 or more' if size < 1 else f'{MAX_COUNT:,} or fewer'}"
            )
    return tuple((split, (asked or {}).get(split, PAPER_SIZES[split])) for split in variant.splits)


def generate(
    request: Request, workers: int | None = None, executor: Executor | None = None, scheduler: str | None = None
) -> Path:
    """Make the data set, or finish it, or find it finished. → its folder.

    `workers`: threads (processes where numba is missing), by default one per processor. Instead of them: `executor`,
    any of your own, or `scheduler`, the address of a Dask scheduler.
    """
    _resolve_request(request)
    try:
        (Path(request.root) / ".locks").mkdir(parents=True, exist_ok=True)
    except OSError:  # said at once, unless a finished set may be there
        if not (Path(request.root) / "datasets").is_dir():
            raise
    return make(plan(request), workers, executor, scheduler)


def make(
    made: Plan, workers: int | None = None, executor: Executor | None = None, scheduler: str | None = None
) -> Path:
    """Make the data set of a plan, as `generate` does. A finished one is found where nothing can be written."""
    folder = made.folder
    refused: OSError | None = None
    with ExitStack() as stack:
        try:
            lock = Path(made.request.root) / ".locks" / f"{folder.name}.lock"
            stack.enter_context(exclusive(lock, folder))  # a second process waits, and finds the set finished
        except OSError as error:
            refused = error
        if made.spec.variant.note:
            log.info("%s is %s", made.spec.variant.name, made.spec.variant.note)
        if is_finished(folder, made.spec):
            return folder
        if refused:
            raise refused
        _require_space(made)
        jobs = make_jobs(made)
        folder.mkdir(parents=True, exist_ok=True)
        require_no_folders(folder, (job.path.name for job in jobs))
        infos = intact_shards(folder)
        left = [job for job in jobs if job.path.name not in infos]
        there = made.images - sum(job.images for job in left)
        with tqdm(total=made.images, initial=there, unit=" images", disable=None, smoothing=0.1) as bar:
            make_shards(left, bar, infos, workers or default_workers(made.shard_bytes), executor, scheduler)
        _write_pages(made, [infos[job.path.name] for job in jobs])
    return folder


def _require_space(made: Plan) -> None:
    free = shutil.disk_usage(made.request.root).free
    there = sum(f.lstat().st_size for f in made.folder.glob("*")) if made.folder.is_dir() else 0
    bank = (
        made.bank_bytes
        if made.photos and not has_bank(made.photos, made.spec.variant.canvas, _raw_folder(made.request))
        else 0
    )
    if (needed := made.bytes + bank - there) > free:
        need = f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({need})", str(made.folder))


def make_jobs(made: Plan) -> list[ShardJob]:
    """What workers have to do: a job for each shard."""
    variant, request = made.spec.variant, made.request
    nothing = np.zeros(0, np.int64)
    bank, members = None, dict.fromkeys(SPLITS, nothing)
    if made.photos:
        members = split_photos(made.photos, request.pool)
        bank = prepare_bank(made.photos, variant.canvas, _raw_folder(request))
    everyone = np.arange(len(made.digits.labels))
    return [
        ShardJob(
            made.folder.absolute() / name,
            made.folder.name,
            variant,
            request.seed,
            split,
            first,
            images,
            _absolute_source(request.digits),
            made.spec.digits_sha256,
            everyone if request.pool == "pooled" else made.digits.splits[split],
            bank,
            members[split],
            _raw_folder(request),
        )
        for split, size in made.spec.sizes
        for name, first, images in shard_names(split, size)
    ]


def _write_pages(made: Plan, infos: list[ShardInfo]) -> None:
    splits: dict[str, tuple[ShardInfo, ...]] = {}
    left = iter(infos)
    for split, size in made.spec.sizes:
        splits[split] = tuple(next(left) for _ in shard_names(split, size))
    digits = Source(made.digits.name, made.spec.digits_sha256, len(made.digits.labels), made.digits.kind)
    backgrounds: Source | None = None
    photos: tuple[tuple[str, str], ...] = ()
    if made.photos:
        asked = made.request.backgrounds
        kind = asked if asked in PHOTOS else "folder"  # a folder of that name is not looked for
        backgrounds = Source(made.photos.name, made.photos.sha256, len(made.photos.paths), kind)
        photos = tuple(zip(made.photos.names, made.photos.sha256s, strict=True))
    manifest = make_manifest(made.spec, digits, backgrounds, photos, splits)
    write_manifest(made.folder, manifest, pages(manifest))
