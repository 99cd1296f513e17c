"""Runs on several processes: equal to one process up to rounding errors, and failures of a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

import cli
from bench.compute import ComputeConfig
from bench.distributed.process_group import ProcessGroup
from bench.runs import records
from mnistref.common.errors import UsageProblemError
from tests.bench.attention.user_modules import scorer, write_module
from tests.bench.distributed import training_program
from tests.helpers import TOP

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
SHORT = ("--recipe", "pan", "--epochs", "2", "--batch", "45")
BROKEN = """
if self.training and len(x) > 8 and os.environ.get("RANK") == "1":
    raise ValueError("no such luck")
return self.score(x)
"""
"""A `forward` that fails in the second process."""


def torchrun(processes: int, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*TORCHRUN, str(processes), *map(str, arguments)],
        cwd=TOP,
        env={**os.environ, "PYTHONPATH": str(TOP), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def shared(processes: int, data: Path, out: Path, *networks: str) -> tuple[dict, dict]:
    """Return the tensors and records of this number of processes."""
    done = torchrun(processes, "tests/bench/distributed/training_program.py", data, out, *networks)
    assert done.returncode == 0, done.stderr
    return load_file(out / "tensors.safetensors"), json.loads((out / "records.json").read_text())


@pytest.fixture(scope="session")
def by_two(mini, tmp_path_factory):
    return shared(2, mini, tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="session")
def by_three(rounds, mini, tmp_path_factory):
    if rounds < 200:
        pytest.skip("three processes are for the long form, --rounds 200")
    return shared(3, mini, tmp_path_factory.mktemp("three"), "own")


def check_weights(weights: dict, attn: str, tensors: dict) -> None:
    for key, value in weights.items():
        difference = (value - tensors[f"{attn}/True/{key}"]).abs().max()
        assert difference < 1e-10, (key, float(difference))


def check_records(one: dict, several: dict) -> None:
    assert one["history"] == [pytest.approx(record, abs=1e-11) for record in several["history"]]
    curves = [record["test"].pop("pr_curve", None) or {} for record in (one, several)]
    areas = [record["test"].pop("pr_area", 0) for record in (one, several)]
    assert one["test"] == pytest.approx(several["test"], abs=1e-11)
    assert areas[0] == pytest.approx(areas[1], abs=1e-5)  # of single precision
    assert curves[0] == {name: pytest.approx(values, abs=1e-4) for name, values in curves[1].items()}


@pytest.mark.parametrize("attn", training_program.EXACT)
def test_two_processes_train_the_same_weights_and_records_as_one(attn, mini, by_two):
    """Batches have 25 images. Rounding errors in single precision grow with every step, so this test uses fp64."""
    weights, record = training_program.trained(mini, attn, True)
    check_weights(weights, attn, by_two[0])
    check_records(record, by_two[1][f"{attn}/True"])


def test_three_processes_train_the_same_weights_and_records_as_one(mini, by_three):
    weights, record = training_program.trained(mini, "own", True)
    check_weights(weights, "own", by_three[0])
    check_records(record, by_three[1]["own/True"])


@pytest.mark.parametrize("attn", training_program.SINGLE)
def test_losses_of_processes_agree_in_lower_precision(attn, mini, by_two):
    """Weights are not compared: the gradient of a bias before a batch normalisation is rounding noise for Adam."""
    _, record = training_program.trained(mini, attn, False)
    for one, two in zip(record["history"], by_two[1][f"{attn}/False"]["history"], strict=True):
        assert one["train_loss"] == pytest.approx(
            two["train_loss"], rel=1e-4 if training_program.SINGLE[attn] == "fp32" else 0.02
        )


@pytest.mark.parametrize("name", training_program.NORMS)
@pytest.mark.parametrize("processes", ["by_two", "by_three"])
def test_batch_normalisation_uses_the_batch_of_all_processes(name, processes, request):
    """Processes with 6 + 5 or 4 + 4 + 3 rows have the outputs, gradients and running statistics of eleven rows."""
    tensors, _ = request.getfixturevalue(processes)
    for key, value in training_program.normed(name).items():
        torch.testing.assert_close(value, tensors[f"norm/{name}/{key}"], rtol=1e-12, atol=1e-12, msg=key)


def test_divergence_ends_the_training_in_all_processes(mini, by_two):
    for _, record in (by_two,):
        assert record["diverged"] == training_program.diverged(mini)


@pytest.mark.parametrize("processes", ["by_two", "by_three"])
def test_all_processes_count_the_same_nonfinite_answers_and_maps(processes, mini, request):
    """The counts do not depend on the distribution of the questions among the processes."""
    alone = training_program.unfit(mini)
    assert all(" of 21 questions are " in said for said in alone)
    assert request.getfixturevalue(processes)[1]["unfit"] == alone


def command(mini: Path, runs: Path, *more: str) -> list[str]:
    return ["run", "--attn", "film", "--data", str(mini), "--device", "cpu", *SHORT, "--runs", str(runs), *more]


@pytest.mark.long_form
def test_two_processes_resume_a_run_of_one_process(mini, tmp_path, interrupt_after):
    """One process is interrupted after the first of two epochs, and two processes resume."""
    whole = CliRunner().invoke(cli.bench, command(mini, tmp_path / "one"))
    assert whole.exit_code == 0, whole.output
    with interrupt_after(2):
        assert CliRunner().invoke(cli.bench, command(mini, tmp_path / "two")).exit_code == 130
    one = Path(whole.stdout.strip())
    done = torchrun(2, "cli.py", "bench", *command(mini, tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two' / one.name}\n"
    assert done.stderr.count("resuming after epoch 1") == 1  # only the first process logs it
    check_run(one, tmp_path / "two" / one.name)


def check_run(one: Path, two: Path) -> None:
    results = [json.loads((run / records.RESULT).read_text()) for run in (one, two)]
    histories = [(run / records.HISTORY).read_text().splitlines() for run in (one, two)]
    assert results[1]["status"] == "ok"
    assert results[0].keys() == results[1].keys()
    assert results[0]["accuracy"] == pytest.approx(results[1]["accuracy"], abs=0.05)
    assert len(histories[1]) == 2
    for lines in zip(*histories, strict=True):
        first, second = map(json.loads, lines)
        assert first["train_loss"] == pytest.approx(second["train_loss"], rel=0.01)
    assert [json.loads((run / records.ENVIRONMENT).read_text())["processes"] for run in (one, two)] == [1, 2]
    assert {file.name for file in one.iterdir()} == {file.name for file in two.iterdir()}


def test_failure_in_one_process_ends_all_processes_and_is_recorded(mini, tmp_path):
    text = "import os\n" + scorer("Broken", BROKEN) + "    uses_query = False\n"
    path = write_module(tmp_path, text)
    arguments = ["--data", mini, *SHORT, "--runs", tmp_path / "runs", "--device", "cpu"]
    done = torchrun(2, "cli.py", "bench", "run", "--attn", f"{path}:Broken", *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "failed: ValueError: no such luck" in done.stderr
    (result,) = records.read_results(tmp_path / "runs")
    assert result["status"] == "failed"
    assert result["reason"].startswith("ValueError: no such luck (")  # the place in the user's file


def test_sweep_under_torchrun_is_refused(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.bench, ["sweep", "--attn", "none"])
    assert result.exit_code == 2
    assert "bench sweep under torchrun" in result.stderr


def test_cuda_graphs_and_a_shared_gpu_are_refused_with_several_processes(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cuda, second = torch.device("cuda"), ProcessGroup(1, 2, None)
    with pytest.raises(UsageProblemError, match="--capture graph"):
        second.require_supported(ComputeConfig(cuda, capture="graph"))
    with pytest.raises(UsageProblemError, match="process 2 on this machine has no GPU, there are 1"):
        second.require_supported(ComputeConfig(cuda))
    second.require_supported(ComputeConfig(torch.device("cpu")))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("total", [0, 1, 2, 25, 200])
def test_every_row_of_a_batch_belongs_to_one_process(size, total):
    parts = [range(total)[ProcessGroup(rank, size, None).rows(total)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts[0] or not total
