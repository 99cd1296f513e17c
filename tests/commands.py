"""Calls of the commands of both programs, in this process or in a new one."""

import subprocess
import sys

from click.testing import CliRunner

from tests.helpers import TOP

TINY = ["--train", "12", "--val", "6", "--test", "6"]


def call(program, *arguments, code: int = 0):
    """Run a command in this process, check its exit code and that errors are one line, and return the result."""
    result = CliRunner().invoke(program, [str(a) for a in arguments])
    assert result.exit_code == code, (result.stderr, result.exception)
    assert "Traceback" not in result.stderr
    if code not in (0, 2) or "error:" in result.stderr:
        assert len([line for line in result.stderr.splitlines() if line.startswith("error: ")]) == 1
    return result


def process(*arguments, code: int = 0, **options) -> subprocess.CompletedProcess:
    """Run `python cli.py …` in a new process, and check its exit code."""
    command = [sys.executable, str(TOP / "cli.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
    assert done.returncode == code, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done


def run_arguments(mini, runs, attn="pan", *more) -> list:
    """Return the arguments of `bench run` for one epoch on this data set."""
    return ["run", "--attn", attn, "--data", mini, "--epochs", 1, "--device", "cpu", "--runs", runs, *more]
