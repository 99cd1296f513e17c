"""Small sweeps: planned, executed by worker processes, and executed in this process run by run."""

import json
from pathlib import Path

import torch

from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment, records, subprocess_worker, sweep, sweep_workers
from bench.runs.configure import RunSettings
from bench.training.progress import ProgressOptions
from tests.helpers import networks

COMPUTING = ComputeConfig(torch.device("cpu"))
SHORT = Recipe("fast", "adam", lr=0.003, batch=25, epochs=1, schedule="onecycle")


def planned(mini, attns=("none", "pan"), seeds=1, recipe=SHORT) -> list[sweep.Task]:
    return sweep.SweepPlan(networks(*attns), [mini], seeds, RunSettings(recipe, "one", COMPUTING)).build_tasks()


def done(tasks, runs, workers=1) -> dict[str, subprocess_worker.RunOutcome]:
    with sweep_workers.local_workers("cpu", workers, threads=1) as launcher:
        return {task.config.attn: ended for task, ended in sweep.sweep(tasks, runs, launcher).items()}


def outcome(run: Path) -> tuple:
    """Return the results of a run, without its times."""
    history = [
        json.loads(line) | {"seconds": 0, "device_seconds": 0}
        for line in (run / records.HISTORY).read_text().splitlines()
    ]
    return history, (run / records.WEIGHTS).read_bytes()


def alone(tasks, runs) -> dict[str, tuple]:
    """Execute runs in this process with one thread. Return the outcome of each run by the name of its folder."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folders = [experiment.run(task.config, task.data, runs) for task in tasks]
    torch.set_num_threads(before)
    return {folder.name: outcome(folder) for folder in folders}


def task_message(task: sweep.Task, runs: Path) -> dict:
    return task.as_dict(runs, ProgressOptions())
