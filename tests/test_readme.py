"""The commands and the code in the README and in the documentation work."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

import cli
from bench.cli.values import DataSetName

TOP = Path(__file__).parent.parent
README = TOP / "README.md"
PAGES = [README, *sorted((TOP / "docs").glob("*.md"))]
PROGRAMS = {"mnistref": cli.mnistref, "bench": cli.bench}
JOB_ARRAY = "#SBATCH"
NOT_RUN = {
    "python3 -m venv": "installs packages; .ci/run runs both lines of the README",
    ". .venv/bin/activate": "changes the user's shell",
    "cp bench/examples/own_attention.py": "copies a file that a test below finds in the page",
    "eval": "shell completion is click's",
    "bash tests/perf/gpu_session.sh": "needs a GPU; see tests/perf/test_gpu_session.py",
    "bash bench/scripts/grid.sh": "needs a GPU or weeks; see tests/perf/test_grid.py",
    "nice bash bench/scripts/grid.sh": "takes ten hours; see tests/perf/test_grid.py",
    "bash bench/scripts/task_grid.sh": "needs a GPU; see tests/perf/test_task_grid.py",
    "python -m pytest": "runs these tests",
    "python tests/sameness.py": "installs other packages; see tests/integration/test_sameness.py",
    "python -m sphinx": "see tests/test_docs.py",
}
"""Commands in shell blocks that this module neither parses nor runs: how they start, and the reason."""


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def lines(page: Path) -> list[str]:
    """Return the lines of the shell blocks without comments and without the job array, which has its own test."""
    kept = [block.replace("\\\n", " ") for block in blocks(page, "sh") if JOB_ARRAY not in block]
    return [line for block in kept for line in block.splitlines() if line and not line.startswith("#")]


def commands(page: Path) -> list[str]:
    """Return every command of the shell blocks, without comments at the end of a line."""
    parts = [part.strip() for line in lines(page) for part in re.split(r"&&|\|", re.sub(r"\s#.*", "", line))]
    without_launcher = [re.sub(r"^torchrun .*--no-python ", "", part) for part in parts]
    return [re.sub(r"^(\.venv/bin/|python3? cli\.py )", "", part) for part in without_launcher]


def is_ours(command: str) -> bool:
    return command.split(maxsplit=1)[0] in PROGRAMS


def named(page: Path) -> str:
    return str(page.relative_to(TOP))


OURS = sorted({(named(page), call) for page in PAGES for call in commands(page) if is_ours(call)})
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.parametrize(("page", "call"), OURS)
def test_commands_of_the_readme_parse(page, call, monkeypatch):
    """Every line names an existing command and options of it. Files that earlier lines create count as existing."""
    program, name, *arguments = shlex.split(call.replace("$SLURM_ARRAY_TASK_ID", "1"))
    if name.startswith("--"):
        return
    command = PROGRAMS[program].commands[name]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path | DataSetName):
            monkeypatch.setattr(parameter, "type", click.Path())
    command.make_context(name, arguments)


def test_other_commands_are_listed_with_a_reason():
    """Every line of a shell block that is not parsed has a reason, and every reason is used."""
    others = [call for page in PAGES for call in commands(page) if not is_ours(call)]
    starts = tuple(NOT_RUN)
    unlisted = [call for call in others if not call.startswith((*starts, "pip install", "python -m pytest"))]
    assert not unlisted
    unused = [start for start in starts if not any(call.startswith(start) for call in others)]
    assert not unused


def test_modules_that_pages_run_exist():
    """`python -m tests.perf.…` and `python -m bench.…` name modules of this checkout."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    modules = set(re.findall(r"python\s+-m\s+((?:tests|bench|mnistref)[\w.]*)", text))
    assert len(modules) > 3
    for module in modules:
        assert (TOP / f"{module.replace('.', '/')}.py").is_file(), module


def test_two_commands_of_the_readme_are_complete():
    two = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("python3 -m venv ")]
    assert len(two) == 2
    main, tests = two
    assert main.endswith("bench run --attn ltpa-dp --preset quick")
    assert tests.endswith("-m pytest -n 2 --dist loadfile")
    assert all(line in lines(README) for line in two)
    ci = (TOP / ".ci" / "run").read_text()
    assert "README.md" in ci
    assert "--preset quick" not in ci  # CI reads the lines from the README


def test_documented_job_array_generates_a_data_set(tmp_path, idx_folder):
    """The shell accepts the script for Slurm, and two tasks of the array generate a small data set."""
    (script,) = [block for page in PAGES for block in blocks(page, "sh") if JOB_ARRAY in block]
    call = "mnistref generate --variant mbgb"
    assert call in script
    sizes = "--train 9 --val 9 --test 9"
    here = f"{sys.executable} {TOP / 'cli.py'} {call.replace('mbgb', 'mini')} {sizes} --digits {idx_folder} --root root"
    (tmp_path / "job.sh").write_text(script.replace(call, here))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    slurm = {"SLURM_ARRAY_JOB_ID": "1", "SLURM_CPUS_PER_TASK": "1", "PYTHONPATH": str(TOP), "PATH": path}

    def start(task: int) -> subprocess.Popen:
        environment = {**os.environ, **slurm, "SLURM_ARRAY_TASK_ID": str(task)}
        return subprocess.Popen(["bash", "job.sh"], cwd=tmp_path, env=environment, start_new_session=True)

    tasks = [start(1), start(0)]
    try:
        assert tasks[1].wait(60) == 0
        assert tasks[0].wait(30) is not None  # a worker exits when its scheduler has exited
        assert list((tmp_path / "root" / "datasets").glob("mini-*/SHA256SUMS"))
    finally:
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(task.pid, signal.SIGKILL)


@pytest.mark.parametrize("page", WITH_PYTHON, ids=named)
def test_python_code_of_the_readme_runs_in_order(page, make, monkeypatch, tmp_path):
    """The Python blocks of a page run in order, on a small data set instead of the folder that they name."""
    folder = make("mbg")
    code = re.sub(r'"data_cache/datasets/[^"]*"', repr(str(folder)), "\n".join(blocks(page, "python")))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, named(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", [README, TOP / "docs" / "own_modules.md"], ids=named)
def test_example_code_of_the_pages_equals_the_example_file(page):
    source = (TOP / "bench" / "examples" / "own_attention.py").read_text(encoding="utf-8")
    assert source[source.index("import torch") :] in blocks(page, "python")


def test_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150
