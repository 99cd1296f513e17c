"""`bench run` killed at any time: the same command resumes, and gives the same bytes as an undisturbed run."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from bench.evaluation import snapshots
from bench.runs import records
from bench.training import checkpoints
from tests.faults.helpers import finish, start_python

DRIVER = "import sys; from cli import bench; bench(sys.argv[1:])"
TIMES = ("seconds", "device_seconds", "train_step_ms", "infer_ms_per_image", "relative_runtime", "peak_memory_mb")


def start(mini: Path, runs: Path, every: float):
    """Start a training of 3 epochs of 25 steps with dropout."""
    training = ["--epochs", "3", "--batch", "16", "--threads", "1", "--checkpoint-every", str(every)]
    where = ["--data", str(mini), "--runs", str(runs), "--device", "cpu"]
    return start_python(DRIVER, ["run", "--attn", "pan", *training, *where])


def outcome(runs: Path) -> tuple:
    """Return weights, answers and pictures as bytes, and history and result without times."""
    (run,) = (path for path in runs.iterdir() if path.name != ".locks")
    history = [json.loads(line) for line in (run / records.HISTORY).read_text().splitlines()]
    result = json.loads((run / records.RESULT).read_text())
    without = [{k: v for k, v in record.items() if k not in TIMES} for record in [*history, result]]
    kept = [run / records.WEIGHTS, run / records.ANSWERS, *sorted((run / snapshots.FOLDER).iterdir())]
    return [(path.name, path.read_bytes()) for path in kept], without


@pytest.fixture(scope="session")
def undisturbed(mini, tmp_path_factory):
    """Return the outcome of an undisturbed run, and the seconds from its first file to its end."""
    runs = tmp_path_factory.mktemp("undisturbed")
    running = start(mini, runs, 60)
    begun = when_begun(runs, running)
    code, _, errors = finish(running)
    assert code == 0, errors
    return outcome(runs), time.monotonic() - begun


def when_begun(runs: Path, running) -> float:
    while not any(runs.glob(f"*/{records.CONFIG}")) and running.poll() is None:
        time.sleep(0.005)
    return time.monotonic()


def is_inside(runs: Path) -> bool:
    """Return whether the saved checkpoint is inside an epoch."""
    states = (json.loads(path.read_text()) for path in runs.glob(f"*/{checkpoints.FOLDER}/{checkpoints.STATE}"))
    return any(state["under"] is not None for state in states)


def test_killed_training_resumes_to_the_same_bytes(rounds, mini, undisturbed, tmp_path):
    """A run saves a checkpoint after every step, so that kills often hit a write, or ten times per second. It is
    killed inside an epoch, then at times uniform over the duration of an undisturbed run: once, or twice with
    `--rounds 200`.
    """
    expected, seconds = undisturbed
    rng, inside, each = np.random.default_rng(0), 0, 3 if rounds >= 200 else 2
    for k in range(max(1, round(rounds * 0.05))):
        runs, every = tmp_path / str(k), (0.0, 0.1)[k % 2]
        for kill in range(each):
            running = start(mini, runs, every)
            begun = when_begun(runs, running)
            while not kill and not is_inside(runs):
                time.sleep(0.002)
            if kill:
                time.sleep(max(0.0, rng.uniform(0, seconds) - (time.monotonic() - begun)))
            running.kill()
            finish(running)
            inside += is_inside(runs)
        code, _, errors = finish(start(mini, runs, every))
        assert code == 0, errors
        assert outcome(runs) == expected
        assert not [*runs.glob(f"*/{checkpoints.FOLDER}/.partial-*")]
    assert inside


@pytest.mark.long_form
def test_second_process_waits_for_a_running_training(mini, undisturbed, tmp_path):
    """The second process reports that the run is already finished."""
    both = [start(mini, tmp_path, 60) for _ in range(2)]
    ended = [finish(running) for running in both]
    assert [code for code, _, _ in ended] == [0, 0], ended
    assert ended[0][1] == ended[1][1]
    assert sum("already finished" in errors for _, _, errors in ended) == 1
    assert outcome(tmp_path) == undisturbed[0]
