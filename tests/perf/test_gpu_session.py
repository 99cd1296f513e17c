"""The GPU session, executed on a CPU: after any end, all measurements until then can be read."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch

from mnistref.common.atomic_files import PARTIAL
from tests.helpers import TOP
from tests.perf import gpu_session, packs, places
from tests.perf.places import fast_folder

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a rehearsal for machines without CUDA")
SCRIPT = TOP / "tests" / "perf" / "gpu_session.sh"
FILES = {"session.json", "session.log", "caches.tar.xz"}
"""All files of a session."""


def started(out: Path, *more: str, **environment: str) -> subprocess.Popen:
    known = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.Popen(
        ["bash", str(SCRIPT), str(out), "--tiny", "--kept", str(out.parent / "kept"), *more],
        env=known,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def read(out: Path) -> dict:
    """Return the measurements of a session, and check that its files are complete."""
    if (out / "caches.tar.xz").exists():
        with tarfile.open(out / "caches.tar.xz", "r:xz") as packed:
            packed.getmembers()
    return json.loads((out / "session.json").read_text())


@pytest.mark.long_form
def test_a_tiny_session_from_end_to_end(tmp_path):
    """session.json is always complete; self-tests run with Triton, and parts for CUDA are skipped."""
    pytest.importorskip("triton")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".partial-0-session.json").touch()  # a file of a killed session
    process, looks = started(tmp_path / "out", TRITON_INTERPRET="1"), 0
    while process.poll() is None:
        if (tmp_path / "out" / "session.json").exists():
            looks += len(read(tmp_path / "out")["parts"]) > 0
        time.sleep(0.05)
    assert process.returncode == 0
    assert looks > 20
    found = read(tmp_path / "out")
    rows = found["measurements"]
    assert found["parts"][-1] == {"part": "session", "state": "done", "at": found["parts"][-1]["at"]}
    keys = "cuda", "selftest", "errors", "skipped", "smoke"
    by = {key: [row for row in rows if key in row] for key in keys}
    assert by["cuda"][0]["cuda"] is False
    assert ["works" in row for row in by["selftest"]] == [True]
    (errors,) = by["errors"]
    assert (errors["products"], errors["same_bits"]) == ("bf16", True)
    assert max(errors["errors"]) <= 2 * errors["bound"]  # the interpreter truncates, and a GPU rounds
    assert {(row["part"], row["skipped"]) for row in by["skipped"]} == {("gpu_times layers", "no CUDA device")}
    interrupted, resumed = by["smoke"]
    assert interrupted["status"] == 130
    assert (resumed["status"], resumed["went_on"], resumed["run"]) == (0, True, "ok")
    assert {path.name for path in (tmp_path / "out").rglob("*")} == FILES
    assert (tmp_path / "kept" / "session.json").read_bytes() == (tmp_path / "out" / "session.json").read_bytes()
    assert {path.name for path in (tmp_path / "kept").iterdir()} <= {"session.json", "triton", "numba"}
    assert not list(fast_folder().glob(f"bench-session-{process.pid}-*"))
    again = tmp_path / "again"
    assert packs.unpack(tmp_path / "out" / "caches.tar.xz", again).endswith("files unpacked")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_session_leaves_complete_measurements(number, tmp_path, rounds):
    if number == signal.SIGINT and rounds < 200:
        pytest.skip("SIGTERM has the same handler; both are for the long form, --rounds 200")
    draw = random.Random(number + 100)
    for k in range(1 if rounds < 200 else 20):
        out = tmp_path / str(k)
        process = started(out, "--work", str(tmp_path / f"work-{k}"))
        while not (out / "session.json").exists():
            time.sleep(0.02)
        time.sleep(draw.uniform(0, 3 if rounds < 200 else 60))
        os.killpg(process.pid, number)
        process.wait(20)
        assert process.returncode in (-number, 128 + number)
        assert read(out)["parts"][0]["part"] == "session"
        assert {path.name for path in out.rglob("*") if not path.name.startswith(PARTIAL)} <= FILES


def test_a_part_over_its_limit_is_killed_and_the_next_part_runs(tmp_path):
    log, environment = open(tmp_path / "log", "w"), {**os.environ, "PYTHONPATH": str(TOP)}  # noqa: SIM115
    session = gpu_session.Session(tmp_path, 60)
    slow = gpu_session.Part("gpu_checks", ("machine",), 2)
    with log:
        gpu_session.do(session, slow, environment, log)
        gpu_session.do(session, gpu_session.Part("gpu_nowhere", (), 30), environment, log)
        late = gpu_session.Session(tmp_path / "late", 5)
        gpu_session.do(late, slow, environment, log)
    states = [part["state"] for part in read(tmp_path)["parts"]]
    assert states[0] == "begun"
    assert states[1] in ("ended after 2 s", "status 0")
    assert states[2] == "status 1"
    assert read(tmp_path / "late")["parts"][-1]["state"] == "no time was left"
    assert "gpu_nowhere" in (tmp_path / "log").read_text()


def processes(*words: str) -> list[int]:
    """Return the processes whose command names all these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes()
            if all(word.encode() in command for word in words):
                found.append(int(path.parent.name))
    return [number for number in found if number != os.getpid()]


def until(condition, seconds: float = 120) -> bool:
    """Wait for a condition, and return whether it became true."""
    end = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return met


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, 0])
def test_no_process_outlives_the_session_or_the_time_limit_of_its_part(number, tmp_path, rounds):
    """The part generates data in a child process, which is stopped. Number 0 waits for the limit of the part.

    A child that has not executed its program yet has the command line of its parent. It is not stopped: the parent
    waits for it in the kernel and handles no signal until then.
    """
    if not number and rounds < 200:
        pytest.skip("waiting for a limit is for the long form, --rounds 200")
    limit = 600 if number else 25
    plan = f"from tests.perf import gpu_session as s; s.TINY = (s.Part('gpu_smoke', ('data',), {limit}),); s.main()"
    work = tmp_path / "work"
    command = [sys.executable, "-c", plan, tmp_path / "out", "--tiny", "--seconds", "900", "--work", work]
    command += ["--kept", tmp_path / "kept"]
    session = subprocess.Popen(command, cwd=TOP, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    generating = str(work), "\0generate\0"
    assert until(lambda: processes(*generating))
    (maker,) = processes(*generating)
    os.kill(maker, signal.SIGSTOP)
    if number:
        session.send_signal(number)
    session.wait(60)
    assert session.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, 0: 0}[number]
    assert until(lambda: not processes(str(work)), 20)
    if not number:
        assert "ended after 25 s" in [part["state"] for part in read(tmp_path / "out")["parts"]]


@pytest.mark.parametrize("there", [True, False])
def test_the_driver_is_queried_for_a_gpu_if_pytorch_did_not_answer(there, tmp_path, monkeypatch):
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\nexit {0 if there else 9}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    session = gpu_session.Session(tmp_path / "out", 60)
    gpu_session.settle(session)
    assert session.found("cuda") is there
    part = gpu_session.Part("gpu_times", ("layers",), 25, "cuda")
    assert gpu_session.lacking(part, session) == ("" if there else "no CUDA device")
    session.measured("machine", {"cuda": True})
    gpu_session.settle(session)
    assert gpu_session.lacking(part, session) == ""


def test_default_folder_of_kept_is_fixed_and_private(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "fast_folder", lambda: tmp_path)
    folder = places.kept_folder(None)
    assert folder.parent == tmp_path
    assert places.kept_folder(None) == folder
    assert places.kept_folder(tmp_path / "mine") == tmp_path / "mine"
    folder.chmod(0o777)
    assert places.kept_folder(None) != folder


def test_code_without_a_commit_gives_a_warning(tmp_path, monkeypatch):
    monkeypatch.delenv("BENCH_COMMIT", raising=False)
    monkeypatch.setattr(places, "TOP", tmp_path)
    assert "set BENCH_COMMIT" in places.without_commit()
    monkeypatch.setenv("BENCH_COMMIT", "0123456789ab")
    assert places.without_commit() == ""
    monkeypatch.delenv("BENCH_COMMIT")
    (tmp_path / ".git").touch()
    assert places.without_commit() == ""


def test_every_part_of_the_plan_is_an_existing_command():
    for part in (*gpu_session.PLAN, *gpu_session.TINY):
        if isinstance(part, gpu_session.Part):
            assert part.arguments[0] in (TOP / "tests" / "perf" / f"{part.module}.py").read_text()
            assert part.needs in ("", "cuda", "triton", "sanitizer")
        else:
            assert part in (gpu_session.WAIT, gpu_session.PACK)
    assert next(part for part in gpu_session.PLAN if isinstance(part, gpu_session.Part)).arguments == ("machine",)


def test_the_most_important_parts_come_first():
    order = [part.arguments[0] for part in gpu_session.PLAN if isinstance(part, gpu_session.Part)]
    first = [order.index(name) for name in ("machine", "selftest", "errors", "layers", "steps", "run", "reference")]
    assert first == sorted(first)
    assert max(first) < min(map(order.index, ("warps", "weights", "products")))
    assert order[-2:] == ["steps", "steps"]  # at 224 px, and in fp32
    (steps,) = [part for part in gpu_session.PLAN[: gpu_session.PLAN.index(gpu_session.PACK)] if "steps" in str(part)]
    assert steps.arguments == ("steps", "32x5", "128", "50")


def test_caches_that_are_too_large_do_not_replace_the_old_ones(tmp_path):
    (tmp_path / "triton").mkdir()
    (tmp_path / "triton" / "kernel").write_bytes(random.Random(0).randbytes(5000))
    assert packs.pack_folder(tmp_path, ["triton", "numba"], tmp_path / "caches.tar.xz", 10_000) > 5000
    kept = (tmp_path / "caches.tar.xz").read_bytes()
    (tmp_path / "triton" / "other").write_bytes(random.Random(1).randbytes(6000))
    assert packs.pack_folder(tmp_path, ["triton", "numba"], tmp_path / "caches.tar.xz", 10_000) == 0
    assert (tmp_path / "caches.tar.xz").read_bytes() == kept
