"""Full disks and failing calls: exit code 5, a one-line error, no partial files, and the same command resumes."""

import builtins
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import mnistref
from mnistref.storage.journal import JOURNAL
from tests.faults.helpers import TOP, content, is_one_line, leftovers, run
from tests.helpers import long_form


@pytest.mark.parametrize("variant", long_form(["mini", "mbg"], ["mini"]))
def test_run_with_a_file_size_limit_is_completed_without_the_limit(
    variant, rounds, request_of, undisturbed, completes, tmp_path
):
    """The limits range from 0 to the size of the largest file."""
    sizes = [path.stat().st_size for path in undisturbed(variant).parents[1].rglob("*") if path.is_file()]
    steps, failed = max(3, rounds // 4), 0
    for k in range(steps):
        root, most = tmp_path / str(k), max(sizes) * k // (steps - 1)
        limit = lambda most=most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))  # noqa: E731
        code, _, errors = run(request_of(root, variant), limit=limit)
        assert code == (5 if most < max(sizes) else 0), errors
        if code:
            failed += 1
            assert is_one_line(errors)
            assert leftovers(root) == []
            completes(root, variant)
    assert failed == steps - 1


class Failing:
    """A function whose n-th call fails, as on a full disk; all other calls succeed."""

    def __init__(self, call, n: int, counts=lambda *_: True) -> None:
        self.call, self.left, self.counts = call, n, counts

    def __call__(self, *args, **kwargs):
        if self.counts(*args, **kwargs):
            self.left -= 1
            if self.left == 0:
                raise OSError(28, "No space left on device")
        return self.call(*args, **kwargs)


class FailingFile(io.FileIO):
    """A file whose writes are counted, together with those of all other such files."""

    writing: Failing

    def write(self, data):
        self.writing(data)
        return super().write(data)


def nth_call(name: str):
    def harm(monkeypatch, n: int) -> Failing:
        failing = Failing(getattr(os, name), n)
        monkeypatch.setattr(os, name, failing)
        return failing

    return harm


def nth_write(monkeypatch, n: int) -> Failing:
    """Fail the n-th write to files that are opened by handle, as `write_whole` does."""
    FailingFile.writing = Failing(lambda _: None, n)
    monkeypatch.setattr(os, "fdopen", lambda handle, mode: FailingFile(handle, mode))
    return FailingFile.writing


def nth_open_to_write(monkeypatch, n: int) -> Failing:
    """Fail the n-th open of the other files: the journal and the photo bank. `Path.write_text` calls io.open."""
    failing = Failing(builtins.open, n, lambda path, mode="r", *_, **__: isinstance(path, Path) and mode[0] in "aw")
    monkeypatch.setattr(builtins, "open", failing)
    monkeypatch.setattr(io, "open", failing)
    return failing


@pytest.mark.parametrize(
    ("variant", "harm"),
    [
        pytest.param("mini", nth_call("fsync"), marks=pytest.mark.long_form),
        ("mini", nth_call("replace")),
        ("mini", nth_write),
        pytest.param("mini", nth_call("chmod"), marks=pytest.mark.long_form),
        ("mbg", nth_call("rename")),
        pytest.param("mbg", nth_open_to_write, marks=pytest.mark.long_form),
        pytest.param("mbg", nth_call("open"), marks=pytest.mark.long_form),
        ("mbg", nth_call("mkdir")),
        pytest.param("mbg", nth_call("unlink"), marks=pytest.mark.long_form),
    ],
    ids=["fsync", "replace", "write", "chmod", "rename", "open", "os.open", "mkdir", "unlink"],
)
def test_same_command_resumes_after_any_failed_system_call(
    variant, harm, rounds, request_of, undisturbed, small_shards, tmp_path, monkeypatch
):
    """n = 1, 4, … (1, 2, … with `--rounds 200`) until a run makes fewer such calls. A failure of an optional file,
    such as a cache, does not fail the run.
    """
    expected, whole, failed = content(undisturbed(variant)), False, 0
    for n in range(1, 200, 1 if rounds >= 200 else 3):
        root = tmp_path / str(n)
        arguments = request_of(root, variant)
        with monkeypatch.context() as patch:
            failing = harm(patch, n)
            done = CliRunner().invoke(mnistref, arguments)
        if whole := failing.left > 0:
            break
        assert leftovers(root) == []
        if done.exit_code:
            failed += 1
            assert done.exit_code == 5, (n, done.output)
            assert is_one_line(done.stderr)
            assert "No space left" in done.stderr
        for folder in root.glob("datasets/*"):
            assert all(expected[name] == data for name, data in content(folder).items() if name != JOURNAL)
        done = CliRunner().invoke(mnistref, arguments)
        assert done.exit_code == 0, (n, done.output)
        assert content(next(root.glob("datasets/*"))) == expected
    assert whole
    assert failed
    assert done.exit_code == 0


def test_disk_error_names_the_file(request_of, small_shards, tmp_path, monkeypatch):
    nth_write(monkeypatch, 1)
    assert "-of-00004.h5: No space left on device" in CliRunner().invoke(mnistref, request_of(tmp_path)).stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_failed_write_to_stdout_is_an_error(undisturbed):
    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "verify", str(undisturbed("mini"))]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert is_one_line(done.stderr)
