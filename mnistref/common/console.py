"""Standard streams of the programs: results on stdout, everything else on stderr, nothing read from stdin.

User code runs inside the programs, and may print, read, or fork. `isolated` keeps what it does away from the results.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from mnistref.common.process_exit import end_now


class _Results(NamedTuple):
    """Where results go: a descriptor, which no buffer lies before; or a stream of a caller's, such as one in memory."""

    descriptor: int | None
    stream: Any


_results: _Results | None = None  # while `isolated` is on
_spelled: dict[Path, Path] = {}  # of absolute paths, as the user gave them


def prepare() -> None:
    """Make the standard streams usable: open ones, and characters that a console cannot show are replaced.

    A descriptor 0, 1 or 2 that the caller closed is opened on the null device. Otherwise the next file that is opened
    would take its number, and receive what is printed. Python has None in place of such a stream, which many libraries
    do not expect; it becomes a file on the null device.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8", errors="replace")  # noqa: SIM115 (until the process ends)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def isolated() -> Iterator[None]:
    """Reserve stdout for `emit`. What other code prints there goes to stderr, and what it reads from stdin is empty.

    Where sys.stdout and sys.stdin are the process's own, this holds for C code and for child processes too.
    """
    global _results
    before = _results, sys.stdout, sys.stdin
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with _pointed(1, sys.stdout, 2) as own, _pointed(0, sys.stdin, null):
            _results = _Results(own, sys.stdout)
            if own is None:
                sys.stdout = sys.stderr
            yield
    finally:
        os.close(null)
        _results, sys.stdout, sys.stdin = before


@contextmanager
def _pointed(number: int, stream: Any, target: int) -> Iterator[int | None]:
    """Point a standard descriptor to another one while the block lasts.

    → a descriptor of where it pointed before; None where `stream` is not the process's own, and nothing was done.
    """
    if not _is_own(stream, number):
        yield None
        return
    _flush(stream)
    kept = os.dup(number)
    try:
        os.dup2(target, number)
        yield kept
    finally:
        _flush(stream)
        os.dup2(kept, number)
        os.close(kept)


def _is_own(stream: Any, number: int) -> bool:
    """Whether a stream writes to, or reads from, this descriptor. Consoles of Windows take Unicode by streams alone."""
    try:
        return stream.fileno() == number and not (os.name == "nt" and stream.isatty())
    except (AttributeError, OSError, ValueError):  # none, closed, or a stream in memory
        return False


def _flush(stream: Any) -> None:
    with suppress(OSError, ValueError):
        stream.flush()


def forget_places() -> None:
    """Forget how paths were spelled, before a command reads its own."""
    _spelled.clear()


def remember_place(given: Path) -> Path:
    """Return a path as an absolute one, which means the same in every working directory, and remember its spelling."""
    absolute = given.absolute()
    _spelled[absolute] = given
    return absolute


def as_given(path: Path) -> Path:
    """Return a path in the user's spelling: relative where it lies at or below a place that was given so."""
    for place in (path, *path.parents):
        if place in _spelled:
            return _spelled[place] / path.relative_to(place)
    return path


def emit(value: object) -> None:
    """Print one result on stdout, and a newline. Paths are written as the bytes that the system knows them by, and in
    the user's spelling.

    Raises BrokenPipeError where nobody reads stdout any more.
    """
    descriptor, stream = _results or _Results(None, sys.stdout)
    if stream is None:  # the caller closed it
        return
    value = as_given(value) if isinstance(value, Path) else value
    text = f"{value}\n"
    data = os.fsencode(text) if isinstance(value, Path) else text.encode(stream.encoding or "utf-8", "replace")
    if descriptor is not None:
        while data:
            data = data[os.write(descriptor, data) :]
    elif hasattr(stream, "buffer"):
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()
    else:
        click.echo(value, file=stream)


def emit_json(value: Any) -> None:
    """Print one JSON document on stdout, with escapes for what the stream cannot hold."""
    stream = _results.stream if _results else sys.stdout
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1)
    emit(text)


def run_program(program: Callable[[], object]) -> None:
    """Run a program as this process's own. The process ends with the program's exit code, whatever user code does."""
    leave = _refuse_exits()
    try:
        program()
    finally:
        finish()
        end_now(leave)


def _refuse_exits() -> Callable[[int], NoReturn]:
    """Replace os._exit by a function that raises, so that user code cannot end this process without a word.

    A call in a command is an error of that command. A call in an exit handler changes nothing: Python reports the
    errors of exit handlers and keeps the exit code. Processes that are forked from this one may still call it.

    Returns:
        The replaced function.
    """
    leave, process = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:
            leave(status)
        raise RuntimeError(f"os._exit({status}) was called, which would end the program")

    os._exit = refuse
    return leave


def finish() -> None:
    """Send what exit handlers print to stderr: all results are out. For the end of a process that is a program."""
    with suppress(OSError, ValueError, AttributeError):
        if _is_own(sys.stdout, 1):
            _flush(sys.stdout)
            os.dup2(2, 1)
