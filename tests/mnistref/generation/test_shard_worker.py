"""One shard drawn and written by a worker: the two renderers, and errors that name the worker."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from mnistref.common.errors import DataProblemError, UsageProblemError
from mnistref.generation import shard_worker
from mnistref.generation.generate import generate
from mnistref.generation.shard_worker import ShardJob, require_room
from mnistref.variants import VARIANTS, change_law
from tests.helpers import digests
from tests.mnistref.generation.remote_executor import RemoteExecutor, refused, same


@pytest.fixture(autouse=True)
def _several_shards(monkeypatch) -> None:
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 8)


@pytest.mark.parametrize("variant", ["mdist", "mbginv"])
def test_bytes_are_the_same_without_numba(variant, request_for, monkeypatch):
    expected = digests(generate(request_for(variant, name="compiled")))
    monkeypatch.setattr(shard_worker, "COMPILED", False)
    with ThreadPoolExecutor(1) as executor:
        assert digests(generate(request_for(variant, name="plain"), executor=executor)) == expected


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


def test_digits_without_room_are_refused_without_numba(digits, root, monkeypatch):
    law = change_law(VARIANTS["mini"], (1.7, 1.7), (9, 9))
    monkeypatch.setattr("mnistref.generation.shard_worker.COMPILED", False)
    monkeypatch.setattr("mnistref.rendering.reference.MAX_TRIES", 20)
    with pytest.raises(UsageProblemError, match=r"9 digits at scale 1\.7 do not fit on 48 px"):
        require_room(law, "mnist5k", digits, root / "raw")
