"""The work of a worker process or machine: draw the images of one shard and write the file."""

import os
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from threading import local

import numpy as np

from mnistref.common.errors import DataProblemError, ProblemError, RunProblemError, UsageProblemError
from mnistref.common.numba_jit import COMPILED
from mnistref.generation.code_version import CODE, describe_process
from mnistref.rendering.reference import Reference
from mnistref.rendering.render import Photos, draw_images, no_photos
from mnistref.rendering.scene import MAX_RESTARTS, Glyphs, make_law, make_tools
from mnistref.sources.bank import open_bank
from mnistref.sources.digits import Digits, load_digits
from mnistref.spec import CLASSES, SPLITS, VariantSpec
from mnistref.storage.schema import Arrays, clear, empty
from mnistref.storage.shards import ShardInfo, write_shard
from mnistref.variants import range_text

_TRIED_IMAGES, _TRIED_RESTARTS = 20, 10
"""The images and their restarts by which `require_room` decides. The law of every variant needs none."""


@dataclass(frozen=True)
class ShardJob:
    """One shard to generate. A worker on another machine that sees the same files needs nothing else.

    All paths are absolute.

    Attributes:
        path: the shard file.
        dataset: name of the folder of the data set.
        first: index of the first image in its split.
        images: number of images.
        digits: the digit source, see `mnistref.sources.digits.load_digits`.
        members: indices of the digits of the split, i8 (n,).
        bank: folder of the prepared photos, or None.
        photos: indices of the photos of the split, i8 (n,).
        raw: folder of the sources.
        restarts: restarts of the placement of an image before it counts as impossible.
        code: version of the code of the parent process, see `code_version`.
        parent_process: host and process id of the parent process.
    """

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
    restarts: int = MAX_RESTARTS
    code: str = CODE
    parent_process: str = field(default_factory=describe_process)


@dataclass(frozen=True)
class ShardResult:
    """A shard that was written, as reported by its worker."""

    shard: ShardInfo
    worker: str
    code: str


def make_shard(job: ShardJob) -> ShardResult:
    """Draw and write one shard. Errors that are raised outside the parent process name the worker.

    Raises:
        RunProblemError: the worker runs other code than the parent process, or does not see its files.
        DataProblemError: a source is damaged or has changed.
        OSError: the system cannot read or write a file.
    """
    worker = describe_process()
    try:
        if job.code != CODE:
            raise RunProblemError(f"mnistref is {CODE} here, {job.code} in the parent process; install the same")
        os.stat(job.path.parent)  # raise rather than create a folder that the parent process does not see
        return ShardResult(write_shard(job.path, draw(job), job.dataset), worker, CODE)
    except (OSError, ProblemError) as error:
        if worker == job.parent_process:
            raise
        raise _error_from_worker(error, worker) from error


def _error_from_worker(error: OSError | ProblemError, worker: str) -> Exception:
    """Return the same error with the name of the worker, for a user at another machine."""
    if isinstance(error, FileNotFoundError):
        return RunProblemError(
            f"worker {worker} does not see {error.filename}: mount the same folder under the same path on every "
            "worker, and run again"
        )
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, f"worker {worker}: {error.filename}")
    return type(error)(f"worker {worker}: {error}")


def draw(job: ShardJob) -> Arrays:
    """Draw the images of a shard, with the compiled renderer or, without numba, with the reference renderer.

    The arrays belong to the calling thread. Its next call overwrites them.

    Raises:
        DataProblemError: the digits are not those of the job.
        UsageProblemError: the digits of an image cannot be placed.
    """
    arrays = _thread_arrays(job.images, job.variant.canvas)
    digits = load_digits(job.digits, job.raw)
    if digits.sha256 != job.digits_sha256:
        raise DataProblemError(f"{job.digits}: the digits changed while the data set was generated; run again")
    photos, split = _photos(job), SPLITS.index(job.split)
    members = job.members[np.argsort(digits.labels[job.members], kind="stable")]
    if not COMPILED:
        reference = Reference(
            variant=job.variant,
            seed=job.seed,
            split=split,
            digits=digits.images,
            labels=digits.labels,
            members=members,
            photos=photos,
            restarts=job.restarts,
        )
        impossible = reference.draw_images(job.first, arrays)
    else:
        law = make_law(job.variant, job.restarts)
        start = np.searchsorted(digits.labels[members], np.arange(CLASSES + 1))
        glyphs = Glyphs(_transposed(job.digits, job.raw, job.digits_sha256), members, start)
        impossible = draw_images(law, glyphs, photos, make_tools(law), np.uint64(job.seed), split, job.first, arrays)
    if impossible >= 0:
        raise UsageProblemError(_describe_overfull(job.variant))
    return arrays


def _describe_overfull(variant: VariantSpec) -> str:
    """Return the message for a law whose digits do not fit into an image."""
    return (
        f"{variant.digits[1]} digits at scale {range_text(variant.scales)} do not fit on {variant.canvas} px; "
        "use fewer digits, smaller scales or a larger canvas"
    )


def require_room(variant: VariantSpec, digits: str, loaded: Digits, raw: Path) -> None:
    """Raise UsageProblemError unless a few images with the largest number of digits can be placed without trouble.

    Args:
        variant: the law.
        digits: the digit source, see `ShardJob`.
        loaded: the same, loaded.
        raw: folder of the sources.
    """
    most = variant.digits[1]
    job = ShardJob(
        path=Path(),
        dataset="",
        variant=replace(variant, digits=(most, most), background="black", distractors=0),
        seed=0,
        split=SPLITS[0],
        first=0,
        images=_TRIED_IMAGES,
        digits=digits,
        digits_sha256=loaded.sha256,
        members=np.arange(len(loaded.labels)),
        bank=None,
        photos=np.zeros(0, np.int64),
        raw=raw,
        restarts=_TRIED_RESTARTS,
    )
    try:
        draw(job)
    except UsageProblemError as error:
        raise UsageProblemError(_describe_overfull(variant)) from error


_threads = local()


def _thread_arrays(images: int, canvas: int) -> Arrays:
    """Return the cleared arrays of this thread. They are reused, because new memory would cost 25 % more time."""
    if getattr(_threads, "shape", None) != (images, canvas):
        _threads.arrays, _threads.shape = empty(images, canvas), (images, canvas)
    else:
        clear(_threads.arrays)
    arrays: Arrays = _threads.arrays
    return arrays


def _photos(job: ShardJob) -> Photos:
    if job.bank is None:
        return no_photos()
    bank = open_bank(job.bank)
    return Photos(
        pixels=bank.pixels,
        offset=bank.offset,
        height=bank.height,
        width=bank.width,
        members=job.photos,
        views=bank.views,
    )


@lru_cache(maxsize=1)
def _transposed(digits: str, raw: Path, sha256: str) -> np.ndarray:
    """Return the images of a digit source with this digest, each transposed."""
    return np.ascontiguousarray(load_digits(digits, raw).images.transpose(0, 2, 1))
