"""A worker's result is accepted only after its shard file is visible."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mnistref.generation import dispatch
from mnistref.generation.generate import Request, generate
from mnistref.generation.shard_worker import ShardJob, ShardResult
from mnistref.inspection.verify import verify
from tests.mnistref.generation.remote_executor import RemoteExecutor, refused, same


@pytest.fixture
def request_for(tmp_path, photo_folder, idx_folder, monkeypatch):
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)
    monkeypatch.setattr(dispatch, "_ARRIVAL_TIMEOUT_SECONDS", 0.3)

    def request_for(variant: str = "mbg") -> Request:
        sizes = {"train": 20, "val": 8, "test": 9}
        return Request(variant, tmp_path / "root", 0, sizes, str(idx_folder), str(photo_folder))

    return request_for


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
