"""Models of users that are only tested: what a function in a file returns (`bench evaluate`).

The name of such a model contains the first digits of a SHA-256 of the file and of the modules that it imports from its
own folder, see `bench.attention.plugins`. Weights that the function loads are not part of it.
"""

import inspect
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from bench.attention.plugins import execute_file, hash_source, name_with_files
from bench.evaluation.any_model import Model
from mnistref.common.atomic_files import path_of_text
from mnistref.common.errors import DataProblemError, UsageProblemError, did_you_mean


class UserModel(NamedTuple):
    """A model from a file.

    Attributes:
        name: file.py:function#digest.
        model: the module or function.
        files: name → path, and name/neighbour → path, as in `bench.attention.mechanism.Mechanism`.
    """

    name: str
    model: Model
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """The digest in the name."""
        return self.name.rpartition("#")[2]


def make_user_model(text: str) -> UserModel:
    """Return what a function or class in a file returns when it is called without arguments.

    Args:
        text: path/to/file.py:function.

    Raises:
        UsageProblemError: there is no such file or function, or it raises, or it does not return something callable.
    """
    path, function, source = _read_source(text)
    model, neighbours = execute_file(path, source, lambda module: _call(module, function, path))
    name, files = name_with_files(path, function, source, neighbours)
    return UserModel(name, model, files)


def require_model_file(text: str) -> None:
    """Raise UsageProblemError if this is not path/to/file.py:function, or the file cannot be read."""
    _read_source(text)


def _read_source(text: str) -> tuple[Path, str, bytes]:
    """Return the path of the file, the name of the function and the content of the file."""
    file, separator, function = text.partition(".py:")
    path = Path(f"{file}.py")
    if not separator or not function or "#" in function:
        raise UsageProblemError(f"{text}: give path/to/file.py:function")
    try:
        return path, function, path.read_bytes()
    except OSError as error:
        raise UsageProblemError(f"{path}: {error.strerror}; give path/to/file.py:function") from error


def _call(module: ModuleType, name: str, path: Path) -> Model:
    """Return what the function returns. The module is executed already."""
    found = getattr(module, name, None)
    if not callable(found):
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise UsageProblemError(f"{path} defines no function {name!r}: {did_you_mean(name, own)}")
    needed = [
        parameter.name
        for parameter in inspect.signature(found).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if needed:
        raise UsageProblemError(
            f"{path}:{name} needs {', '.join(needed)}: give a function without arguments that returns the model"
        )
    model = found()
    if not callable(model):
        raise UsageProblemError(
            f"{path}:{name} returned a {type(model).__name__}: return a module, or a function of (images, query)"
        )
    return model  # type: ignore[no-any-return]  # any callable is accepted, and its outputs are checked


def load_recorded_model(files: object, run: Path) -> Model:
    """Return the model of a run that `bench evaluate` recorded.

    Args:
        files: the entry `attn_files` of config.json; None if there is none.
        run: the folder of the run, for messages.

    Raises:
        DataProblemError: the record does not name the file, as in a stored board.
        UsageProblemError: the file is missing or has changed; a changed file is not executed.
    """
    paths = files if isinstance(files, dict) else {}
    names = [name for name in paths if "/" not in name]
    if len(names) != 1 or ".py:" not in names[0]:
        raise DataProblemError(f"{run}: the record does not have the file of the model; use the original run")
    name = names[0]
    function, _, digest = name.partition(".py:")[2].partition("#")
    path = Path(path_of_text(paths[name]))
    near = {Path(path_of_text(paths[key])): key.partition("/")[2] for key in paths if key.startswith(f"{name}/")}
    try:
        neighbours = {path_of_text(relative): place.read_bytes() for place, relative in near.items()}
        is_same = hash_source(path.read_bytes(), neighbours) == digest
    except OSError as error:
        raise UsageProblemError(f"{error.filename}: {error.strerror}; restore the file of {name}") from error
    if not is_same:
        raise UsageProblemError(f"{path}, or a file it imports, has changed since the test ({name}); evaluate it again")
    return make_user_model(f"{path}:{function}").model
