"""The papers' grid in parts: it resumes after every stop, and a killed grid leaves complete records."""

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

from bench.leaderboard.aggregate import build_board
from bench.runs import records
from mnistref.common.atomic_files import PARTIAL
from tests.helpers import TOP, long_form
from tests.perf import grid_options, grid_plan
from tests.perf.grid_commands import Commands

SCRIPT = TOP / "bench" / "scripts" / "grid.sh"
LEFT = 75
SMALL = ("--device", "cpu", "--epochs", "1", "--seeds", "1", "--margin", "0.3", "--workers", "1")
FILES = {"grid.json", "grid.log", "records-1.tar.xz", "records-2.tar.xz", "weights-1.tar.xz"}
"""All files of a grid: eight, with the three files of a session."""
STAGES = len(grid_plan.STAGES)
PRETENDED = """
import os, shutil, sys, time
from pathlib import Path
arguments = sys.argv[1:]
with open(os.environ["TOLD"], "a") as file:
    file.write(" ".join(arguments) + "\\n")
given = dict(zip(arguments[2:], arguments[3:]))
if arguments[0] == "--probe-of":
    broken = os.environ.get("BROKEN_" + given["--capture"].upper(), "").split()
    for name in arguments[1].split(","):
        if name in broken:
            print('{"network": "%s", "failed": "RuntimeError: it broke"}' % name, flush=True)
        elif name + "!" in broken:
            os._exit(134)
        else:
            time_of = name, 1.5 if name == "pan-ctx" else 1.1
            print('{"network": "%s", "train_step_ms": %f, "infer_ms_per_image": 0.01}' % time_of, flush=True)
    sys.exit(0)
if arguments[1] == "sweep":
    source, runs = os.environ.get("SOURCE"), Path(given["--runs"])
    variants = [value[7:] for option, value in zip(arguments, arguments[1:]) if option == "--data"]
    names = [variant + "-" + attn for attn in given["--attn"].split(",") for variant in variants]
    for name in names if source else []:
        run = runs / (name + "-s0-0123456789ab")
        if (run / "result.json").is_file():
            continue
        run.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(source).iterdir(), key=lambda path: path.name == "result.json"):
            shutil.copy(file, run / ("." + file.name))
            os.replace(run / ("." + file.name), run / file.name)
        time.sleep(float(os.environ.get("TAKES", 0)))
    time.sleep(0 if source else float(os.environ.get("TAKES", 0)))
    codes = [pair.split("=") for pair in os.environ.get("CODES", "").split()]
    sys.exit(next((int(code) for name, code in codes if name == given["--attn"]), 0))
if given["--variant"] == os.environ.get("NO_SET"):
    sys.exit(3)
print("set-of-" + given["--variant"])
"""


def started(folder, photos, *more, **environment) -> subprocess.Popen[str]:
    command = ["bash", str(SCRIPT), str(folder), str(photos), *map(str, more)]
    command += ["--kept", f"{folder}-kept"]
    known = {**os.environ, "PYTHON": sys.executable, **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=known, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def wait_until_begun(process: subprocess.Popen[str], out: Path, seconds: float = 120) -> None:
    """Wait for grid.json. The grid handles signals from then on; before, an interrupt gives any exit code."""
    end = time.monotonic() + seconds
    while not (out / "grid.json").exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


def grid(*arguments, **environment) -> tuple[int, str]:
    process = started(*arguments, **environment)
    _, errors = process.communicate(timeout=300)
    return process.returncode, errors


@pytest.fixture
def program(tmp_path) -> str:
    """Return the command of a program that only records its calls. -S makes its start faster."""
    path = tmp_path / "program.py"
    path.write_text(PRETENDED)
    return f"{sys.executable} -S {path}"


@pytest.fixture
def fake_grid(program, tmp_path):
    """Return fake_grid(seconds, …), which returns exit code and sweeps of a grid with the fixture `program`."""
    told = tmp_path / "told"

    def fake_grid(*seconds, photos="photos", options=SMALL, **environment) -> tuple[int, list[str]]:
        told.write_text("")
        (tmp_path / photos).mkdir(exist_ok=True)
        more = [*options, "--program", program]
        code, _ = grid(tmp_path / "grid", tmp_path / photos, *seconds, *more, TOLD=str(told), **environment)
        return code, [line for line in told.read_text().splitlines() if line.startswith("bench sweep")]

    return fake_grid


@pytest.fixture
def record(tmp_path):
    """Return the folder of a finished run with all its records."""
    kept = next((TOP / "results" / "fast" / "runs").glob("mref-san-s0-*"))
    run = tmp_path / "record"
    run.mkdir()
    for name in (records.CONFIG, records.ENVIRONMENT, records.HISTORY, records.RESULT):
        (run / name).write_bytes((kept / name).read_bytes())
    answers = {name: torch.from_numpy(array) for name, array in records.read_answers(kept).items()}
    records.write_answers(run, answers)
    (run / records.WEIGHTS).write_bytes(random.Random(0).randbytes(5000))
    return run


def unpacked(out: Path, folder: Path) -> list[str]:
    """Unpack all packs, check the records of every run, and return the names of the runs."""
    for pack in sorted(out.glob("*.tar.xz")):
        with tarfile.open(pack, "r:xz") as packed:
            packed.extractall(folder, filter="data")
    for run in folder.iterdir():
        assert records.read_result(run)["status"] == "ok"
        assert records.read_answers(run) is not None
    return sorted(run.name for run in folder.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["nan"], "nan is not a positive number of seconds"),
        (["0"], "0 is not a positive number of seconds"),
        (["90", "--workers", "0"], "0 is less than 1"),
        (["90", "--batch", "1"], "1 is less than 2"),
        (["90", "--seeds", "0"], "0 is less than 1"),
        (["90", "--sizes", "a", "b", "c"], "invalid"),
        (["90", "--main", "saan"], "did you mean 'san'"),
        (["90", "--digits", "no-such-folder"], "no folder here"),
        (["90", "--out", __file__], "cannot be made a folder"),
    ],
)
def test_wrong_values_are_refused_in_one_line_before_anything_is_made(more, message, tmp_path):
    code, errors = grid(tmp_path / "grid", "builtin", *more, "--device", "cpu")
    assert (code, message in errors.splitlines()[-1]) == (2, True), errors
    assert not (tmp_path / "grid" / "runs").exists()


def test_the_grid_prints_its_progress_and_its_end(program, tmp_path):
    call = [tmp_path / "grid", "builtin", 90, *SMALL, "--stages", "3", "--program", program]
    code, errors = grid(*call, TOLD=os.devnull, NO_SET="mdist")
    lines = errors.splitlines()
    assert code == 3
    assert any("mref+mbg/san, seed 0: ended with 0 after" in line for line in lines)
    assert "runs finished; ended with 3: " in lines[-1]
    assert lines[-1].endswith("grid.log")
    code, errors = grid(*call, TOLD=os.devnull)
    assert (code, "nothing is left" in errors.splitlines()[-1]) == (0, True)


def test_the_grid_resumes_after_its_time_is_over(fake_grid, tmp_path):
    code, first = fake_grid(3, TAKES="0.6")
    assert (code, 0 < len(first) < STAGES) == (LEFT, True)
    code, rest = fake_grid(90)
    assert code == 0
    assert len(first) + len(rest) in (STAGES, STAGES + 1)  # a run may have been in progress
    assert fake_grid(60) == (0, [])
    assert len(fake_grid(90, photos="others")[1]) == STAGES


def test_failed_runs_do_not_stop_the_grid_and_a_failed_command_does(fake_grid):
    code, asked = fake_grid(90, CODES="arnn,pan,pan-ctx,san=6")
    assert (code, len(asked)) == (0, STAGES)
    code, asked = fake_grid(90, photos="others", CODES="none+arnn,brnn3+arnn,brnn2+arnn,arnn=3")
    assert (code, len(asked)) == (3, 5)


def test_every_run_has_random_weights_and_one_thread(fake_grid):
    code, asked = fake_grid(90, options=(*SMALL, "--stages", "2"))
    assert code == 0
    assert all("--init" not in line and "--fade" not in line for line in asked)
    assert all("--questions all --epochs 1 --threads 1" in line for line in asked)
    assert "--data set-of-mref --data set-of-mbg " in asked[0]


@pytest.fixture
def on_gpu(fake_grid, program, tmp_path):
    """Return on_gpu(options …) → exit code, sweeps of a stage and grid.json, with a driver that reports a GPU."""
    driver = tmp_path / "bin" / "nvidia-smi"
    driver.parent.mkdir()
    driver.write_text("#!/bin/sh\n")
    driver.chmod(0o755)
    prober = f"{program} --probe-of"

    def on_gpu(*more: str, **environment) -> tuple[int, list[str], dict]:
        options = ("--margin", "0.3", "--workers", "1", "--seeds", "1", "--stages", "1", "--prober", prober, *more)
        path = f"{driver.parent}:{os.environ['PATH']}"
        code, asked = fake_grid(60, options=options, PATH=path, **environment)
        return code, asked, json.loads((tmp_path / "grid" / "grid.json").read_text())

    return on_gpu


def captured(asked: list[str]) -> dict[str, str]:
    """Return the value of --capture for the mechanisms of each sweep."""
    given = [dict(zip(line.split()[2:], line.split()[3:], strict=False)) for line in asked]
    return {each["--attn"]: each["--capture"] for each in given}


def test_probed_mechanisms_train_with_cuda_graphs(on_gpu):
    code, asked, told = on_gpu()
    assert (code, captured(asked)) == (0, {"pan-ctx,san,pan,arnn": "graph"})
    assert (told["estimated"], told["probes"], told["eager"]) == ([], [], [])
    assert f"--epochs {told['epochs']} " in asked[0]


def test_steps_with_all_questions_are_not_recorded(on_gpu):
    code, asked, told = on_gpu("--questions", "all", BROKEN_GRAPH="san pan pan-ctx arnn")
    assert (code, captured(asked)) == (0, {"pan-ctx,san,pan,arnn": "eager"})
    assert "--questions all" in asked[0]
    assert (told["estimated"], told["probes"], told["eager"]) == ([], [], [])


@pytest.mark.parametrize("how", ["arnn", "arnn!"])
def test_a_mechanism_that_cannot_be_recorded_trains_eagerly(how, on_gpu):
    code, asked, told = on_gpu(BROKEN_GRAPH=how)
    assert (code, captured(asked)) == (0, {"pan-ctx,san,pan": "graph", "arnn": "eager"})
    assert (told["estimated"], told["eager"]) == ([], ["arnn"])
    assert told["times"]["arnn"]["train_step_ms"] == 1.1
    (probe,) = told["probes"]
    assert probe["code"] == (134 if "!" in how else 0)


@pytest.mark.parametrize("how", ["pan", "pan!"])
def test_a_mechanism_whose_probes_fail_does_not_affect_the_others(how, on_gpu):
    """After a crash, a new process measures the remaining mechanisms."""
    code, asked, told = on_gpu(BROKEN_GRAPH=how, BROKEN_EAGER=how)
    assert (code, captured(asked)) == (0, {"pan-ctx,san,arnn": "graph", "pan": "eager"})
    assert (told["estimated"], told["eager"]) == (["pan"], ["pan"])
    assert told["times"]["pan"]["train_step_ms"] == pytest.approx(1.1 * 0.95 / 0.55)
    assert [probe["capture"] for probe in told["probes"]] == ["graph", "eager"]


def test_times_and_kernels_of_a_session_are_used(on_gpu, tmp_path):
    """No probe runs. The session is found in the folder of --kept."""
    row = {"variant": "mref", "precision": "bf16", "batch": 32, "questions": 5, "infer_ms_per_image": 0.1}
    rows = [{**row, "network": name, "train_step_ms": ms} for ms, name in enumerate(grid_plan.MAIN, start=1)]
    (tmp_path / "grid-kept").mkdir()
    (tmp_path / "grid-kept" / "session.json").write_text(json.dumps({"measurements": rows}))
    every = " ".join(grid_plan.MAIN)
    code, asked, told = on_gpu(BROKEN_GRAPH=every, BROKEN_EAGER=every)
    assert (code, captured(asked)) == (0, {"arnn,pan-ctx,pan,san": "graph"})
    assert told["times"]["arnn"]["train_step_ms"] == 4
    options = grid_options.parsed("", [str(tmp_path / "other"), "builtin", "--kept", str(tmp_path / "grid-kept")])
    environment = Commands(options).environment
    assert environment["TRITON_CACHE_DIR"] == str(tmp_path / "grid-kept" / "triton")
    assert environment["NUMBA_CACHE_DIR"] == str(tmp_path / "grid-kept" / "numba")
    assert environment["BENCH_TIMING_ROUNDS"] == os.environ.get("BENCH_TIMING_ROUNDS", "1")


def test_a_probe_that_measures_nothing_leaves_estimates(on_gpu):
    every = "san! pan pan-ctx! arnn"
    code, asked, told = on_gpu(BROKEN_GRAPH=every, BROKEN_EAGER=every)
    assert (code, captured(asked)) == (0, {"arnn,pan,pan-ctx,san": "eager"})
    assert told["times"]["arnn"]["train_step_ms"] == 10.0
    assert told["epochs"] >= 1


def test_a_run_that_cannot_be_recorded_is_trained_again(fake_grid, record, tmp_path, on_gpu):
    """This happens if its mechanism was not probed or the probe was wrong."""
    result = json.loads((record / records.RESULT).read_text())
    result |= {"status": "failed", "reason": "RuntimeError: this cannot be recorded as a CUDA graph, give --capture"}
    (record / records.RESULT).write_text(json.dumps(result))
    config = json.loads((record / records.CONFIG).read_text()) | {"attn": "arnn"}
    (record / records.CONFIG).write_text(json.dumps(config))
    code, asked, told = on_gpu(SOURCE=str(record), CODES="pan-ctx,san,pan,arnn=6")
    assert (code, captured(asked)) == (0, {"pan-ctx,san,pan,arnn": "graph", "arnn": "eager"})
    assert told["eager"] == ["arnn"]


def test_a_data_set_that_cannot_be_generated_ends_the_grid_when_needed(fake_grid):
    code, asked = fake_grid(90, NO_SET="mdist")
    assert (code, len(asked)) == (3, 1)


def test_wrong_arguments_of_the_grid(fake_grid, tmp_path):
    assert fake_grid(0.01) == (LEFT, [])
    assert fake_grid("9m") == (2, [])
    assert grid(tmp_path / "grid", tmp_path / "nowhere") == (
        2,
        f"{tmp_path / 'nowhere'}: no folder of photographs here\n",
    )
    code, said = grid(tmp_path / "grid", "builtin", "--device", "tpu")
    assert (code, "usage: bench/scripts/grid.sh" in said) == (2, True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_without_a_gpu_the_grid_makes_no_folder(tmp_path):
    code, said = grid(tmp_path / "grid", "builtin")
    assert (code, said.startswith("no CUDA device here")) == (2, True)
    assert not (tmp_path / "grid").exists()


@pytest.mark.parametrize("number", long_form([signal.SIGKILL, signal.SIGINT, signal.SIGTERM], [signal.SIGKILL]))
def test_a_killed_grid_leaves_complete_records(number, record, program, tmp_path, rounds):
    """All finished runs except the latest are packed, and a second call resumes."""
    if number == signal.SIGINT and rounds < 200:
        pytest.skip("the end-to-end test interrupts; a second interrupt is for the long form, --rounds 200")
    draw = random.Random(number)
    for k in range(1 if rounds < 200 else 40):
        folder, out = tmp_path / f"grid-{k}", tmp_path / f"out-{k}"
        more = [60, "--out", out, *SMALL, "--stages", "3", "--program", program]
        known = {"TOLD": os.devnull, "SOURCE": str(record), "TAKES": "0.8"}
        process = started(folder, "builtin", *more, **known)
        wait_until_begun(process, out)
        time.sleep(draw.uniform(0, 4))  # the 26 runs take 20.8 or more
        os.killpg(process.pid, number) if number == signal.SIGKILL else process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode in (-number, 128 + number)
        assert {path.name for path in out.iterdir() if not path.name.startswith(PARTIAL)} <= FILES
        json.loads((out / "grid.json").read_text())
        finished = {path.parent.name for path in folder.glob("runs/**/result.json")}
        (folder / "unpacked").mkdir(parents=True)
        packed = unpacked(out, folder / "unpacked")
        seen = 3 if number == signal.SIGKILL else 0  # since the last check for finished runs
        assert len(finished) - seen <= len(packed) <= len(finished)
        assert set(packed) <= finished
    code, _ = grid(folder, "builtin", *more, **{**known, "TAKES": "0"})
    assert code == 0
    (tmp_path / "all").mkdir()
    assert len(unpacked(out, tmp_path / "all")) == 26
    assert {path.name for path in out.rglob("*")} <= FILES


@pytest.mark.long_form
def test_the_grid_trains_small_networks_from_end_to_end(tmp_path):
    """The grid is interrupted and resumed, and the packed records give a leaderboard."""
    out = tmp_path / "out"
    more = [240, "--out", out, "--device", "cpu", "--digits", "mnist5k", "--seeds", "1", "--main", "san"]
    more += ["--workers", "1", "--sizes", "64", "20", "20", "--batch", "8", "--epochs", "1", "--margin", "5"]
    more += ["--training", "--threads 1", "--stages", "1"]
    process = started(tmp_path / "grid", "builtin", *more)
    wait_until_begun(process, out)
    time.sleep(random.Random(7).uniform(0, 18))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 130)
    json.loads((out / "grid.json").read_text())
    assert grid(tmp_path / "grid", "builtin", *more)[0] == 0
    (tmp_path / "runs").mkdir()
    names = unpacked(out, tmp_path / "runs")
    assert [name.split("-s0-")[0] for name in names] == ["mbg-san", "mref-san"]
    board = build_board(records.read_results(tmp_path / "runs"))
    assert board["attn"].tolist() == ["san", "san"]
    assert {path.name for path in (tmp_path / "grid" / "all").iterdir()} == set(names)
    told = json.loads((out / "grid.json").read_text())
    assert sorted(row["run"] for row in told["runs"]) == names
    assert all(row["seconds"] > 0 for row in told["runs"])
