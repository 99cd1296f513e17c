"""Checks of user modules in a child process: a module that ends its process does not end a command."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from bench.attention import names_user_module
from bench.conformance.checks import require_buildable
from bench.conformance.isolation import ProbeProcess, examine_networks
from bench.networks.attribute import AttributeCNN
from bench.runs import records, subprocess_worker
from mnistref.common.errors import RunProblemError, UsageProblemError
from mnistref.variants import VARIANTS
from tests.bench.attention.user_modules import GOOD, write_module
from tests.bench.bench_command import TRAINING

ENDS = """
import ctypes, os
class Leaves(Own):
    def forward(self, x, query):
        if len(x) == 2:
            os._exit(0)
        return super().forward(x, query)
class Crashes(Own):
    def forward(self, x, query):
        ctypes.string_at(0)
class Interrupts(Own):
    def forward(self, x, query):
        raise KeyboardInterrupt
class Moves(Own):
    def __init__(self, channels, query_dim):
        super().__init__(channels, query_dim)
        os.chdir("/")
    def forward(self, x, query):
        os.chdir("/")
        return super().forward(x, query)
class Narrow(Own):
    def __init__(self, channels, query_dim):
        super().__init__(channels, query_dim)
        self.norm = nn.GroupNorm(32, channels)
"""
MINI = VARIANTS["mini"]


@pytest.fixture
def own(tmp_path) -> Path:
    return write_module(tmp_path, GOOD + ENDS)


def call(*arguments: object):
    return CliRunner().invoke(cli.bench, [str(argument) for argument in arguments])


def test_module_that_ends_its_process_is_unfit_and_other_modules_are_not(own):
    networks, unfit = examine_networks([*(f"{own}:{name}" for name in ("Crashes", "Own", "Interrupts")), "san"], [MINI])
    names = [network.name.partition("#")[0] for network in networks]
    assert names == ["own.py:Crashes", "own.py:Own", "own.py:Interrupts", "san"]
    assert {name.partition("#")[0]: why for (name, _), why in unfit.items()} == {
        "own.py:Crashes": "not fit to be benchmarked: the module's process failed: killed by SIGSEGV",
        "own.py:Interrupts": "not fit to be benchmarked: it raises KeyboardInterrupt",
    }


@pytest.mark.long_form
def test_module_that_changes_the_working_directory_can_be_loaded_again(own, monkeypatch, rounds):
    monkeypatch.chdir(own.parent)
    networks, unfit = examine_networks(["own.py:Moves", "none,own.py:Moves"], [MINI])
    assert (len(networks), unfit) == (2, {})
    with ProbeProcess() as process:
        for _ in range(2 if rounds >= 200 else 0):
            process.require_buildable_in_probe("own.py:Moves", MINI)
    assert Path.cwd() == own.parent


@pytest.mark.long_form
def test_a_run_keeps_relative_paths_when_its_module_changes_the_working_directory(own, mini, monkeypatch):
    monkeypatch.chdir(own.parent)
    done = call("run", "--attn", "own.py:Moves", "--data", mini, "--runs", "here", *TRAINING)
    assert done.exit_code == 0, done.stderr
    (run,) = (own.parent / "here").glob("mini-*")
    assert records.is_finished(run)
    assert done.stdout.strip() == f"here/{run.name}"


def test_networks_that_cannot_be_examined_are_refused(own, tmp_path):
    (tmp_path / "leaves.py").write_text("import os; os._exit(0)")
    with pytest.raises(RunProblemError, match=r"leaves\.py:Own: .*the module ended the process with exit code 0$"):
        examine_networks(["san", f"{tmp_path / 'leaves.py'}:Own"], [MINI])
    with pytest.raises(UsageProblemError, match=r"Class\(.* raises"):
        examine_networks(["san", f"{own}:Narrow"], [MINI], width=20)
    with pytest.raises(UsageProblemError, match="did you mean 'arnn'"):
        examine_networks(["arn"], [MINI])


def test_shipped_mechanisms_are_checked_in_the_parent_process(own, monkeypatch):
    monkeypatch.setattr("bench.conformance.isolation.ChildProcess", None)
    with ProbeProcess() as process:
        process.call(require_buildable, "noctx:kernel=3,arnn", MINI)
        with pytest.raises(TypeError):
            process.call(require_buildable, f"none, {own}:Own", MINI)
    assert not names_user_module("none,noctx:kernel=3")


def test_shipped_mechanisms_are_built_once_when_they_are_examined(monkeypatch):
    built, add_mechanisms = [], AttributeCNN._add_mechanisms

    def count(network, mechanisms) -> None:
        built.append(mechanisms[-1].full_name)
        add_mechanisms(network, mechanisms)

    monkeypatch.setattr(AttributeCNN, "_add_mechanisms", count)
    networks, unfit = examine_networks(["pan:kernel=3", "san"], [MINI])
    assert [network.name for network in networks] == built == ["pan:kernel=3", "san"]
    assert unfit == {}
    with pytest.raises(UsageProblemError, match="does not work on images of 48 px"):
        examine_networks(["san", "arnn:padding=reflect:context=9"], [MINI])


def test_child_process_that_does_not_start_is_no_finding_about_the_module(own, tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise ImportError('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        ProbeProcess() as process,
        pytest.raises(RunProblemError, match="does not start: exit code 1: ImportError: no such"),
    ):
        process.call(require_buildable, f"{own}:Own", MINI)


@pytest.mark.parametrize("command", ["check", "run"])
def test_commands_refuse_a_module_that_ends_its_process(command, own, tmp_path):
    options = ["--variant", "mini", "--root", tmp_path / "root", "--attn"] if command == "run" else []
    done = call(command, *options, f"{own}:Leaves")
    assert (done.exit_code, done.stdout) == (6, ""), done.output
    assert done.stderr.count("\n") == 1
    assert "own.py:Leaves: not fit to be benchmarked: the module ended the process with exit code 0" in done.stderr
    assert not (tmp_path / "root").exists()


def test_runs_of_an_unfit_module_fail_and_other_runs_finish(own, mini, tmp_path, monkeypatch):
    monkeypatch.setattr(
        subprocess_worker, "launch", lambda task, *_: subprocess_worker.run_task(task)
    )  # checks in this process are faster
    how = ["--data", mini, "--seeds", "1", "--epochs", "1", "--threads", "1", "--device", "cpu"]
    done = call("sweep", *how, "--attn", f"{own}:Leaves,none", "--runs", tmp_path / "runs")
    assert done.exit_code == 6, done.output
    why = "not fit to be benchmarked: the module ended the process with exit code 0"
    assert re.search(rf"^\[1/2\] {mini.name} own.py:Leaves#\w+ seed 0: failed: {why}$", done.stderr, re.MULTILINE)
    assert f"1 of 2 runs failed or diverged: {mini.name} own.py:Leaves#" in done.stderr
    (folder,) = done.stdout.split()
    assert records.read_json(Path(folder) / records.CONFIG)["attn"] == "none"
    assert records.is_finished(Path(folder))


def test_sweep_of_unfit_modules_generates_no_data(own, tmp_path, checked_here):
    (tmp_path / "odd.py").write_text((own.read_text()).replace("return self.score(x)", "return 3 or self.score(x)"))
    done = call("sweep", "--variant", "mini", "--attn", f"{tmp_path / 'odd.py'}:Own", "--root", tmp_path / "root")
    assert done.exit_code == 6, done.output
    assert "failed check: returns the shapes of a slot" in done.stderr
    assert not (tmp_path / "root").exists()
