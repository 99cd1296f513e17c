"""Sweeps: planning, failures, and results that equal those of single runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from bench.runs import experiment, records, subprocess_worker, sweep
from bench.runs.configure import RunSettings
from bench.runs.subprocess_worker import Worker
from mnistref.common import console
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.runs.sweep_helpers import COMPUTING, SHORT, alone, done, outcome, planned
from tests.helpers import networks


@pytest.fixture
def broken(tmp_path):
    """Return broken(statement, file), which returns the name of a module that runs the statement in training."""

    def broken(what: str, file: str = "broken.py") -> str:
        forward = f"if self.training:\n    {what}\nreturn self.score(x)"
        return f"{write_module(tmp_path, 'import os, signal' + scorer('Broken', forward), file)}:Broken"

    return broken


def test_all_mechanisms_run_with_one_seed_before_the_next(mini, make):
    other = make("mref", sizes={"train": 20, "val": 10, "test": 10})
    tasks = sweep.SweepPlan(
        networks("none", "pan"), [mini, other], 2, RunSettings(SHORT, "one", COMPUTING)
    ).build_tasks()
    order = [(t.config.seed, t.config.variant, t.config.attn) for t in tasks]
    assert order == [(s, v, a) for s in (0, 1) for v in ("mini", "mref") for a in ("none", "pan")]


def test_the_note_of_a_variant_is_logged_once_per_command(mini, tmp_path, caplog):
    class Failing:
        def run_all(self, tasks):
            return ((task, subprocess_worker.RunOutcome("failed", "not done")) for task in tasks)

    for _ in range(2):
        console.start_command()
        caplog.clear()
        with caplog.at_level("INFO"):
            sweep.sweep(planned(mini, seeds=2), tmp_path, Failing())
        assert [line for line in caplog.messages if "no published results" in line] == [
            "mini is for first steps and tests: there are no published results to compare its numbers with"
        ]


def test_mechanism_named_twice_runs_once(mini):
    assert planned(mini, ("none", "pan", "none")) == planned(mini)


def test_each_run_starts_from_weights_of_its_mechanism_and_seed(mini, make, tmp_path):
    easy, hard = tmp_path / "easy", make("mref", sizes={"train": 20, "val": 10, "test": 10})
    attns = ["none", "pan"]
    alone(planned(mini, attns, seeds=2), easy)
    starts, missing = sweep.find_initial_runs(easy, networks(*attns), 2)
    tasks = sweep.SweepPlan(
        networks(*attns), [hard], 2, RunSettings(SHORT, "one", COMPUTING), initial_runs=starts
    ).build_tasks()
    assert (len(tasks), missing) == (4, [])
    for task in tasks:
        start = records.read_json(task.init / records.CONFIG)
        assert (start["attn"], start["seed"], start["variant"]) == (task.config.attn, task.config.seed, "mini")
        assert task.config.init.startswith(f"{mini.name},fast")
    first = tasks[0]
    assert done([first], tmp_path / "runs")["none"].status == "ok"
    again = experiment.run(first.config, hard, tmp_path / "again", init=first.init)
    assert outcome(again) == outcome(tmp_path / "runs" / first.config.run_id)


@pytest.mark.long_form
def test_sweep_names_runs_without_usable_initial_weights(mini, tmp_path, monkeypatch):
    """The other runs finish, and a second sweep does not repeat them."""
    monkeypatch.setattr(Worker, "launch", lambda _, task: subprocess_worker.run_task(task).outcome)  # no new process
    alone(planned(mini), tmp_path / "easy")
    how = ["sweep", "--data", str(mini), "--seeds", "1", "--epochs", "1", "--threads", "1", "--device", "cpu"]

    def swept(init: str, attns: str, *more: str) -> tuple[int, str]:
        arguments = [*how, "--init", str(tmp_path / init), "--runs", str(tmp_path / "runs"), "--attn", attns, *more]
        told = CliRunner().invoke(cli.bench, arguments)
        return told.exit_code, told.stderr

    code, said = swept("easy", "none,san")
    assert code == 6
    assert "1 of 2 runs failed or diverged: san seed 0: no finished run with initial weights" in said
    code, said = swept("easy", "none,san")
    assert code == 6
    assert f"already finished: {mini.name} none seed 0" in said
    alone(planned(mini, recipe=replace(SHORT, epochs=2)), tmp_path / "easy")
    for arguments, words in (
        (("easy", "han"), "no finished run of these mechanisms and seeds"),
        (("runs", "none"), "saves its runs in the same folder; give --runs another one"),
        (("easy", "none"), "more than one finished run of none with seed 0 (mini-none-s0-"),
        (("easy", "none", "--variant", "mini"), "--data or --variant"),
        (("easy", "+".join([*["none"] * 5, "arnn"])), "slots"),
    ):
        code, said = swept(*arguments)
        assert code == 2, said
        assert words in said


def test_a_sweep_of_finished_runs_writes_nothing(mini, tmp_path, monkeypatch):
    task = planned(mini)[0]
    monkeypatch.setattr("bench.runs.records.is_finished", lambda _: True)
    (tmp_path / "runs").touch()
    assert done([task], tmp_path / "runs")["none"].status == "ok"
    monkeypatch.setattr("bench.runs.records.is_finished", lambda _: False)
    with pytest.raises(OSError, match="Not a directory"):
        done([task], tmp_path / "runs")


def test_the_parts_of_a_sweep_contain_every_run_once(mini):
    tasks = planned(mini, ("none", "pan", "san"), seeds=3)
    parts = [sweep.select_shard(tasks, (k, 4)) for k in (1, 2, 3, 4)]
    assert sorted(t.name for part in parts for t in part) == sorted(t.name for t in tasks)
    assert [len(part) for part in parts] == [3, 2, 2, 2]


def test_a_failing_run_does_not_affect_the_others(broken, mini, tmp_path, monkeypatch, checked_here, rounds):
    """The command exits with 6, prints a line per run, and names the folder of the finished run.

    Each of these runs takes a process. An exit code is for the long form; test_child_process.py has it, too.
    """
    expected = {
        "raise ValueError('no such luck')": "failed: ValueError: no such luck",
        "os.kill(os.getpid(), signal.SIGKILL)": "failed: killed by SIGKILL",
        "os._exit(3)": "failed: exit code 3",
        "x = x * float('nan')": "diverged: the loss is nan",
    }
    if rounds < 200:
        del expected["os._exit(3)"]
    names = [broken(what, f"broken{k}.py") for k, what in enumerate(expected)]
    # otherwise the checks would refuse these modules first
    monkeypatch.setattr("bench.conformance.checks.require_buildable", lambda *_: None)
    how = ["--data", str(mini), "--attn", ",".join([*names, "none"]), "--seeds", "1", "--epochs", "1", "--threads", "1"]
    told = call(*how, "--device", "cpu", "--workers", "2", "--runs", str(tmp_path / "runs"), code=6)
    for number, became in enumerate(expected.values()):
        line = rf"^\[\d/{len(names) + 1}\] {mini.name} broken{number}.py:Broken#\w+ seed 0: {became}[^/]*; .* elapsed"
        assert re.search(line, told.stderr, re.MULTILINE), told.stderr
    assert f"{len(names)} of {len(names) + 1} runs failed or diverged: {mini.name} broken0.py:Broken#" in told.stderr
    assert len(told.stdout.split()) == 1
    assert records.is_finished(Path(told.stdout.strip()))


def call(*arguments: str, code: int = 0):
    result = CliRunner().invoke(cli.bench, ["sweep", *arguments])
    assert result.exit_code == code, result.output
    return result
