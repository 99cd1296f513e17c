"""Atomic writes of files and folders, kinds of paths, and paths as text."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from mnistref.common.atomic_files import PARTIAL, atomic_folder, check_file, path_of_text, path_to_text, write_whole


def test_write_whole_creates_and_replaces_files(tmp_path):
    path = tmp_path / "new" / "file.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["file.bin"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_only_the_old_file(step, tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    write_whole(path, b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_write_whole_writes_into_an_existing_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_bytes)
        write_whole(pipe, b"one", b"two")
        assert read.result(timeout=60) == b"onetwo"
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_write_error_names_the_final_file(tmp_path):
    (tmp_path / "file.bin" / "x").mkdir(parents=True)
    with pytest.raises(OSError, match="directory") as error:
        write_whole(tmp_path / "file.bin", b"new")
    assert error.value.filename == str(tmp_path / "file.bin")


def test_output_path_kind_follows_from_the_existing_file(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "broken").symlink_to("nothing")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    names = ("file", "link", "broken", "loop", "folder", "pipe", "none", "file/none")
    found = {name: check_file(tmp_path / name) for name in names}
    assert [name for name, what in found.items() if not what] == ["file", "link"]
    assert (found["broken"], found["loop"]) == ("a link to nothing", "a link to itself")
    assert found["folder"].startswith("a folder")
    assert found["none"] == found["file/none"] == "missing"


def test_atomic_folder_appears_only_when_complete(tmp_path):
    def interrupted():
        with atomic_folder(tmp_path / "a") as partial:
            (partial / "x").write_text("half")
            assert partial.name.startswith(PARTIAL)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        interrupted()
    assert os.listdir(tmp_path) == []
    with atomic_folder(tmp_path / "a") as partial:
        (partial / "x").write_text("whole")
    with atomic_folder(
        tmp_path / "a"
    ) as partial:  # a folder that exists stays, as if another process had finished first
        (partial / "x").write_text("late")
    assert (tmp_path / "a" / "x").read_text() == "whole"
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    "name", [b"plain/a.png", "é.png".encode(), b"\xff/a%41 b.png", b"bytes:a%41.png", b"bytes:\xe9"]
)
def test_path_of_any_bytes_is_stored_as_text(name):
    text = path_to_text(os.fsdecode(name))
    assert path_of_text(text.encode().decode()) == os.fsdecode(name)
