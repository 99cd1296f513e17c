"""Common behaviour of both programs: help, exit codes, interrupts, missing packages."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import cli
import mnistref
from mnistref import cli as commands
from mnistref.variants import VARIANTS
from tests.commands import TINY, call, process, run_arguments
from tests.helpers import TOP


@pytest.mark.parametrize("program", ["mnistref", "bench"])
def test_help_imports_no_heavy_packages(program):
    """--help imports no heavy package, so it is fast."""
    probe = (
        "import sys, cli\n"
        f"try: cli.{program}.main(['--help'])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'numba', 'h5py', 'PIL', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=TOP, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")


def test_every_command_has_a_help_text():
    for program in (cli.mnistref, cli.bench):
        assert call(program, "--version").stdout.strip().endswith(mnistref.__version__)
        for name, command in program.commands.items():
            assert command.help, name
            assert call(program, name, "--help").stdout.startswith("Usage: ")


def test_every_help_text_has_an_example():
    for program in (cli.mnistref, cli.bench):
        for name, command in program.commands.items():
            lines = [line.strip() for line in command.help.splitlines()]
            assert any(line.startswith(f"{program.name} {name}") for line in lines), name


@pytest.mark.parametrize("name", ["run", "sweep", "evaluate", "runtime", "show"])
def test_options_are_grouped_under_headings(name):
    """Only --help is under "Other options", and no heading has arguments."""
    text = call(cli.bench, name, "--help").stdout
    headings = re.findall(r"^(\w.*):$", text, re.MULTILINE)
    assert len(headings) >= 4
    rest = text.partition("\nOther options:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in rest.splitlines()] == ["-h,"]


def test_list_of_variants_follows_the_registry():
    named = json.loads(call(cli.mnistref, "list", "--json").stdout)
    assert [v["name"] for v in named] == list(VARIANTS)
    text = call(cli.mnistref, "list").stdout
    assert all(f"\n{name} " in text for name in VARIANTS)
    assert "no published results" in text


def test_a_bug_is_one_line_and_a_traceback_with_debug(monkeypatch):
    monkeypatch.setattr("mnistref.common.text_table.table", None)
    monkeypatch.setattr(commands, "table", None)
    assert "a bug: TypeError" in call(cli.mnistref, "list", code=1).stderr
    result = CliRunner().invoke(cli.mnistref, ["--debug", "list"])
    assert isinstance(result.exception, TypeError)


def test_without_arguments_the_help_is_shown_and_the_code_is_2():
    result = call(cli.mnistref, code=2)
    assert "Commands:" in result.stderr
    assert result.stdout == ""


@pytest.mark.long_form
def test_both_programs_run_as_processes_from_a_checkout(idx_folder, tmp_path):
    done = process("mnistref", "generate", "--variant", "mini", "--root", tmp_path, *TINY, "--digits", idx_folder)
    folder = Path(done.stdout.strip())
    assert len(done.stdout.splitlines()) == 1
    done = process(*["bench", *map(str, run_arguments(folder, tmp_path / "runs"))])
    assert Path(done.stdout.strip()).is_dir()
    done = process("bench", "run", "--attn", "nosuch", "--data", folder, code=2)
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


WITHOUT = """
import sys

class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *more):
        return None if name.split(".")[0] in {missing!r} else self.finder.find_spec(name, *more)
    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
"""
MISSING = ["numba", "safetensors", "scipy", "mlxtend", "skimage", "sklearn", "matplotlib", "hypothesis", "torchmetrics"]
MISSING += ["datasets", "mlcroissant", "pyarrow", "webdataset"]


def test_commands_run_with_only_the_core_packages(idx_folder, tmp_path):
    """The core packages numpy, pillow, torch, torchvision, click, h5py, tqdm and pandas are enough."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT.format(missing=MISSING))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    arguments = ["mnistref", "generate", "--variant", "mini", "--root", tmp_path, *TINY, "--digits", idx_folder]
    done = process(*arguments, env=environment)
    assert "numba is not installed" in done.stderr
    folder = Path(done.stdout.strip())
    with_numba = call(cli.mnistref, *[a if a != tmp_path else tmp_path / "compiled" for a in arguments[1:]])
    for name in ("SHA256SUMS", "train-00000-of-00001.h5"):
        assert (Path(with_numba.stdout.strip()) / name).read_bytes() == (folder / name).read_bytes()
    stats, export = ["mnistref", "stats", folder], ["mnistref", "export", folder, "-o", tmp_path / "out", "--to"]
    train = ["bench", *run_arguments(folder, tmp_path / "runs")]
    plot, _, parquet, trained = one_after_the_other(
        [
            ([*stats, "--plot", tmp_path / "laws.png"], 2),
            ([*export, "webdataset"], 0),
            ([*export, "parquet"], 2),
            (train, 0),
        ],
        environment,
    )
    assert "pip install matplotlib" in plot[1]
    assert "pip install pyarrow" in parquet[1]
    show = ["bench", "show", trained[0].strip(), "-o", tmp_path / "a.png"]
    board = ["bench", "leaderboard", "--runs", tmp_path / "runs", "-o", tmp_path / "board.csv"]
    photos = ["mnistref", "generate", "--variant", "mbg", "--digits", idx_folder, *TINY, "--root", tmp_path]
    picture, _, default = one_after_the_other([(show, 2), (board, 0), (photos, 3)], environment)
    assert picture[1] == "error: a picture needs matplotlib: pip install matplotlib\n"
    assert pd.read_csv(tmp_path / "board.csv")["accuracy"].notna().all()
    assert "pip install scikit-image" in default[1]


SEVERAL = """
import json, sys
from click.testing import CliRunner
import cli
import mnistref
for program, *arguments in json.loads(sys.argv[1]):
    done = CliRunner().invoke(getattr(cli, program), arguments)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]))
"""


def one_after_the_other(commands: list[tuple[list, int]], environment: dict[str, str]) -> list[tuple[str, str]]:
    """Run commands in one process, check their exit codes, and return stdout and stderr of each."""
    given = json.dumps([[str(a) for a in command] for command, _ in commands])
    command = [sys.executable, "-c", SEVERAL, given]
    environment = environment | {"PYTHONPATH": f"{environment['PYTHONPATH']}{os.pathsep}{TOP}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [code for code, _, _ in found] == [code for _, code in commands], found
    return [(out, errors) for _, out, errors in found]


def test_an_interrupt_ends_with_130(tmp_path):
    import signal
    import time

    command = [sys.executable, str(TOP / "cli.py"), "mnistref", "generate", "--variant", "mref", "--digits", "mnist5k"]
    running = subprocess.Popen([*command, "--root", str(tmp_path)], stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("datasets/*/*.h5")):
        time.sleep(0.05)
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert errors.splitlines()[-1].startswith("error: interrupted")
    assert not list(tmp_path.glob("datasets/*/SHA256SUMS"))


def test_closed_output_pipe_is_no_error(mini):
    pipe = f"{sys.executable} {TOP / 'cli.py'} mnistref stats {mini} --json | head -c 10"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr


def test_eof_error_is_not_reported_as_interrupt(monkeypatch):
    def ends(*_):
        raise EOFError("no more bytes")

    monkeypatch.setattr(commands, "table", ends)
    assert "a bug: RuntimeError: EOFError: no more bytes" in call(cli.mnistref, "list", code=1).stderr
