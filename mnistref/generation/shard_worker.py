"""What a worker does, on whatever machine sees the same files: draw the images of one shard and write it."""

import os
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import local

import numpy as np

from mnistref.common.errors import DataProblemError, ProblemError, RunProblemError
from mnistref.common.numba_jit import COMPILED
from mnistref.generation.code_version import CODE, describe_process
from mnistref.rendering.reference import Reference
from mnistref.rendering.render import Photos, draw_images, no_photos
from mnistref.rendering.scene import Glyphs, make_law, make_tools
from mnistref.sources.bank import open_bank
from mnistref.sources.digits import load_digits
from mnistref.spec import CLASSES, SPLITS, VariantSpec
from mnistref.storage.schema import Arrays, clear, empty
from mnistref.storage.shards import ShardInfo, write_shard


@dataclass(frozen=True)
class ShardJob:
    """One shard to be made, from files alone. Paths are absolute. `code`, `parent_process`: see `installation`."""

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
    code: str = CODE
    parent_process: str = field(default_factory=describe_process)


@dataclass(frozen=True)
class ShardResult:
    """A shard that was written, as its worker sees it."""

    shard: ShardInfo
    worker: str
    code: str


def make_shard(job: ShardJob) -> ShardResult:
    """Draw and write one shard. An error of another process than the one that asks names the worker."""
    worker = describe_process()
    try:
        if job.code != CODE:
            raise RunProblemError(f"mnistref is {CODE} here, {job.code} where the set is asked for; install the same")
        os.stat(job.path.parent)  # nothing may be written into a folder that was not there
        return ShardResult(write_shard(job.path, draw(job), job.dataset), worker, CODE)
    except (OSError, ProblemError) as error:
        if worker == job.parent_process:
            raise
        raise _error_from_worker(error, worker) from error


def _error_from_worker(error: OSError | ProblemError, worker: str) -> Exception:
    """The same error, for people at another machine."""
    if isinstance(error, FileNotFoundError):
        return RunProblemError(
            f"worker {worker} does not see {error.filename}: let every worker see the same files under the same paths, "
            "and run again"
        )
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror, f"worker {worker}: {error.filename}")
    return type(error)(f"worker {worker}: {error}")


def draw(job: ShardJob) -> Arrays:
    """The images of a shard, by the compiled renderer or, without numba, by the reference.

    The arrays are this thread's, and valid until its next call.
    """
    arrays = _thread_arrays(job.images, job.variant.canvas)
    digits = load_digits(job.digits, job.raw)
    if digits.sha256 != job.digits_sha256:
        raise DataProblemError(f"{job.digits}: the digits changed while the set was made; run again")
    photos, split = _photos(job), SPLITS.index(job.split)
    members = job.members[np.argsort(digits.labels[job.members], kind="stable")]
    if not COMPILED:
        reference = Reference(job.variant, job.seed, split, digits.images, digits.labels, members, photos)
        reference.draw_images(job.first, arrays)
        return arrays
    law = make_law(job.variant)
    start = np.searchsorted(digits.labels[members], np.arange(CLASSES + 1))
    glyphs = Glyphs(_transposed(job.digits, job.raw), members, start)
    draw_images(law, glyphs, photos, make_tools(law), np.uint64(job.seed), split, job.first, arrays)
    return arrays


_threads = local()


def _thread_arrays(images: int, canvas: int) -> Arrays:
    """This thread's arrays, cleared. They serve one shard after another: fresh memory adds a quarter to the drawing."""
    if getattr(_threads, "shape", None) != (images, canvas):
        _threads.arrays, _threads.shape = empty(images, canvas), (images, canvas)
    else:
        clear(_threads.arrays)
    return _threads.arrays


def _photos(job: ShardJob) -> Photos:
    if job.bank is None:
        return no_photos()
    bank = open_bank(job.bank)
    return Photos(bank.pixels, bank.offset, bank.height, bank.width, job.photos, bank.views)


@lru_cache(maxsize=1)
def _transposed(digits: str, raw: Path) -> np.ndarray:
    return np.ascontiguousarray(load_digits(digits, raw).images.transpose(0, 2, 1))
