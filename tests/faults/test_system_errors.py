"""System errors are reported with reason and path, not as damage, and reading a data set writes no files."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import cli
from mnistref import MnistRef, dataset
from mnistref.common import atomic_files
from mnistref.common.errors import DataProblemError
from mnistref.inspection.statistics import statistics
from mnistref.inspection.verify import verify
from mnistref.storage.manifest import MANIFEST, read_manifest
from mnistref.storage.open_shards import SHARD_FILES


def refusing(number: int, *names: str):
    """Return a wrapper that makes a function raise this OSError for paths that contain one of these names."""

    def refuse(original):
        def call(path, *args, **kwargs):
            if any(name in os.fsdecode(path) for name in names if isinstance(path, str | bytes | os.PathLike)):
                raise OSError(number, os.strerror(number), os.fsdecode(path))
            return original(path, *args, **kwargs)

        return call

    return refuse


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
