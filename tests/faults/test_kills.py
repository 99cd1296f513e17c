"""Processes killed or interrupted at random times leave only complete files, and the same command completes them."""

import os
import shutil
import signal
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import h5py
import numpy as np
import pytest

from mnistref.storage.journal import JOURNAL, append_shard
from mnistref.storage.manifest import read_manifest
from tests.faults.helpers import HANG_SECONDS, children, content, finish, is_one_line, leftovers, start
from tests.helpers import long_form


@pytest.fixture(scope="module")
def duration(request_of, undisturbed, tmp_path_factory):
    """Return a function `duration(variant, workers)`: seconds of an undisturbed run before and after its first file."""

    @lru_cache
    def duration(variant: str, workers: str) -> tuple[float, float]:
        undisturbed(variant)  # compiles the code, so that the measured run does not
        begin, root = time.monotonic(), tmp_path_factory.mktemp("timed")
        running = start(request_of(root, variant), workers)
        wait_for_writing(root, running)
        middle = time.monotonic()
        assert finish(running)[0] == 0
        return middle - begin, time.monotonic() - middle

    return duration


def wait_for_writing(root: Path, running) -> None:
    while not (root / ".locks").is_dir() and running.poll() is None:
        time.sleep(0.005)


def require_complete_files(root: Path, whole: Path) -> None:
    """Check that every file with a final name has the expected bytes."""
    expected = content(whole)
    for folder in root.glob("datasets/*"):
        for name, data in content(folder).items():
            assert name == JOURNAL or name.startswith(".partial-") or data == expected[name], name


@pytest.mark.parametrize(
    ("variant", "workers", "share"),
    long_form(
        [("mini", "threads", 0.5), ("mbg", "threads", 0.25), ("mini", "processes", 0.25)], [("mbg", "threads", 0.25)]
    ),
)
def test_killed_generate_is_completed_by_the_same_command(
    variant, workers, share, rounds, duration, request_of, undisturbed, completes, tmp_path
):
    """Kill the parent process: every fourth time uniformly over its whole run, else uniformly over the time after its
    first file.
    """
    rng, struck, kills = np.random.default_rng(0), 0, max(1, round(rounds * share))
    imports, writing = duration(variant, workers)
    for k in range(kills):
        root = tmp_path / str(k)
        running = start(request_of(root, variant), workers)
        if k % 4 == 3:
            time.sleep(rng.uniform(0, imports + writing))
        else:
            wait_for_writing(root, running)
            time.sleep(rng.uniform(0, 0.9 * writing))
        running.kill()
        finish(running)
        struck += (root / ".locks").is_dir() and not any(root.glob("datasets/*/dataset.json"))
        require_complete_files(root, undisturbed(variant))
        completes(root, variant)
        shutil.rmtree(root)
    assert struck >= kills // 2


def workers_of(running, least: int = 1) -> list[int]:
    """Wait for at least this many workers of a run, and return them; none if the run ends before."""
    while len(found := children(running.pid)) < least:
        if running.poll() is not None:
            return []
        time.sleep(0.01)
    return found


def test_killed_worker_process_is_replaced(rounds, duration, request_of, undisturbed, tmp_path):
    rng = np.random.default_rng(1)
    killed = 0
    for k in range(max(1, rounds // 4)):
        root = tmp_path / str(k)
        running = start([*request_of(root), "--workers", "2"], "processes")
        found = workers_of(running, least=2)
        time.sleep(0 if k == 0 else rng.uniform(0, 0.6 * duration("mini", "processes")[1]))
        for worker in found[:1]:
            if running.poll() is None and worker in children(running.pid):
                os.kill(worker, signal.SIGKILL)
        code, out, errors = finish(running)
        killed += "a worker died (killed by SIGKILL)" in errors
        assert code == 0, errors
        assert content(Path(out.strip())) == content(undisturbed("mini"))
        assert leftovers(root) == []
        shutil.rmtree(root)
    assert killed


def test_repeatedly_killed_workers_are_an_error(request_of, completes, tmp_path):
    running = start(request_of(tmp_path), "processes")
    end = time.monotonic() + HANG_SECONDS
    while running.poll() is None and time.monotonic() < end:
        for worker in children(running.pid):
            with suppress(ProcessLookupError):  # the worker may have exited meanwhile
                os.kill(worker, signal.SIGKILL)
        time.sleep(0.01)
    code, _, errors = finish(running)
    assert code == 6, errors
    assert is_one_line(errors)
    assert "workers died repeatedly (killed by SIGKILL), as where memory runs out" in errors
    completes(tmp_path)


def test_workers_of_a_killed_run_exit(request_of, tmp_path):
    """No worker continues in the background, where it could write into the next run's data set or hold memory."""
    running = start([*request_of(tmp_path), "--workers", "2"], "processes")
    found = workers_of(running, least=2)
    assert found
    while not list(tmp_path.glob("datasets/*/*.h5")):
        time.sleep(0.01)
    running.kill()
    finish(running)
    end = time.monotonic() + HANG_SECONDS
    while any(is_running(worker) for worker in found):
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("workers", long_form(["threads", "processes"], ["processes"]))
def test_interrupted_generate_ends_and_is_completed_by_the_same_command(
    workers, rounds, duration, request_of, undisturbed, completes, tmp_path
):
    """Send SIGINT to all processes of the group, at a time between the first file and the end."""
    rng = np.random.default_rng(2)
    interrupted = 0
    for k in range(max(2, rounds // 8)):
        root = tmp_path / str(k)
        running = start(request_of(root), workers)
        while not (root / ".locks").is_dir():
            time.sleep(0.005)
        time.sleep(0 if k == 0 else rng.uniform(0, 0.7 * duration("mini", workers)[1]))
        os.killpg(running.pid, signal.SIGINT)
        begin = time.monotonic()
        code, _, errors = finish(running)
        assert code in (0, 130, -signal.SIGINT), errors  # -SIGINT during the exit of Python, which shells report as 130
        if code:
            interrupted += 1
            assert time.monotonic() - begin < 5
            assert is_one_line(errors) or code == -signal.SIGINT
            assert leftovers(root) == []
        require_complete_files(root, undisturbed("mini"))
        completes(root)
        shutil.rmtree(root)
    assert interrupted


def test_two_simultaneous_runs_generate_one_data_set(rounds, request_of, undisturbed, tmp_path):
    for k in range(max(1, rounds // 8)):
        root = tmp_path / str(k)
        both = [start(request_of(root, "mbg")) for _ in range(2)]
        for code, out, errors in map(finish, both):
            assert code == 0, errors
            assert content(Path(out.strip())) == content(undisturbed("mbg"))
        assert len(list((root / "datasets").iterdir())) == 1
        assert leftovers(root) == []
        shutil.rmtree(root)


def made_at(file: Path) -> tuple[int, int]:
    """Return the identity of a file. Inode numbers are reused, so compare more than the inode."""
    return file.stat().st_ino, file.stat().st_mtime_ns


def test_finished_shards_are_not_made_again(undisturbed, completes, small_shards, tmp_path):
    """Only shards without a line in the journal of the killed run are generated again."""
    shards = read_manifest(undisturbed("mini")).shards
    folder = tmp_path / "datasets" / undisturbed("mini").name
    folder.mkdir(parents=True)
    for shard in shards[:4]:
        shutil.copy(undisturbed("mini") / shard.file, folder)
    for shard in shards[:3]:
        append_shard(folder, shard)
    before = [made_at(folder / shard.file) for shard in shards[:4]]
    completes(tmp_path)
    after = [made_at(folder / shard.file) for shard in shards[:4]]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, True, True, False]


def test_temporary_photo_bank_of_a_killed_run_is_removed(request_of, completes, tmp_path):
    """A run killed before it renames the photo bank leaves a temporary folder in `raw/`; the next run removes it."""
    (tmp_path / "raw" / ".partial-x-photos").mkdir(parents=True)
    (tmp_path / "raw" / ".partial-x-photos" / "pixels.u1").write_bytes(b"half")
    completes(tmp_path, "mbg")


def test_shard_without_journal_entry_is_regenerated_without_being_opened(request_of, undisturbed, completes, tmp_path):
    """The shard must not be opened, because HDF5 hangs on some damaged files."""
    shutil.copytree(undisturbed("mini"), folder := tmp_path / "datasets" / undisturbed("mini").name)
    (folder / "dataset.json").unlink()
    shard = next(folder.glob("*.h5"))
    with h5py.File(shard, "a") as file:
        del file["label"]
    completes(tmp_path)
