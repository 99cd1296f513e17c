"""The cache of open shards: its limit, threads, forks, locks, and replaced files."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from torch.utils.data import DataLoader

from mnistref import MnistRef
from mnistref.storage.manifest import read_manifest
from mnistref.storage.open_shards import SHARD_FILES, ShardFiles, max_open
from tests.helpers import TOP


@pytest.fixture
def many(make, monkeypatch) -> Path:
    """Return a data set of 15 shards."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 2)
    monkeypatch.setattr("mnistref.storage.manifest_schema.SHARD_IMAGES", 2)
    return make("mini", seed=21, sizes={"train": 20, "val": 6, "test": 4})


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_bounded_number_of_shards_stays_open(many, monkeypatch):
    SHARD_FILES.close()
    monkeypatch.setattr("mnistref.storage.open_shards.MAX_OPEN", 3)
    before, data = open_files(), MnistRef(many)
    first = [np.asarray(data[k]["image"]) for k in range(20)]
    assert open_files() <= before + 3
    assert all(np.array_equal(np.asarray(data[k]["image"]), first[k]) for k in reversed(range(20)))
    SHARD_FILES.close()
    assert open_files() <= before


def test_number_of_open_shards_is_a_share_of_the_process_limit(monkeypatch):
    resource = pytest.importorskip("resource")
    for limit, most in ((256, 64), (100_000, 64), (20, 5), (3, 1), (resource.RLIM_INFINITY, 64)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert max_open() == most


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.long_form
def test_few_file_descriptors_suffice_and_none_is_explained(many):
    """The process may open 24 files. Other code in it holds all but two of them, then all."""
    code = """
import os, resource, sys
import mnistref.storage.manifest_schema, mnistref.storage.manifest
mnistref.storage.manifest_schema.SHARD_IMAGES = mnistref.storage.manifest.SHARD_IMAGES = 2
from mnistref import MnistRef
from mnistref.dataset import map_split, read_split
data, unread = MnistRef(sys.argv[1]), MnistRef(sys.argv[1], "val")
data[0]
resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(2):
    os.close(held.pop())
print(len({tuple(data[k]["box"].tolist()) for k in range(20)}))
map_split(sys.argv[1], "val"), read_split(sys.argv[1], "test", "label")
while True:
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
from mnistref.storage.open_shards import SHARD_FILES
SHARD_FILES.close()
for _ in range(2):
    try:
        held.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        break
data[0]  # already mapped
unread[0]
"""
    done = subprocess.run([sys.executable, "-c", code, str(many)], cwd=TOP, capture_output=True, text=True, check=False)
    assert int(done.stdout) > 1, done.stderr
    assert done.returncode == 1
    wanted = f"OSError: [Errno 24] Too many open files: '{many}/val-0000"
    lines = done.stderr.split("Exception ignored in atexit")[0].splitlines()  # PyTorch's exit handler fails too
    assert lines[-1].startswith(wanted), done.stderr


def test_threads_and_forked_workers_read_the_same(many):
    data = MnistRef(many)
    wanted = [int(data[k]["image"].sum()) for k in range(20)]
    found: dict[int, int] = {}

    def read(first: int) -> None:
        for k in range(20):
            found[first * 20 + (k + first) % 20] = int(data[(k + first) % 20]["image"].sum())

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[k * 20 + i] for k in range(4) for i in range(20)] == wanted * 4
    loader = DataLoader(data, num_workers=2, batch_size=None, multiprocessing_context="fork")
    assert [int(sample["image"].sum()) for sample in loader] == wanted


def test_regenerated_data_set_is_not_read_from_the_old_file(make, tmp_path):
    folder = make("mini", root=tmp_path)
    data = MnistRef(folder)
    before = data[0]["image"].clone()
    other = make("mini", seed=5, root=tmp_path / "other")
    for path in other.iterdir():
        path.replace(folder / path.name)
    assert not np.array_equal(np.asarray(MnistRef(folder)[0]["image"]), np.asarray(before))


def test_shard_opened_elsewhere_is_read(mini):
    """The file is locked by another process, as HDF5 does for writing, and by this one with another kind of lock."""
    SHARD_FILES.close()
    shard = mini / read_manifest(mini).shards[0].file
    lock = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX)"
    code = f"{lock}; print(1, flush=True); sys.stdin.read()"
    other = subprocess.Popen([sys.executable, "-c", code, str(shard)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline()
    assert MnistRef(mini)[0]["query"] >= 0
    other.communicate()
    SHARD_FILES.close()
    with h5py.File(shard, "r", locking=False):
        assert MnistRef(mini)[0]["query"] >= 0
    SHARD_FILES.close()


def test_open_shards_of_two_pools_are_separate(mini):
    files = ShardFiles(most=1)
    manifest = read_manifest(mini)
    shards = [shard for shards in manifest.splits.values() for shard in shards]
    for shard in (*shards, *shards):
        with files.open(mini / shard.file, shard, manifest.variant.canvas) as file:
            assert len(file["label"]) == shard.images
    files.close()
