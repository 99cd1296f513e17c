"""Standard streams: stdout has only results, even if user code prints or the caller closes streams."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import cli
from mnistref.common import console
from tests.helpers import TOP, long_form

NOISY = """
import atexit, os
print("at import")
os.system("echo from a child process")
atexit.register(os._exit, 3)
atexit.register(lambda: print("at exit"))
from torch import nn
class Noisy(nn.Module):
    def __init__(self, channels, query_dim):
        super().__init__()
        print("when it is made")
        self.score, self.ask = nn.Conv2d(channels, 1, 1), nn.Linear(query_dim, 1)
    def forward(self, x, query):
        os.write(1, b"in forward")
        try:
            raise AssertionError(input())
        except EOFError:
            return self.score(x) * self.ask(query)[:, :, None, None]
"""


def call(*arguments: object, shell: str = "", **how) -> subprocess.CompletedProcess:
    """Run `cli.py …`, followed by the redirections of a shell."""
    command = [sys.executable, str(TOP / "cli.py"), *map(str, arguments)]
    if shell:
        command = ["bash", "-c", f'"$@" {shell}', "bash", *command]
    return subprocess.run(command, capture_output=True, check=False, timeout=300, **how)


def test_user_code_can_neither_write_results_nor_read_stdin(tmp_path):
    (tmp_path / "noisy.py").write_text(NOISY)
    done = call("bench", "check", f"{tmp_path / 'noisy.py'}:Noisy", "--json", input=b"given\n" * 9)
    assert done.returncode == 0, done.stderr
    assert {finding["ok"] for finding in json.loads(done.stdout)} == {True}
    for printed in (b"at import", b"from a child process", b"when it is made", b"in forward", b"at exit"):
        assert printed in done.stderr


@pytest.mark.parametrize("encoding", long_form(["cp1252", "cp932", "cp437", "ascii", "utf-16"], ["cp1252", "ascii"]))
@pytest.mark.parametrize("arguments", [("mnistref", "list"), ("mnistref", "--help"), ("bench", "list", "san")])
def test_characters_missing_in_the_console_encoding_are_replaced(arguments, encoding, rounds):
    if arguments[0] == "bench" and encoding not in ("cp1252", "utf-16") and rounds < 200:
        pytest.skip("bench takes seconds to start; more encodings are for the long form, --rounds 200")
    done = call(*arguments, env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode(encoding).strip()


def test_json_is_complete_on_a_console_with_a_limited_encoding():
    plain = call("mnistref", "list", "--json")
    done = call("mnistref", "list", "--json", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert json.loads(done.stdout) == json.loads(plain.stdout)
    assert "é" not in done.stdout.decode("ascii")


@pytest.mark.parametrize("shell", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_stream_loses_only_its_own_output(shell):
    done = call("mnistref", "list", shell=shell)
    assert done.returncode == 0, done.stderr
    assert (b"mref" in done.stdout) == (">&- " not in f"{shell} ".replace("2>&-", ""))


@pytest.mark.parametrize("shell", ["2>&-", "<&- >&- 2>&-"])
def test_a_set_is_generated_with_closed_streams(shell, tmp_path):
    sizes = ("--train", "5", "--val", "5", "--test", "5")
    made = ("mnistref", "generate", "--variant", "mini", "--digits", "mnist5k", *sizes, "--root", tmp_path)
    assert call(*made, shell=shell).returncode == 0
    assert len([*tmp_path.glob("datasets/*/SHA256SUMS")]) == 1


def test_python_streams_that_were_closed_can_be_used(monkeypatch):
    for name in ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__"):
        monkeypatch.setattr(sys, name, None)
    console.prepare()
    assert sys.stdin.read() == ""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        print("é \udcff", file=stream, flush=True)
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_deleted_working_directory_is_a_one_line_error(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "bash", sys.executable, str(TOP / "cli.py"), "bench", "list"],
        cwd=gone,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr.splitlines() == [
        "error: the working directory is gone or cannot be read; change to a folder that exists"
    ]


def test_full_disk_of_stdout_is_an_io_error():
    done = call("mnistref", "list", shell="> /dev/full")
    assert done.returncode == 5
    assert b"No space left on device" in done.stderr


def test_closed_reader_of_stdout_is_no_error():
    done = call("mnistref", "list", shell="| true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (0, b"")


def test_path_is_printed_with_its_bytes(tmp_path):
    root = os.fsencode(tmp_path) + b"/\xff\xfe"
    options = ("--digits", "mnist5k", "--train", "5", "--val", "5", "--test", "5")
    done = call("mnistref", "generate", "--variant", "mini", *options, "--root", os.fsdecode(root))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(root)
    assert os.path.isfile(done.stdout.rstrip(b"\n") + b"/dataset.json")


def test_a_path_is_printed_as_it_was_given(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    console.start_command()
    root = console.remember_spelling(Path("data"))
    console.remember_spelling(tmp_path / "data" / "deep")
    os.chdir("/")
    for path in (root, root / "sets", root / "deep" / "er", tmp_path):
        console.emit(path)
    assert root == tmp_path / "data"
    assert capsys.readouterr().out.splitlines() == ["data", "data/sets", f"{tmp_path}/data/deep/er", str(tmp_path)]
    console.start_command()


def test_streams_are_restored_in_a_calling_program(capsys):
    before = sys.stdout, sys.stdin
    assert "mref" in CliRunner().invoke(cli.mnistref, ["list"]).stdout
    with console.isolated():
        print("noise")
        console.emit(Path("a/path"))
        console.emit("text")
    assert (sys.stdout, sys.stdin) == before
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("a/path\ntext\n", "noise\n")


ENDS = """
import atexit, os, sys, threading, time
import click
from mnistref.common.console import run_program
from mnistref.common.errors import RunProblemError
from mnistref.common.click_program import Program
def fail():
    raise ValueError("no such luck")
@click.group(cls=Program)
def program():
    pass
@program.command()
@click.argument("how")
def end(how):
    from os import _exit
    if how == "leave":
        os._exit(0)
    if how == "exit":
        sys.exit(0)
    if how == "fork":
        if not os.fork():
            os._exit(4)
        click.echo(os.waitstatus_to_exitcode(os.wait()[1]), err=True)
    for handler in (lambda: print("at exit"), fail, lambda: sys.exit(3), lambda: os._exit(3), lambda: _exit(3)):
        atexit.register(handler)
    if how.startswith("thread"):
        threading.Thread(target=time.sleep, args=(1e6,)).start()
    if how.endswith("fail"):
        raise RunProblemError("failed")
    if how == "thread-bug":
        raise BaseException("a bug")
run_program(program)
"""


def ending(how: str) -> tuple[int, str]:
    """Return the exit code and stderr of a program in which user code ended in this way."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS, "end", how], cwd=TOP, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("how", "code"),
    [
        *(("end", 0), ("fail", 6), ("fork", 0)),
        *(("thread", 0), ("thread-fail", 6), ("thread-bug", 1)),  # threads that are never joined
    ],
)
def test_exit_handlers_run_and_do_not_decide_the_exit_code(how, code):
    ended, errors = ending(how)
    assert ended == code, errors
    assert "at exit" in errors
    assert "no such luck" in errors
    assert ("4\n" in errors) == (how == "fork")


@pytest.mark.parametrize(
    ("how", "why"), [("leave", "os._exit(0) was called"), ("exit", "user code raised SystemExit: 0")]
)
def test_silent_exit_of_a_command_is_an_error(how, why):
    ended, errors = ending(how)
    assert (ended, errors.count("\n")) == (1, 1)
    assert why in errors
