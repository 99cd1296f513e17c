"""A worker's result is accepted only after its shard file is visible."""

import os
import shutil
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path

import pytest

from mnistref.common.errors import DataProblemError, ProblemError, RunProblemError
from mnistref.generation import dispatch, shard_worker
from mnistref.generation.generate import Request, generate
from mnistref.generation.shard_worker import ShardJob, ShardResult
from mnistref.inspection.verify import verify


class RemoteExecutor(Executor):
    """An executor that runs jobs at once as a remote worker does, with a changed job or a changed answer."""

    def __init__(
        self, change: Callable[[ShardJob], ShardJob], answer: Callable[[ShardResult], object] = lambda made: made
    ):
        self.change, self.answer = change, answer

    def submit(self, fn, /, job, **_) -> Future:
        future: Future = Future()
        try:
            future.set_result(self.answer(fn(replace(self.change(job), parent_process="another machine"))))
        except Exception as error:
            future.set_exception(error)
        return future


def same(job: ShardJob) -> ShardJob:
    return job


@pytest.fixture
def request_for(tmp_path, photo_folder, idx_folder, monkeypatch):
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)
    monkeypatch.setattr(dispatch, "_ARRIVAL_TIMEOUT_SECONDS", 0.3)

    def request_for(variant: str = "mbg") -> Request:
        sizes = {"train": 20, "val": 8, "test": 9}
        return Request(variant, tmp_path / "root", 0, sizes, str(idx_folder), str(photo_folder))

    return request_for


def refused(request: Request, executor: Executor, message: str, error: type[ProblemError] = RunProblemError) -> None:
    with pytest.raises(error, match=message):
        generate(request, executor=executor)
    assert not list(request.root.glob("datasets/*/SHA256SUMS"))
    assert verify(generate(request)) == []


def test_shard_written_to_another_folder_is_refused(request_for, tmp_path):
    def there(job: ShardJob) -> ShardJob:
        return replace(job, path=tmp_path / "there" / job.path.name)

    (tmp_path / "there").mkdir()
    refused(
        request_for(), RemoteExecutor(there), r"\.h5: missing here, although worker .* wrote it.*mount the same folder"
    )


def test_shard_written_to_another_folder_is_refused_despite_an_old_shard(request_for, tmp_path):
    """The old shard is damaged, so it must be generated again."""
    folder = generate(request_for())
    path = folder / "val-00000-of-00001.h5"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    (folder / "SHA256SUMS").unlink()
    (tmp_path / "there").mkdir()

    def there(job: ShardJob) -> ShardJob:
        return replace(job, path=tmp_path / "there" / job.path.name)

    refused(request_for(), RemoteExecutor(there), "missing here, although worker")


def test_a_truncated_shard_of_a_worker_is_refused(request_for):
    def cut(made: ShardResult) -> ShardResult:
        path = next(request_for().root.glob(f"datasets/*/{made.shard.file}"))
        os.truncate(path, made.shard.bytes - 1)
        return made

    refused(request_for(), RemoteExecutor(same, cut), "missing here, although worker")


def test_late_shard_file_is_waited_for(request_for, monkeypatch):
    monkeypatch.setattr(dispatch, "_ARRIVAL_TIMEOUT_SECONDS", 10)
    hidden: list[Path] = []

    def hide(made: ShardResult) -> ShardResult:
        path = next(request_for().root.glob(f"datasets/*/{made.shard.file}"))
        hidden.append(path.rename(path.with_name("hidden")))
        return made

    def show(folder: Path) -> list[str]:
        for path in hidden[-1:]:
            path.rename(path.with_name("test-00001-of-00002.h5"))
            hidden.clear()
        return []

    def hide_the_last(made: ShardResult) -> ShardResult:
        return hide(made) if made.shard.file == "test-00001-of-00002.h5" else made

    monkeypatch.setattr(dispatch.os, "listdir", show)
    assert verify(generate(request_for(), executor=RemoteExecutor(same, hide_the_last))) == []


def test_worker_does_not_create_a_missing_data_set_folder(request_for, tmp_path):
    def there(job: ShardJob) -> ShardJob:
        return replace(job, path=tmp_path / "there" / job.path.name)

    refused(
        request_for(), RemoteExecutor(there), r"^worker \S+ \(process \d+\) does not see .*there: mount the same folder"
    )
    assert not (tmp_path / "there").exists()


def test_photos_that_are_missing_on_a_worker_are_an_error(request_for, tmp_path):
    def there(job: ShardJob) -> ShardJob:
        return replace(job, bank=tmp_path / "raw" / "photos-100-x")

    refused(request_for(), RemoteExecutor(there), r"worker \S+ \(process \d+\) does not see .*/raw/photos-100-x")


def test_digits_that_differ_on_a_worker_are_an_error(request_for, idx_folder, tmp_path):
    shutil.copytree(idx_folder, other := tmp_path / "other")
    (other / "train-images-idx3-ubyte").unlink()
    found = RemoteExecutor(lambda job: replace(job, digits=str(other)))
    refused(request_for(), found, r"worker \S+ \(process \d+\): .*other: no train-images", DataProblemError)


def test_disk_error_of_a_worker_names_the_worker(request_for, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "x.h5")

    with monkeypatch.context() as patch:
        patch.setattr(shard_worker, "write_shard", full)
        with pytest.raises(OSError, match="No space left") as caught:
            generate(request_for(), executor=RemoteExecutor(same))
    assert caught.value.filename.startswith("worker ")
    assert caught.value.filename.endswith(": x.h5")


def test_worker_of_another_version_refuses_a_job(request_for):
    older = RemoteExecutor(lambda job: replace(job, code="0.0.9 (123)"))
    answer = r"worker \S+ \(process \d+\): mnistref is .* here, 0\.0\.9 \(123\) in the parent process.*install"
    refused(request_for(), older, answer)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda made: made.shard, "a worker has another version"),
        (lambda made: replace(made, code="0.0.9 (123)"), r"worker \S+ \(process \d+\) has 0\.0\.9 \(123\)"),
    ],
    ids=["without a version", "other"],
)
def test_result_from_a_worker_of_another_version_is_refused(answer, message, request_for):
    refused(request_for(), RemoteExecutor(same, answer), rf"{message}; install the same everywhere")
