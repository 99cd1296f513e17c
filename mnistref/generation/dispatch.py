"""Jobs → shards: given to the workers of some executor, and each shard looked at from here before it is believed."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from tqdm import tqdm

from mnistref.common.atomic_files import is_file
from mnistref.common.child_process import ChildDiedError
from mnistref.common.errors import RunProblemError
from mnistref.generation.code_version import CODE
from mnistref.generation.executors import RETRIES, cluster_executor, local_executor
from mnistref.generation.shard_worker import ShardJob, ShardResult, make_shard
from mnistref.storage.journal import append_shard
from mnistref.storage.shards import ShardInfo

log = logging.getLogger("mnistref")

_POLL_SECONDS = 3  # seconds without a shard after which one looks whether anybody is at work
_ARRIVAL_TIMEOUT_SECONDS = (
    10  # seconds that a network file system may take to show a file here that was written elsewhere
)


def make_shards(
    jobs: list[ShardJob],
    bar: tqdm,
    infos: dict[str, ShardInfo],
    workers: int,
    executor: Executor | None = None,
    scheduler: str | None = None,
) -> None:
    """Make every shard and add it to `infos`. By `executor`, by the cluster of `scheduler`, or by workers here."""
    for job in jobs:  # what lies there is unsound, and must not be taken for what a worker wrote
        job.path.unlink(missing_ok=True)
    if executor:
        _run(jobs, executor, bar, infos)
    elif scheduler and jobs:
        with cluster_executor(scheduler) as (cluster, watch):
            _run(jobs, cluster, bar, infos, watch)
    else:
        _run_locally(jobs, workers, bar, infos)


def _run(
    jobs: list[ShardJob],
    executor: Executor,
    bar: tqdm,
    infos: dict[str, ShardInfo],
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Every shard, added to `infos` and to the journal as it is finished.

    The first error ends the others; `watch` may raise one while nothing else happens.
    """
    futures = {executor.submit(make_shard, job): job for job in jobs}
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                path = futures[future].path
                info = _require_written(path, future.result())
                append_shard(path.parent, info)
                infos[info.file] = info
                bar.update(info.images)
            if not done:
                watch()
    finally:
        for future in futures:
            future.cancel()


def _require_written(path: Path, made: Any) -> ShardInfo:
    """What a worker says of a shard, if it is of our version and its file is here; else an error of the run."""
    if not isinstance(made, ShardResult) or made.code != CODE:  # an early version says nothing of itself
        theirs = (
            f"worker {made.worker} has {made.code}" if isinstance(made, ShardResult) else "a worker has another version"
        )
        raise RunProblemError(
            f"mnistref is {CODE} here, {theirs}; install the same everywhere, start the workers again, and run again"
        )
    if path.name != made.shard.file or not _appears(path, made.shard.bytes):
        raise RunProblemError(
            f"{path}: not here, though worker {made.worker} wrote it: it does not see this folder, but another of that "
            "name; let every worker see the same files under the same paths, and run again"
        )
    return made.shard


def _appears(path: Path, size: int) -> bool:
    """Whether a file of that size lies there, or does so soon."""
    began = monotonic()
    while not (is_file(path) and path.stat().st_size == size):
        if monotonic() - began > _ARRIVAL_TIMEOUT_SECONDS:
            return False
        sleep(0.2)
        os.listdir(path.parent)  # makes a network file system ask again what there is
    return True


def _run_locally(jobs: list[ShardJob], workers: int, bar: tqdm, infos: dict[str, ShardInfo]) -> None:
    """Every shard, by workers of this machine; what killed ones leave, by new ones."""
    reason: ChildDiedError | None = None
    for tries in range(RETRIES):
        left = [job for job in jobs if job.path.name not in infos]
        if not left:
            return
        try:
            with local_executor(min(workers, len(left))) as executor:
                _run(left, executor, bar, infos)
                return
        except ChildDiedError as error:
            reason = error
            log.warning("a worker died (%s); going on with new ones (%d of %d times)", error, tries + 1, RETRIES)
    assert reason
    raise RunProblemError(f"workers die again and again ({reason}){reason.advice('give fewer --workers')}") from reason
