"""Send shard jobs to the workers of an executor, and check each shard in the parent process."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from pathlib import Path
from time import monotonic, sleep

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

_POLL_SECONDS = 3  # without a finished shard, before the workers are checked
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
    """Make every shard, and add its `ShardInfo` to `infos` under its file name.

    Args:
        jobs: the shards to make.
        bar: progress bar in images.
        infos: finished shards by file name.
        workers: number of local workers; not used with `executor` or `scheduler`.
        executor: an executor to use instead of local workers.
        scheduler: address of a Dask scheduler whose workers are used instead.

    Raises:
        RunProblemError: workers died, or they do not see the same files or run other code.
    """
    for job in jobs:  # a damaged file must not pass for the worker's result
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
    """Run the jobs. Add each finished shard to `infos` and to the journal.

    The first error cancels the other jobs. `watch` is called while nothing finishes, and may raise.
    """
    futures = {executor.submit(make_shard, job): job for job in jobs}
    waiting = set(futures)
    try:
        while waiting:
            done, waiting = wait(waiting, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                path = futures[future].path
                info = _extract_shard_info(path, future.result())
                append_shard(path.parent, info)
                infos[info.file] = info
                bar.update(info.images)
            if not done:
                watch()
    finally:
        for future in futures:
            future.cancel()


def _extract_shard_info(path: Path, result: object) -> ShardInfo:
    """Return the shard that a worker reports.

    Raises:
        RunProblemError: the worker runs other code, or its file is not visible here.
    """
    if not isinstance(result, ShardResult) or result.code != CODE:  # early versions do not report their code
        theirs = (
            f"worker {result.worker} has {result.code}"
            if isinstance(result, ShardResult)
            else "a worker has another version"
        )
        raise RunProblemError(
            f"mnistref is {CODE} here, {theirs}; install the same everywhere, start the workers again, and run again"
        )
    if path.name != result.shard.file or not _appears(path, result.shard.bytes):
        raise RunProblemError(
            f"{path}: missing here, although worker {result.worker} wrote it: the worker sees another folder of this "
            "name; mount the same folder under the same path on every worker, and run again"
        )
    return result.shard


def _appears(path: Path, size: int) -> bool:
    """Return whether a file of this size exists, or appears within `_ARRIVAL_TIMEOUT_SECONDS`."""
    began = monotonic()
    while not (is_file(path) and path.stat().st_size == size):
        if monotonic() - began > _ARRIVAL_TIMEOUT_SECONDS:
            return False
        sleep(0.2)
        os.listdir(path.parent)  # makes a network file system refresh its listing
    return True


def _run_locally(jobs: list[ShardJob], workers: int, bar: tqdm, infos: dict[str, ShardInfo]) -> None:
    """Run the jobs on workers of this machine. Replace killed workers a few times."""
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
            log.warning("a worker died (%s); continuing with new ones (attempt %d of %d)", error, tries + 1, RETRIES)
    assert reason
    raise RunProblemError(f"workers died repeatedly ({reason}){reason.advice('give fewer --workers')}") from reason
