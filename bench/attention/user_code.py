"""Where an error of user code comes from: file and line."""

import sysconfig
import traceback
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

MAX_CHARACTERS = 300
"""Maximal length of the message of an error in one line."""

_INSTALLED = {"site-packages", "dist-packages"}
_OTHER_FOLDERS = (
    *(Path(__file__).resolve().parents[2] / name for name in ("bench", "mnistref")),
    Path(sysconfig.get_path("stdlib")).resolve(),
)
"""Folders that are not user code if they are in a folder of the user."""
_places: dict[Path, Path] = {}  # a user's folder or file → the folder that names in messages are relative to


def add_folder(folder: Path) -> None:
    """Treat the files of a folder as user code. Packages that are installed in the folder do not count."""
    _places[folder.resolve()] = folder.resolve()


def add_module(name: str) -> None:
    """Treat an installed module, or else the package that it is in, as user code. It need not be imported yet."""
    with suppress(ImportError, ValueError):
        spec = find_spec(name.partition(".")[0])
        if spec and spec.origin and spec.has_location:
            path = Path(spec.origin).resolve()
            place = path.parent if path.name == "__init__.py" else path
            _places[place] = place.parent


def locate(error: BaseException) -> str:
    """Return the file and the line of user code in which an error was raised, such as "own.py:14".

    This is the innermost line of user code in the traceback, or in those of the errors that caused it; for a
    SyntaxError, the line that cannot be parsed. Empty if there is no such line.
    """
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    for one in chain:
        frames = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(one.__traceback__)]
        if isinstance(one, SyntaxError) and one.filename and one.lineno:
            frames.append((one.filename, one.lineno))
        for file, line in reversed(frames):
            if name := _name_of(file):
                return f"{name}:{line}"
    return ""


def locate_function(function: object) -> str:
    """Return the file and the line of user code in which a function is defined; empty if it is not user code."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    name = _name_of(code.co_filename) if code else ""
    return f"{name}:{code.co_firstlineno}" if code and name else ""


def describe_error(error: BaseException) -> str:
    """Return an error in one line: its type, its message, and the file and line of user code that raised it."""
    where = locate(error)
    text = error.msg if isinstance(error, SyntaxError) else str(error)  # the text names the line in its own way
    message = " ".join(text.split())[:MAX_CHARACTERS]
    return f"{type(error).__name__}{f': {message}' * bool(message)}{f' ({where})' * bool(where)}"


def _name_of(file: str) -> str:
    """Return the name of a file of user code in messages; empty if the file is not user code."""
    path = Path(file)
    if not path.is_absolute():
        return ""
    path = path.resolve()
    for place, start in _places.items():
        others = (folder for folder in _OTHER_FOLDERS if not place.is_relative_to(folder))
        if any(path.is_relative_to(folder) for folder in others):
            continue
        if path.is_relative_to(place) and not _INSTALLED & {*path.relative_to(place).parts}:
            return path.relative_to(start).as_posix()
    return ""
