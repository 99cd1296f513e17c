"""A data set from a request: plan → executor → shards → manifest. What is there is kept, what is missing is made.

A shard depends on the plan and its own number alone, so any `concurrent.futures` executor, any number of workers and
any order give the same bytes.
"""

import errno
import logging
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from mnistref.card import pages
from mnistref.compiled import COMPILED
from mnistref.errors import DataProblemError, UsageProblemError
from mnistref.files import PARTIAL
from mnistref.manifest import Source, is_finished, make_manifest, shard_names, write_manifest
from mnistref.reference import Reference
from mnistref.render import Photos, draw_images
from mnistref.scene import Glyphs, law_of, tools_for
from mnistref.schema import Arrays, empty
from mnistref.shards import ShardInfo, describe_shard, write_shard
from mnistref.sources.digits import Digits, load_digits
from mnistref.sources.photos import PhotoList, list_photos, open_bank, prepare, split_photos
from mnistref.spec import CLASSES, SPLITS, DatasetSpec, VariantSpec
from mnistref.variants import get_variant

log = logging.getLogger("mnistref")

POOLS = ("disjoint", "pooled")
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
    def raw(self) -> Path:
        return Path(self.request.root) / "raw"

    @property
    def images(self) -> int:
        return sum(size for _, size in self.spec.sizes)

    @property
    def bytes(self) -> int:
        """A little more than the set will take on the disk."""
        return self.images * (self.spec.variant.canvas**2 * 3 + 2048)


@dataclass(frozen=True)
class ShardJob:
    """All that a worker needs, on whatever machine sees the same files."""

    path: Path
    dataset: str
    variant: VariantSpec
    seed: int
    split: str
    first: int
    images: int
    digits: str
    digits_sha256: str
    members: np.ndarray
    bank: Path | None
    photos: np.ndarray
    raw: Path


def plan(request: Request) -> Plan:
    """Check a request and read its sources; nothing is written but what `raw/` keeps of them."""
    variant = get_variant(request.variant)
    if not 0 <= request.seed < 2**63:
        raise UsageProblemError(f"seed {request.seed}: give a whole number from 0 to 2**63 − 1")
    if request.pool not in POOLS:
        raise UsageProblemError(f"pool {request.pool!r}: give one of {', '.join(POOLS)}")
    sizes = _sizes(variant, request.sizes)
    raw = Path(request.root) / "raw"
    digits = load_digits(request.digits, raw)
    photos = list_photos(request.backgrounds, raw) if variant.background == "photo" else None
    of_photos = photos.sha256 if photos else None
    spec = DatasetSpec(variant, request.seed, sizes, digits.sha256, of_photos, request.pool)
    return Plan(request, spec, digits, photos)


def _sizes(variant: VariantSpec, asked: Mapping[str, int] | None) -> tuple[tuple[str, int], ...]:
    for split, size in (asked or {}).items():
        if split not in variant.splits:
            raise UsageProblemError(f"{variant.name} has no {split} split: {variant.note}")
        if not 1 <= size < 2**31:
            raise UsageProblemError(f"{size} {split} images: give 1 or more")
    return tuple((split, (asked or {}).get(split, PAPER_SIZES[split])) for split in variant.splits)


def generate(request: Request, workers: int | None = None, executor: Executor | None = None) -> Path:
    """Make the data set, or finish it, or find it finished. → its folder.

    `workers`: threads (processes where numba is missing), by default one per processor. `executor`: your own instead.
    """
    made = plan(request)
    folder = made.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    locks = Path(request.root) / ".locks"
    locks.mkdir(exist_ok=True)
    with FileLock(locks / f"{folder.name}.lock"):  # a second process waits, and finds the set finished
        if made.spec.variant.note:
            log.info("%s is %s", made.spec.variant.name, made.spec.variant.note)
        if is_finished(folder, made.spec):
            return folder
        _check_space(made)
        jobs = _jobs(made)
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(f"{PARTIAL}*"):
            leftover.unlink()
        infos = _run(jobs, made.images, workers, executor)
        _finish(made, infos)
    return folder


def _check_space(made: Plan) -> None:
    free = shutil.disk_usage(made.folder.parent).free
    there = sum(f.stat().st_size for f in made.folder.glob("*")) if made.folder.is_dir() else 0
    if made.bytes - there > free:
        need = f"{(made.bytes - there) / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({need})", str(made.folder))


def _jobs(made: Plan) -> list[ShardJob]:
    variant, request = made.spec.variant, made.request
    nothing = np.zeros(0, np.int64)
    bank, members = None, dict.fromkeys(SPLITS, nothing)
    if made.photos:
        members = split_photos(made.photos, request.pool)
        bank = prepare(made.photos, variant.canvas, made.raw)
    everyone = np.arange(len(made.digits.labels))
    return [
        ShardJob(
            made.folder / name,
            made.folder.name,
            variant,
            request.seed,
            split,
            first,
            images,
            request.digits,
            made.spec.digits_sha256,
            everyone if request.pool == "pooled" else made.digits.splits[split],
            bank,
            members[split],
            made.raw,
        )
        for split, size in made.spec.sizes
        for name, first, images in shard_names(split, size)
    ]


def _run(jobs: list[ShardJob], images: int, workers: int | None, executor: Executor | None) -> list[ShardInfo]:
    """Every shard, in the order of the jobs. The first error ends the others."""
    pool = executor or _local_executor(min(workers or os.cpu_count() or 1, len(jobs)))
    infos: dict[Path, ShardInfo] = {}
    try:
        with tqdm(total=images, unit=" images", disable=None, smoothing=0.1) as bar:
            for future in as_completed([pool.submit(make_shard, job) for job in jobs]):
                path, info = future.result()
                infos[path] = info
                bar.update(info.images)
    finally:
        if executor is None:
            pool.shutdown(cancel_futures=True)
    return [infos[job.path] for job in jobs]


def _local_executor(workers: int) -> Executor:
    """Threads, since compiled code runs without the GIL; the Python renderer needs processes."""
    if COMPILED:
        return ThreadPoolExecutor(workers)
    log.warning("numba is not installed: images are drawn by the reference renderer, some twenty times slower")
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def make_shard(job: ShardJob) -> tuple[Path, ShardInfo]:
    """Draw and write one shard, unless a whole one is there already."""
    if job.path.exists():
        try:
            return job.path, describe_shard(job.path, job.images, job.variant.canvas, job.dataset)
        except DataProblemError:
            log.info("%s is damaged; drawing it again", job.path)
    return job.path, write_shard(job.path, draw(job), job.dataset)


def draw(job: ShardJob) -> Arrays:
    """The images of one shard, by the compiled renderer or, without numba, by the reference."""
    arrays = empty(job.images, job.variant.canvas)
    digits = load_digits(job.digits, job.raw)
    if digits.sha256 != job.digits_sha256:
        raise DataProblemError(f"{job.digits}: the digits changed while the set was made; run again")
    photos, split = _photos(job), SPLITS.index(job.split)
    members = job.members[np.argsort(digits.labels[job.members], kind="stable")]
    if not COMPILED:
        reference = Reference(job.variant, job.seed, split, digits.images, digits.labels, members, photos)
        reference.draw_images(job.first, arrays)
        return arrays
    law = law_of(job.variant)
    start = np.searchsorted(digits.labels[members], np.arange(CLASSES + 1))
    glyphs = Glyphs(_transposed(job.digits, job.raw), members, start)
    draw_images(law, glyphs, photos, tools_for(law), np.uint64(job.seed), split, job.first, arrays)
    return arrays


def _photos(job: ShardJob) -> Photos:
    if job.bank is None:
        nothing = np.zeros(0, np.int64)
        pixels = np.zeros(0, np.uint8)
        pixels.flags.writeable = False  # as a bank's are: one type, compiled once
        return Photos(pixels, nothing, nothing, nothing, nothing, 1)
    bank = open_bank(job.bank)
    return Photos(bank.pixels, bank.offset, bank.height, bank.width, job.photos, bank.views)


@lru_cache(maxsize=1)
def _transposed(digits: str, raw: Path) -> np.ndarray:
    return np.ascontiguousarray(load_digits(digits, raw).images.transpose(0, 2, 1))


def _finish(made: Plan, infos: list[ShardInfo]) -> None:
    splits: dict[str, tuple[ShardInfo, ...]] = {}
    left = iter(infos)
    for split, size in made.spec.sizes:
        splits[split] = tuple(next(left) for _ in shard_names(split, size))
    digits = Source(made.digits.name, made.spec.digits_sha256, len(made.digits.labels))
    backgrounds: Source | None = None
    photos: tuple[tuple[str, str], ...] = ()
    if made.photos:
        backgrounds = Source(made.photos.name, made.photos.sha256, len(made.photos.paths))
        photos = tuple(zip(made.photos.names, made.photos.sha256s, strict=True))
    manifest = make_manifest(made.spec, digits, backgrounds, photos, splits)
    write_manifest(made.folder, manifest, pages(manifest))
