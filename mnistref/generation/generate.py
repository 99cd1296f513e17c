"""Generate a data set: request → plan → executor → shards → manifest. Existing shards are reused.

A shard depends only on the plan and on its own number. Therefore any executor, any number of workers and any order give
the same bytes.
"""

import errno
import logging
import os
import shutil
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mnistref.common.atomic_files import exclusive
from mnistref.common.console import log_once
from mnistref.generation.dispatch import make_shards
from mnistref.generation.executors import default_workers
from mnistref.generation.plan import PAPER_SIZES, Plan, Request, absolute_source, plan, request_of, resolve_request
from mnistref.generation.shard_worker import ShardJob
from mnistref.metadata.card import pages
from mnistref.sources.bank import has_bank, prepare_bank
from mnistref.sources.photos import NAMES as PHOTOS
from mnistref.sources.photos import split_photos
from mnistref.spec import SPLITS
from mnistref.storage.integrity import intact_shards, is_finished, require_no_folders
from mnistref.storage.manifest import make_manifest, shard_names, write_manifest
from mnistref.storage.shards import ShardInfo
from mnistref.storage.source import Source

__all__ = ["PAPER_SIZES", "Plan", "Request", "generate", "make", "make_jobs", "plan", "request_of"]

log = logging.getLogger("mnistref")


def generate(
    request: Request, workers: int | None = None, executor: Executor | None = None, scheduler: str | None = None
) -> Path:
    """Generate or finish a data set, and return its folder. A finished data set is returned unchanged.

    Args:
        request: what to generate.
        workers: number of threads (of processes without numba); by default see `executors.default_workers`.
        executor: any `concurrent.futures` executor, used instead of workers.
        scheduler: address of a Dask scheduler, whose workers are used instead.

    Raises:
        UsageProblemError: the request is invalid.
        DataProblemError: a source is damaged, missing or unusable.
        RunProblemError: workers died, or differ from this installation.
        OSError: the disk is full or cannot be written.
    """
    resolve_request(request)
    try:
        (Path(request.root) / ".locks").mkdir(parents=True, exist_ok=True)
    except OSError:  # raise before sources are loaded, unless a finished data set may exist
        if not (Path(request.root) / "datasets").is_dir():
            raise
    return make(plan(request), workers, executor, scheduler)


def make(
    dataset_plan: Plan, workers: int | None = None, executor: Executor | None = None, scheduler: str | None = None
) -> Path:
    """Generate the data set of a plan, as `generate` does. A finished one is returned even on a read-only disk."""
    folder = dataset_plan.folder
    refused: OSError | None = None
    with ExitStack() as stack:
        try:
            lock = Path(dataset_plan.request.root) / ".locks" / f"{folder.name}.lock"
            stack.enter_context(exclusive(lock, folder))  # a second process waits
        except OSError as error:
            refused = error
        if dataset_plan.spec.variant.note:
            log_once(f"{dataset_plan.spec.variant.name} is {dataset_plan.spec.variant.note}")
        if is_finished(folder, dataset_plan.spec):
            return folder
        if refused:
            raise refused
        _require_space(dataset_plan)
        jobs = make_jobs(dataset_plan)
        folder.mkdir(parents=True, exist_ok=True)
        require_no_folders(folder, (job.path.name for job in jobs))
        infos = intact_shards(folder)
        left = [job for job in jobs if job.path.name not in infos]
        finished = dataset_plan.images - sum(job.images for job in left)
        with tqdm(total=dataset_plan.images, initial=finished, unit=" images", disable=None, smoothing=0.1) as bar:
            make_shards(
                left,
                bar,
                infos=infos,
                workers=workers or default_workers(dataset_plan.shard_bytes),
                executor=executor,
                scheduler=scheduler,
            )
        _write_pages(dataset_plan, [infos[job.path.name] for job in jobs])
    return folder


def _require_space(dataset_plan: Plan) -> None:
    """Raise OSError if the disk has too little free space."""
    folder = dataset_plan.folder.absolute()
    free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
    existing = sum(f.lstat().st_size for f in dataset_plan.folder.glob("*")) if dataset_plan.folder.is_dir() else 0
    bank = (
        dataset_plan.bank_bytes
        if dataset_plan.photos
        and not has_bank(dataset_plan.photos, dataset_plan.spec.variant.canvas, dataset_plan.request.raw)
        else 0
    )
    if (needed := dataset_plan.bytes + bank - existing) > free:
        need = f"{needed / 1e6:,.0f} MB needed, {free / 1e6:,.0f} MB free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({need})", str(dataset_plan.folder))


def make_jobs(dataset_plan: Plan) -> list[ShardJob]:
    """Return one job for each shard of a plan."""
    variant, request = dataset_plan.spec.variant, dataset_plan.request
    nothing = np.zeros(0, np.int64)
    bank, members = None, dict.fromkeys(SPLITS, nothing)
    if dataset_plan.photos:
        members = split_photos(dataset_plan.photos, request.pool)
        bank = prepare_bank(dataset_plan.photos, variant.canvas, request.raw)
    all_digits = np.arange(len(dataset_plan.digits.labels))
    return [
        ShardJob(
            path=dataset_plan.folder.absolute() / name,
            dataset=dataset_plan.folder.name,
            variant=variant,
            seed=request.seed,
            split=split,
            first=first,
            images=images,
            digits=absolute_source(request.digits),
            digits_sha256=dataset_plan.spec.digits_sha256,
            members=all_digits if request.pool == "pooled" else dataset_plan.digits.splits[split],
            bank=bank,
            photos=members[split],
            raw=request.raw,
        )
        for split, size in dataset_plan.spec.sizes
        for name, first, images in shard_names(split, size)
    ]


def _write_pages(dataset_plan: Plan, infos: list[ShardInfo]) -> None:
    """Write the manifest and the pages, which finish the data set."""
    splits: dict[str, tuple[ShardInfo, ...]] = {}
    left = iter(infos)
    for split, size in dataset_plan.spec.sizes:
        splits[split] = tuple(next(left) for _ in shard_names(split, size))
    digits = Source(
        dataset_plan.digits.name,
        dataset_plan.spec.digits_sha256,
        len(dataset_plan.digits.labels),
        dataset_plan.digits.kind,
    )
    backgrounds: Source | None = None
    photos: tuple[tuple[str, str], ...] = ()
    if dataset_plan.photos:
        asked = dataset_plan.request.backgrounds
        kind = asked if asked in PHOTOS else "folder"  # even if it is named like a known source
        backgrounds = Source(dataset_plan.photos.name, dataset_plan.photos.sha256, len(dataset_plan.photos.paths), kind)
        photos = tuple(zip(dataset_plan.photos.names, dataset_plan.photos.sha256s, strict=True))
    manifest = make_manifest(
        dataset_plan.spec, digits, backgrounds, photos, splits=splits, choices=dataset_plan.choices
    )
    write_manifest(dataset_plan.folder, manifest, pages(manifest))
