"""Child processes that run functions of this project in isolation from user code and the working directory.

A child does not import modules from the working directory, has an empty stdin, and answers over a private channel,
which neither files in the working directory nor printed text can reach. It ignores Ctrl-C, which the parent handles,
and ends when its parent ends.
"""

import os
import queue
import secrets
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import suppress
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

from mnistref.common.errors import RemoteTracebackError, format_traceback

_T = TypeVar("_T")
_Call: TypeAlias = tuple[Callable[..., object], tuple[object, ...]]
"""A message to the child: a function and its arguments."""
_Answer: TypeAlias = tuple[str, Any, str]
"""A message from the child: "returned", a value, and an empty string; or "raised", an error, and its traceback as text.

Unpickled values have no static type.
"""

TOP = Path(__file__).parents[2]
_BOOT = """
import sys
sys.path[:0] = {paths!r}
from mnistref.common import child_process, process_exit
child_process.main({token!r}), process_exit.end_now()
"""
_POLL_SECONDS = 0.2
_END_SECONDS = 10
"""How long a child may take to end after its last answer, for example in exit handlers, before it is killed."""
_MAX_LINES = 50
_LENGTH = struct.Struct("<Q")


class ChildDiedError(BrokenExecutor):
    """A child ended without an answer. `signal` is the number of the signal that killed it, or None."""

    def __init__(self, reason: str, signal: int | None = None) -> None:
        super().__init__(reason)
        self.signal = signal

    def advice(self, less: str) -> str:
        """Return what to do if the system may have killed the child for lack of memory, otherwise an empty string.

        Args:
            less: how to use less memory.
        """
        killed = self.signal is not None and self.signal == getattr(signal, "SIGKILL", None)
        return f", as where memory runs out; {less}" if killed else ""


class ChildProcess:
    """A process that runs one function after another.

    Args:
        name: name of the process in process lists.
        environment: environment variables that differ from those of this process.
        shown: whether its output is also written to sys.stderr.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None, shown: bool = False) -> None:
        token = secrets.token_hex(16)
        installed = {"site-packages", "dist-packages"} & {*TOP.parts}
        boot = _BOOT.format(paths=[] if installed else [str(TOP)], token=token)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", boot, name],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._shown = shown
        self._messages: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=_MAX_LINES)
        self._reading = threading.Thread(target=self._read_messages, args=(token.encode(),), daemon=True)
        self._listening = threading.Thread(target=self._read_stderr, daemon=True)
        self._reading.start()
        self._listening.start()

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Run an importable function in the child, and return its result or raise its error.

        The cause of such an error is a RemoteTracebackError.

        Raises:
            ChildDiedError: the child ended before it answered. The message has the reason.
        """
        assert self._process.stdin
        self._printed.clear()  # `_answer` looks for the reason of a death in what this call prints
        with suppress(BrokenPipeError):  # `_answer` raises with the reason
            _send(self._process.stdin, (function, arguments))
        kind, value, stack = self._answer()
        if kind == "raised":
            raise value from (RemoteTracebackError(stack) if stack else None)
        result: _T = value
        return result

    def kill(self) -> None:
        """Kill the child. A waiting call raises ChildDiedError."""
        self._process.kill()

    def close(self) -> None:
        """End the child after its last answer."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in (self._reading, self._listening):
            thread.join(_POLL_SECONDS)  # a process that the child started may hold the pipes open

    def _answer(self) -> _Answer:
        while True:
            try:
                message = self._messages.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if self._process.poll() is None:
                    continue
                self._reading.join(_POLL_SECONDS)
                message = None if self._messages.empty() else self._messages.get()
            if message is None:
                raise self._died()
            return message

    def _died(self) -> ChildDiedError:
        """Return the error of a child that no longer answers."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            return ChildDiedError("it closed its connection to this process")
        self._listening.join(1)
        code = self._process.returncode
        if code < 0:
            return ChildDiedError(f"killed by {_name_of(-code)}", -code)
        last = next((line for line in reversed(self._printed) if line), "")
        return ChildDiedError(f"exit code {code}" + f": {last}" * bool(last))

    def _read_messages(self, token: bytes) -> None:
        """Put the child's messages on the queue, then None. Lines before the token are output of start-up code."""
        stream = self._process.stdout
        assert stream
        try:
            for line in iter(stream.readline, b""):
                if line.rstrip().endswith(token):
                    break
                self._printed.append(line.decode("utf-8", "replace").strip())
            while (message := _receive(stream)) is not None:
                self._messages.put(message)
        except Exception as error:  # an answer of a class that this process cannot import
            self._messages.put(("raised", error, ""))
        finally:
            self._messages.put(None)

    def _read_stderr(self) -> None:
        """Collect the last lines that the child prints."""
        assert self._process.stderr
        pending = b""
        while chunk := os.read(self._process.stderr.fileno(), 1 << 16):
            if self._shown:
                _show(chunk)
            *lines, pending = (pending + chunk).replace(b"\r", b"\n").split(b"\n")
            self._printed.extend(line.decode("utf-8", "replace").strip() for line in lines)
            pending = pending[-(1 << 16) :]
        self._printed.append(pending.decode("utf-8", "replace").strip())


def _show(data: bytes) -> None:
    """Write the child's output to sys.stderr. Errors of a closed stream or a full disk are ignored."""
    stream = sys.stderr
    with suppress(OSError, ValueError, AttributeError):
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode("utf-8", "replace"))
        stream.flush()


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _send(stream: IO[bytes], message: object) -> None:
    data = bytes(ForkingPickler.dumps(message))
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any | None:
    """Return the next message, or None if the other side has closed the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = stream.read(length)
    return ForkingPickler.loads(data) if len(data) == length else None


def main(token: str) -> None:
    """Run in the child: call the functions that the parent sends, until it closes the channel."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process; the parent ends this one
    requests, answers = _private_channel()
    answers.write(f"\n{token}\n".encode())
    answers.flush()
    calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_receive_calls, args=(requests, calls, busy), daemon=True).start()
    while (call := calls.get()) is not None:
        outcome = _outcome(*call)
        busy.clear()
        _send(answers, outcome)


def _private_channel() -> tuple[IO[bytes], IO[bytes]]:
    """Move stdin and stdout to private descriptors. Then redirect stdout to stderr and make stdin empty."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    return requests, answers


def _receive_calls(requests: IO[bytes], calls: "queue.SimpleQueue[_Call | None]", busy: threading.Event) -> None:
    """Pass calls to the main thread. Exit at once if the parent closes the channel during a call."""
    while (call := _receive(requests)) is not None:
        busy.set()
        calls.put(call)
    if busy.is_set():
        os._exit(1)
    calls.put(None)


def _outcome(function: Callable[..., object], arguments: tuple[object, ...]) -> _Answer:
    """Call a function, and return what it did in a form that can be pickled."""
    try:
        outcome: _Answer = "returned", function(*arguments), ""
    except Exception as error:
        outcome = "raised", error, format_traceback(error)
    except BaseException as error:  # for example SystemExit, which would end the waiting thread of the parent
        outcome = "raised", _sendable_error(error), format_traceback(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # user code may have closed it
            stream.flush()
    try:
        ForkingPickler.loads(bytes(ForkingPickler.dumps(outcome)))
    except Exception:
        outcome = "raised", _sendable_error(outcome[1]), outcome[2]
    return outcome


def _sendable_error(value: object) -> RuntimeError:
    """Return an error that can be pickled, in place of a value that cannot."""
    return RuntimeError(f"{type(value).__name__}: {value}")
