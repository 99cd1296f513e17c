"""System errors are reported with reason and path, not as damage, and reading a data set writes no files."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from torch.utils.data import DataLoader

import cli
from mnistref import MnistRef, dataset
from mnistref.common import atomic_files
from mnistref.common.errors import DataProblemError
from mnistref.inspection.verify import statistics, verify
from mnistref.storage.manifest import MANIFEST, read_manifest
from mnistref.storage.open_shards import SHARD_FILES, ShardFiles, max_open
from tests.helpers import TOP


@pytest.fixture
def many(make, monkeypatch) -> Path:
    """Return a data set of 15 shards."""
    monkeypatch.setattr("mnistref.storage.manifest.SHARD_IMAGES", 2)
    monkeypatch.setattr("mnistref.storage.manifest_schema.SHARD_IMAGES", 2)
    return make("mini", seed=21, sizes={"train": 20, "val": 6, "test": 4})


def refusing(number: int, *names: str):
    """Return a wrapper that makes a function raise this OSError for paths that contain one of these names."""

    def refuse(original):
        def call(path, *args, **kwargs):
            if any(name in os.fsdecode(path) for name in names if isinstance(path, str | bytes | os.PathLike)):
                raise OSError(number, os.strerror(number), os.fsdecode(path))
            return original(path, *args, **kwargs)

        return call

    return refuse


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


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("name", [MANIFEST, "README.md", "SHA256SUMS", "train-00000"])
def test_system_errors_name_the_path(name, number, mini, monkeypatch):
    monkeypatch.setattr("builtins.open", refusing(number, f"{mini}/{name}")(open))
    monkeypatch.setattr("io.open", refusing(number, f"{mini}/{name}")(open))
    dataset.forget_checks()
    for command in ("verify", "stats"):
        if command == "stats" and name in ("README.md", "SHA256SUMS"):
            continue
        done = CliRunner().invoke(cli.mnistref, [command, str(mini)])
        assert done.exit_code == 5, done.output
        assert os.strerror(number) in done.stderr
        assert f"{mini}/{name}" in done.stderr
        assert "damaged" not in done.stderr


def test_shard_without_permission_is_not_reported_as_damaged(mini, monkeypatch):
    SHARD_FILES.close()
    monkeypatch.setattr(h5py, "File", refusing(errno.EACCES, ".h5")(h5py.File))
    with pytest.raises(PermissionError) as error:
        MnistRef(mini)[0]
    assert error.value.filename.endswith(".h5")


def test_failed_mapping_names_the_path(mini, monkeypatch):
    def refused(*_, **__):
        raise RuntimeError("unable to mmap 100 bytes from file <x>: No such device (19)")

    monkeypatch.setattr("torch.from_file", refused)
    with pytest.raises(OSError, match="No such device") as error:
        dataset.map_split(mini, "train")
    assert error.value.filename.startswith(str(mini))


def generated(root: Path) -> tuple[int, str, str]:
    sizes = ("--train", "6", "--val", "3", "--test", "3", "--digits", "mnist5k")
    done = CliRunner().invoke(cli.mnistref, ["generate", "--variant", "mini", *sizes, "--root", str(root)])
    return done.exit_code, done.stdout.strip(), done.stderr


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_completed_data_set_on_a_read_only_disk_is_used(number, tmp_path, monkeypatch):
    code, folder, _ = generated(tmp_path)
    assert code == 0
    monkeypatch.setattr(os, "mkdir", refusing(number, str(tmp_path))(os.mkdir))
    monkeypatch.setattr("tempfile.mkstemp", lambda *_, **__: pytest.fail("something was written"))
    (tmp_path / ".locks" / f"{Path(folder).name}.lock").unlink(missing_ok=True)
    (tmp_path / ".locks").rmdir()
    assert generated(tmp_path)[:2] == (0, folder)
    (Path(folder) / MANIFEST).unlink()
    code, _, errors = generated(tmp_path)
    assert code == 5
    assert os.strerror(number) in errors
    assert f"{tmp_path}/.locks" in errors


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, None])
def test_file_system_without_locks_allows_only_completed_data_sets(number, tmp_path, monkeypatch):
    code, folder, _ = generated(tmp_path)

    def refused(*_, **__):
        raise OSError(number, os.strerror(number)) if number else NotImplementedError("no flock")

    monkeypatch.setattr(atomic_files.FileLock, "acquire", refused)
    assert generated(tmp_path)[:2] == (0, folder)
    (Path(folder) / MANIFEST).unlink()
    code, _, errors = generated(tmp_path)
    assert code == 5
    assert f"{tmp_path}/.locks/{Path(folder).name}.lock: " in errors
    assert "this file system has no locks: data sets can be read here, but not generated" in errors


@pytest.mark.parametrize("name", ["fsync", "chmod"])
def test_unsupported_file_operation_is_tolerated(name, tmp_path, monkeypatch):
    def unknown(*_, **__):
        raise OSError(errno.EINVAL if name == "fsync" else errno.EPERM, "not here")

    monkeypatch.setattr(os, name, unknown)
    code, folder, errors = generated(tmp_path)
    assert code == 0, errors
    monkeypatch.undo()
    assert verify(Path(folder)) == []


def test_data_set_of_links_is_accepted_by_every_reader(mini, tmp_path):
    """The files are links, as in the caches of huggingface_hub and DVC, and the folder is a link too."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in mini.iterdir():
        (blobs / path.name).write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(Path("../../blobs") / path.name)
    (tmp_path / "linked").symlink_to(snapshot)
    assert verify(tmp_path / "linked") == []
    assert len(statistics(tmp_path / "linked")) == len(statistics(mini))
    assert np.array_equal(np.asarray(MnistRef(tmp_path / "linked")[3]["image"]), np.asarray(MnistRef(mini)[3]["image"]))
    for command, options in (
        ("preview", ["-o", str(tmp_path / "s.png")]),
        ("export", ["--to", "png", "-o", str(tmp_path / "png")]),
    ):
        done = CliRunner().invoke(cli.mnistref, [command, str(snapshot), *options])
        assert done.exit_code == 0, done.output
    shard = read_manifest(mini).shards[0].file
    (blobs / shard).unlink()
    dataset.forget_checks()
    with pytest.raises(DataProblemError, match="the shard is a link to nothing"):
        MnistRef(snapshot)[0]


def test_open_shards_of_two_pools_are_separate(mini):
    files = ShardFiles(most=1)
    manifest = read_manifest(mini)
    shards = [shard for shards in manifest.splits.values() for shard in shards]
    for shard in (*shards, *shards):
        with files.open(mini / shard.file, shard, manifest.variant.canvas) as file:
            assert len(file["label"]) == shard.images
    files.close()
