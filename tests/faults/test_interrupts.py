"""Ctrl-C at every stage of a program: killed by the signal without output, or exit code 130 and one line."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from mnistref import cli as commands
from mnistref.common.interrupts import Interrupted
from mnistref.storage.manifest import SUMS
from tests.faults.helpers import HANG_SECONDS, TOP, leftovers

SLOW_MODULE = """
import pathlib, time
pathlib.Path({flag!r}).touch()
try:
    time.sleep(60)
except BaseException:
    raise ImportError("what an extension makes of an interrupt")
"""

PHASE = """
import importlib, signal, sys, time
from pathlib import Path
from mnistref.common.sigint import exit_silently_on_sigint
signal.signal(signal.SIGINT, signal.default_int_handler)
exit_silently_on_sigint()
module, name, flag = sys.argv[1:4]
del sys.argv[1:4]
module = importlib.import_module(module)
quick = getattr(module, name)

def slow(*args, **kwargs):
    Path(flag).touch()
    time.sleep(3)
    return quick(*args, **kwargs)

setattr(module, name, slow)
importlib.import_module("mnistref.storage.manifest").SHARD_IMAGES = 8
from mnistref.__main__ import main
main()
"""
"""Program that runs `mnistref …` with one function that touches a flag file and then sleeps."""


def enable_interrupts() -> None:
    """Restore Ctrl-C in a child process, because a background job starts with Ctrl-C ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(command: list, flag: Path, place: Path = TOP, times: int = 1) -> tuple[int, str, str]:
    """Interrupt a command when it has touched `flag`. Return its exit code, stdout and stderr."""
    environment = {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{TOP}"}
    running = subprocess.Popen(
        [sys.executable, *map(str, command)],
        cwd=TOP,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=enable_interrupts,
    )
    began = time.monotonic()
    while not flag.exists():
        assert running.poll() is None, running.communicate()
        assert time.monotonic() - began < HANG_SECONDS
        time.sleep(0.01)
    for _ in range(times):
        running.send_signal(signal.SIGINT)
        time.sleep(0.3)
    out, errors = running.communicate(timeout=10)
    return running.returncode, out, errors


def reports_interrupt(errors: str) -> bool:
    """Return whether the last line reports the interrupt and all lines before it are known notes."""
    *notes, last = errors.splitlines()
    known = ("no published results", "--backgrounds is ignored", "ignored (", "left out: ")
    return all(any(note in line for note in known) for line in notes) and last.startswith("error: interrupted")


def test_interrupt_handler_is_imported_first():
    """An interrupt before the handler is installed, as during the start of Python, prints a traceback."""
    code = "import sys, signal; before = set(sys.modules); import mnistref.common.sigint"
    code += "; print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=TOP, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "mnistref",
        "mnistref.common",
        "mnistref.common.version",
        "mnistref.common.sigint",
    }
    for program in ("cli.py", "mnistref/__main__.py", "bench/__main__.py"):
        lines = (TOP / program).read_text().splitlines()
        first = next(line for line in lines if line.strip().startswith(("from", "import")))
        assert first.strip() == "from mnistref.common.sigint import exit_silently_on_sigint"


@pytest.mark.parametrize("program", ["cli.py", "mnistref", "bench"])
def test_interrupt_during_startup_kills_without_output(program, tmp_path):
    flag = tmp_path / "flag"
    (tmp_path / "click.py").write_text(SLOW_MODULE.format(flag=str(flag)))
    start = [TOP / "cli.py"] if program == "cli.py" else ["-m", program]
    assert interrupted([*start, "mnistref", "list"], flag, tmp_path) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("module", ["numpy", "h5py", "tqdm"])
def test_interrupt_during_command_import_ends_with_130(module, request_of, tmp_path):
    flag = tmp_path / "flag"
    (tmp_path / f"{module}.py").write_text(SLOW_MODULE.format(flag=str(flag)))
    command = [TOP / "cli.py", "mnistref", *request_of(tmp_path / "root")]
    code, out, errors = interrupted(command, flag, tmp_path)
    assert (code, out) == (130, "")
    assert reports_interrupt(errors), errors
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("module", "name", "variant"),
    [
        ("mnistref.generation.plan", "resolve_request", "mini"),
        pytest.param("mnistref.generation.plan", "load_digits", "mini", marks=pytest.mark.long_form),
        ("mnistref.generation.plan", "list_photos", "mbg"),
        pytest.param("mnistref.generation.generate", "is_finished", "mini", marks=pytest.mark.long_form),
        ("mnistref.generation.generate", "prepare_bank", "mbg"),
        pytest.param("mnistref.generation.generate", "intact_shards", "mini", marks=pytest.mark.long_form),
        ("mnistref.generation.dispatch", "append_shard", "mini"),
        pytest.param("mnistref.storage.manifest", "write_whole", "mini", marks=pytest.mark.long_form),
    ],
)
def test_interrupt_in_every_phase_of_generate_ends_with_130_and_resumes(
    module, name, variant, request_of, completes, tmp_path
):
    flag, root = tmp_path / "flag", tmp_path / "root"
    code, out, errors = interrupted(["-c", PHASE, module, name, flag, *request_of(root, variant)], flag)
    assert (code, out) == (130, "")
    assert reports_interrupt(errors), errors
    assert leftovers(tmp_path) == []
    assert not list(root.glob(f"datasets/*/{SUMS}"))
    completes(root, variant)


def test_second_interrupt_kills_at_once(request_of, tmp_path):
    flag = tmp_path / "flag"
    slow = PHASE.replace("    time.sleep(3)", "    try:\n        time.sleep(3)\n    finally:\n        time.sleep(60)")
    began = time.monotonic()
    command = ["-c", slow, "mnistref.generation.generate", "plan", flag, *request_of(tmp_path / "root")]
    code, _, errors = interrupted(command, flag, times=2)
    assert (code, errors) == (-signal.SIGINT, "")
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("command", ["verify", "stats"])
def test_interrupt_during_exit_keeps_the_result_and_prints_no_error(command, mini, tmp_path):
    flag = tmp_path / "flag"
    code = f"""
import atexit, sys, time
from pathlib import Path
from mnistref.__main__ import main
atexit.register(lambda: (Path({str(flag)!r}).touch(), time.sleep(60)))
sys.argv[1:] = [{command!r}, {str(mini)!r}]
main()
"""
    status, out, errors = interrupted(["-c", code], flag)
    assert status == -signal.SIGINT
    assert out.endswith("accounted for\n") if command == "verify" else "colours uniform" in out
    assert "Traceback" not in errors
    assert "error" not in errors


def test_importing_and_calling_commands_keep_the_signal_handler():
    def mine(*_):
        raise AssertionError

    code = "import signal as s; before = s.getsignal(2); import cli, mnistref.__main__, bench.__main__"
    code += "; assert s.getsignal(2) is before"
    subprocess.run([sys.executable, "-c", code], cwd=TOP, check=True)
    before = signal.getsignal(signal.SIGINT)
    try:
        for handler in (signal.default_int_handler, signal.SIG_IGN, mine):
            signal.signal(signal.SIGINT, handler)
            assert CliRunner().invoke(cli.mnistref, ["list"]).exit_code == 0
            assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Interrupted])
def test_an_interrupt_of_any_kind_is_one_line(error, monkeypatch):
    def interrupt():
        raise error

    monkeypatch.setattr(commands, "table", lambda *_: interrupt())
    done = CliRunner().invoke(cli.mnistref, ["list"])
    assert done.exit_code == 130
    assert done.stderr.strip() == "error: interrupted; run the same command again, which resumes where it can"
