"""Standard streams of the programs: results on stdout, everything else on stderr, and an empty stdin.

User code runs inside the programs, and may print, read or fork. `isolated` separates its output from the results.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, NoReturn, TextIO

import click

from mnistref.common.process_exit import end_now


class _Results(NamedTuple):
    """The destination of results: an unbuffered descriptor, or a stream of the caller, for example in memory."""

    descriptor: int | None
    stream: TextIO | None


_results: _Results | None = None  # while `isolated` is on
_spelled: dict[Path, Path] = {}  # absolute path → path as the user gave it
_logged: set[str] = set()  # lines of `log_once` in this command


def prepare() -> None:
    """Make the standard streams usable, and replace characters that the console cannot show.

    A closed descriptor 0, 1 or 2 is opened on the null device; otherwise the next opened file would take its number and
    receive what is printed. Python sets such a stream to None, which many libraries do not expect; it is replaced by a
    stream on the null device.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8", errors="replace")  # noqa: SIM115 (until the process ends)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


@contextmanager
def isolated() -> Iterator[None]:
    """Reserve stdout for `emit` during the block. Other output goes to stderr, and stdin is empty.

    If sys.stdout and sys.stdin are the process's own streams, this includes C code and child processes.
    """
    global _results
    before = _results, sys.stdout, sys.stdin
    null = os.open(os.devnull, os.O_RDWR)
    try:
        with _redirected(1, sys.stdout, 2) as own, _redirected(0, sys.stdin, null):
            _results = _Results(own, sys.stdout)
            if own is None:
                sys.stdout = sys.stderr
            yield
    finally:
        os.close(null)
        _results, sys.stdout, sys.stdin = before


@contextmanager
def _redirected(number: int, stream: TextIO, target: int) -> Iterator[int | None]:
    """Redirect a standard descriptor to another one during the block.

    Yields:
        A duplicate of the original descriptor, or None if `stream` is not the process's own and nothing was redirected.
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


def _is_own(stream: TextIO, number: int) -> bool:
    """Return whether a stream uses this descriptor. Windows consoles accept Unicode only through streams."""
    try:
        return stream.fileno() == number and not (os.name == "nt" and stream.isatty())
    except (AttributeError, OSError, ValueError):  # no stream, a closed one, or one in memory
        return False


def _flush(stream: TextIO) -> None:
    with suppress(OSError, ValueError):
        stream.flush()


def start_command() -> None:
    """Clear the spellings of `remember_spelling` and the lines of `log_once`, before a command parses its own paths."""
    _spelled.clear()
    _logged.clear()


def log_once(line: str) -> None:
    """Log a line, unless this command has logged it before."""
    if line not in _logged:
        _logged.add(line)
        logging.getLogger("mnistref").info("%s", line)


def remember_spelling(path: Path) -> Path:
    """Return the absolute path, which does not depend on the working directory, and remember the user's spelling."""
    absolute = path.absolute()
    _spelled[absolute] = path
    return absolute


def in_user_spelling(path: Path) -> Path:
    """Return a path in the user's spelling: relative if it is at or below a path that the user gave as relative."""
    for place in (path, *path.parents):
        if place in _spelled:
            return _spelled[place] / path.relative_to(place)
    return path


def emit(value: object) -> None:
    """Print one result and a newline on stdout.

    Paths are printed in the user's spelling and as the bytes of the file system.

    Raises:
        BrokenPipeError: the reader of stdout has closed it.
    """
    descriptor, stream = _results or _Results(None, sys.stdout)
    if stream is None:  # the caller closed it
        return
    value = in_user_spelling(value) if isinstance(value, Path) else value
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


def emit_json(value: object) -> None:
    """Print one JSON document on stdout. Characters that the stream cannot encode are escaped."""
    stream = _results.stream if _results else sys.stdout
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=1)
    emit(text)


def run_program(program: Callable[[], object]) -> None:
    """Run a program and end the process with its exit code, whatever user code does."""
    leave = _refuse_exits()
    try:
        program()
    finally:
        finish()
        end_now(leave)


def _refuse_exits() -> Callable[[int], NoReturn]:
    """Replace os._exit by a function that raises, so that user code cannot end this process silently.

    A call in a command is an error of that command. A call in an exit handler has no effect: Python reports errors of
    exit handlers and keeps the exit code. Forked processes may still call it.

    Returns:
        The original function.
    """
    leave, process = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:
            leave(status)
        raise RuntimeError(f"os._exit({status}) was called, which would end the program")

    os._exit = refuse
    return leave


def finish() -> None:
    """Redirect stdout to stderr at the end of the program, so that exit handlers cannot print among the results."""
    with suppress(OSError, ValueError, AttributeError):
        if _is_own(sys.stdout, 1):
            _flush(sys.stdout)
            os.dup2(2, 1)
