"""Mechanisms from outside: a class in a user's file, and the entry-point group `bench.attention` of other packages.

A class from a file is named by the file, the class and the first digits of the file's SHA-256: an edited module is
another mechanism, and records of the two are never mixed.
"""

import hashlib
import inspect
import sys
from functools import cache
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from bench.mechanism import Mechanism
from mnistref.errors import UsageProblemError, did_you_mean

GROUP = "bench.attention"
_loaded: dict[str, Mechanism] = {}
_files: dict[str, Path] = {}


def is_own(name: str) -> bool:
    """Whether a name is of the form path/to/file.py:Class."""
    return ".py:" in name or name.endswith(".py")


def load_own(name: str) -> Mechanism:
    """The mechanism of `path/to/file.py:Class`, options following, or of a name that was given to one before.

    Runs the file. A usage error where there is no such file or class, or where the file fails.
    """
    file, _, rest = (name if ".py:" in name else f"{name}:").partition(".py:")
    path, (class_name, *options) = Path(file + ".py"), rest.split(":")
    known = _loaded.get(f"{path.name}:{class_name}")
    if known and "#" in class_name:
        return known.choose(options)
    if "#" in class_name:
        raise UsageProblemError(f"{name}: a file known by its digest alone; give its path, path/to/{path.name}:Class")
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageProblemError(f"{path}: {error.strerror}; give path/to/file.py:Class") from error
    cls = _class_of(_run(path, source), class_name, path)
    spelled = f"{path.name}:{cls.__name__}#{_digest(source)}"
    _loaded[spelled] = _mechanism(spelled, cls, f"from {path.name}")
    _files[spelled] = path.resolve()
    return _loaded[spelled].choose(options)


def files_of(attn: str) -> dict[str, str]:
    """Where the classes of a slot list's user files lie: name → path. For records, so that they can be found again."""
    names = [":".join(part.split(":")[:2]) for part in attn.split(",") if is_own(part)]
    return {name: str(_files[name]) for name in names if name in _files}


def find_again(files: dict[str, str]) -> None:
    """Load what `files_of` recorded; a usage error where a file is gone or is another one now, which is not run."""
    for name, path in files.items():
        if name in _loaded:
            continue
        class_name, _, digest = name.partition(":")[2].partition("#")
        try:
            source = Path(path).read_bytes()
        except OSError as error:
            raise UsageProblemError(f"{path}: {error.strerror}; put the file there that made {name}") from error
        if _digest(source) != digest:
            raise UsageProblemError(f"{path}: not the file this run was made with ({name}); put that one there")
        load_own(f"{path}:{class_name}")


def _digest(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()[:8]


@cache
def installed() -> dict[str, Mechanism]:
    """Mechanisms of installed packages, by name. One that cannot be imported is an error only when it is asked for."""
    found = {}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else point.value
        found[point.name] = Mechanism(point.name, f"from {package}", package, point.value)
    return found


def _run(path: Path, source: bytes) -> Any:
    """The module of a file, which sees its neighbours as a script would."""
    name = f"bench_own_{hashlib.sha256(source).hexdigest()[:16]}"
    spec = spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageProblemError(f"{path}: fails when it is run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _class_of(module: Any, name: str, path: Path) -> Any:
    from torch import nn

    classes = {
        k: v
        for k, v in vars(module).items()
        if inspect.isclass(v) and issubclass(v, nn.Module) and v.__module__ == module.__name__
    }
    if not classes:
        raise UsageProblemError(f"{path}: defines no torch.nn.Module")
    if name not in classes:
        raise UsageProblemError(f"{path} defines no module {name!r}: {did_you_mean(name, list(classes))}")
    return classes[name]


def _mechanism(name: str, cls: Any, paper: str) -> Mechanism:
    from bench.attention.base import Readout

    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    parameters = list(inspect.signature(cls).parameters)
    if len(parameters) < 2:
        raise UsageProblemError(f"{name}: it must be made as Class(channels, query_dim, …); it takes {parameters}")
    return Mechanism(name, summary, paper, cls, last_only=issubclass(cls, Readout))
