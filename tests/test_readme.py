"""What the README says can be done, can be done."""

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

TOP = Path(__file__).parent.parent
README = (TOP / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [
    line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if line and not line.startswith("#")
]
TWO = [line for line in README.splitlines() if line.startswith("python3 -m venv ")]
PROGRAMS = {"mnistref": cli.mnistref, "bench": cli.bench}


def our_commands() -> list[str]:
    """Every call of our programs in the README's shell blocks."""
    parts = [part.strip() for line in LINES for part in re.split(r"&&|\|", line)]
    calls = [re.sub(r"^(\.venv/bin/|python3? cli\.py )", "", part) for part in parts]
    return [call for call in calls if call.split()[:1] and call.split()[0] in PROGRAMS]


@pytest.mark.parametrize("call", our_commands())
def test_its_commands_parse(call, monkeypatch):
    """Each names a command that exists, with options that it has (files that come to be on the way count as there)."""
    program, name, *arguments = shlex.split(call, comments=True)
    if name.startswith("--"):
        return
    command = PROGRAMS[program].commands[name]
    for parameter in command.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)
    command.make_context(name, arguments)


def test_the_two_commands_stand_alone():
    assert len(TWO) == 2
    main, tests = TWO
    assert main.endswith("bench run --attn ltpa-dp --preset quick")
    assert tests.endswith("-m pytest -n 2 --dist loadfile")
    assert all(line in LINES for line in TWO)
    ci = (TOP / ".ci" / "run").read_text()
    assert "README.md" in ci
    assert "--preset quick" not in ci  # it reads the lines, it does not repeat them


def test_its_array_of_jobs_makes_a_set(tmp_path, idx_folder):
    """The lines for Slurm, as they stand there: the shell takes them, and two tasks of the array make a small set."""
    (script,) = [block for block in BLOCKS if "#SBATCH" in block]
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
        assert tasks[0].wait(30) is not None  # a worker whose scheduler is gone ends
        assert list((tmp_path / "root" / "datasets").glob("mini-*/SHA256SUMS"))
    finally:
        for task in tasks:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(task.pid, signal.SIGKILL)


def test_its_python_runs_in_order(make, monkeypatch, tmp_path):
    """The Python blocks, one after the other, on a small real set instead of the folder they name."""
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert blocks
    folder = make("mbg")
    code = re.sub(r'"data_cache/datasets/[^"]*"', repr(str(folder)), "\n".join(blocks))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_its_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (TOP / target).exists(), target


def test_its_tables_follow_the_registries():
    from bench.attention import MECHANISMS
    from mnistref.variants import VARIANTS

    for name in (*VARIANTS, *MECHANISMS):
        assert f"| `{name}` |" in README, name


def test_its_example_is_the_file_it_names():
    source = (TOP / "bench" / "examples" / "own_attention.py").read_text(encoding="utf-8")
    assert source[source.index("class Compare") :] in README
