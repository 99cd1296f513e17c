"""Child processes: results, errors, ends, and their isolation from the environment of the user."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from importlib import import_module
from pathlib import Path

import pytest

from mnistref.common.child_process import ChildDiedError, ChildProcess
from mnistref.common.errors import DataProblemError
from mnistref.generation.executors import processes
from tests.helpers import TOP


@pytest.fixture
def child():
    child = ChildProcess("a test")
    yield child
    child.kill()
    child.close()


@pytest.fixture
def code(tmp_path, monkeypatch):
    """Return a function `code(text)` that returns `f` of a new module, which child processes can import too."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))

    def code(text: str):
        name = f"module{len(list(tmp_path.glob('*.py')))}_of_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        return getattr(__import__(name), "f")  # noqa: B009

    return code


def test_child_answers_calls_in_order(child):
    assert [child.call(divmod, 7, n) for n in (2, 3)] == [(3, 1), (2, 1)]
    assert child.call(os.getpid) == child.pid != os.getpid()


def test_child_errors_keep_type_and_message(code):
    child = ChildProcess("a test")
    with pytest.raises(DataProblemError, match=r"x\.h5: damaged"):
        child.call(
            code(
                "def f():\n  from mnistref.common.errors import DataProblemError\n"
                "  raise DataProblemError('x.h5: damaged')"
            )
        )
    with pytest.raises(FileNotFoundError) as error:
        child.call(os.stat, "/nowhere")
    assert error.value.filename == "/nowhere"
    with pytest.raises(RuntimeError, match="Odd: 3"):
        child.call(code("class Odd(Exception):\n  def __reduce__(self): raise TypeError\ndef f(): raise Odd(3)"))
    with pytest.raises(RuntimeError, match="SystemExit: 4"):
        child.call(sys.exit, 4)
    with pytest.raises(RuntimeError, match="generator"):
        child.call(code("def f(): return (k for k in 'ab')"))
    assert child.call(len, "it goes on") == 10
    child.close()


@pytest.mark.parametrize(
    ("does", "reason"),
    [
        ("import os; os._exit(3)", "exit code 3"),
        ("import os; print('it was so hot'); os._exit(0)", "exit code 0: it was so hot"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ("import os; os.closerange(0, 256)", "exit code 1"),
    ],
)
def test_child_exit_without_an_answer_is_explained(does, reason, code, child):
    with pytest.raises(ChildDiedError, match=f"^{reason}"):
        child.call(code(f"def f():\n  {does}"))


def test_child_death_mentions_memory_only_after_sigkill(code):
    def died(does: str) -> ChildDiedError:
        with pytest.raises(ChildDiedError) as error, processes(1) as pool:
            pool.submit(code(f"import os\ndef f():\n  {does}")).result()
        return error.value

    assert died("os.kill(os.getpid(), 9)").advice("free some") == ", as where memory runs out; free some"
    assert died("os._exit(1)").advice("free some") == ""


def test_output_of_user_code_is_not_taken_for_an_answer(code, child):
    f = code(
        """
        import atexit, os, subprocess, sys, threading, time
        def f():
            print("a line"); print("half a line", end=""); sys.stdout.write(chr(0) * 9999)
            os.write(1, bytes([255, 10])); os.system("echo of a child")
            atexit.register(lambda: os._exit(9))
            subprocess.Popen(["sleep", "60"])
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            sys.stdin.close()
            return os.read(0, 10), sys.stdout.encoding
        """
    )
    began = time.monotonic()
    assert child.call(f) == (b"", "utf-8")
    child.close()
    assert time.monotonic() - began < 20


def test_child_that_does_not_exit_is_killed(code, child, monkeypatch):
    monkeypatch.setattr("mnistref.common.child_process._END_SECONDS", 1)
    child.call(code("import atexit, time\ndef f(): atexit.register(time.sleep, 99)"))
    began = time.monotonic()
    child.close()
    assert 0.9 < time.monotonic() - began < 30


def test_output_of_start_up_code_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("print('hello'); print('no newline', end='')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = ChildProcess("a test")
    assert child.call(len, "abc") == 3
    child.close()


def test_output_of_a_child_can_be_shown(code, capfd):
    child = ChildProcess("a test", shown=True)
    child.call(code("import os\ndef f(): print('é'); os.write(1, b'raw\\n'); os.write(2, bytes([255, 10]))"))
    child.close()
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("é\nraw\n")


def test_failed_start_of_a_child_is_explained(tmp_path, monkeypatch):
    (tmp_path / "queue.py").write_text("raise ImportError('no such luck')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    child = ChildProcess("a test")
    with pytest.raises(ChildDiedError, match="exit code 1: ImportError: no such luck"):
        child.call(len, "abc")
    child.close()


STANDARD = ("random", "statistics", "signal", "bench", "mnistref", "queue", "cli", "numpy", "torch", "click")


def test_child_imports_no_files_of_the_working_directory(tmp_path, monkeypatch):
    for name in STANDARD:
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('imported')")
    monkeypatch.chdir(tmp_path)
    child = ChildProcess("a test")
    assert child.call(os.getcwd) == str(tmp_path)
    files = [child.call(file_of, name) for name in STANDARD]
    assert not any(Path(file).is_relative_to(tmp_path) for file in files)
    child.close()


def file_of(name: str) -> str:
    return import_module(name).__file__


def test_child_exits_with_its_parent(tmp_path):
    code = (
        "import time; from mnistref.common.child_process import ChildProcess\n"
        "child = ChildProcess('a test'); print(child.pid, flush=True); child.call(time.sleep, 99)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=TOP, stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.communicate()
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").exists() and b" Z " not in Path(f"/proc/{pid}/stat").read_bytes():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_child_does_not_wait_for_threads_that_user_code_started(code):
    child = ChildProcess("a test")
    child.call(code("import threading, time\ndef f(): threading.Thread(target=time.sleep, args=(99,)).start()"))
    began = time.monotonic()
    child.close()
    assert time.monotonic() - began < 5


def test_child_ignores_ctrl_c(child):
    child.call(os.getpid)
    os.kill(child.pid, signal.SIGINT)
    time.sleep(0.2)
    assert child.call(len, "abc") == 3
