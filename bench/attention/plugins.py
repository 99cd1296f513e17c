"""Mechanisms from outside: a class in a user's file, and the entry-point group `bench.attention` of other packages.

A class from a file is named by the file, the class and the first digits of a SHA-256: of the file, and of the modules
that it imports from its own folder, its neighbours. If one of them is edited it is another mechanism, and records of
the two are never mixed. Neighbours are imported anew for each file and are its own: two files of different folders may
each have a `util`. What a file imports only later, when it is called, or reads as data, is not seen, and is not part of
its name.
"""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from bench.attention.mechanism import Mechanism
from mnistref.common.atomic_files import path_of_text, path_to_text, working_directory_kept
from mnistref.common.errors import UsageProblemError, did_you_mean

GROUP = "bench.attention"
_loaded: dict[str, Mechanism] = {}
_files: dict[str, dict[str, str]] = {}
_SHARED = {"__main__", "bench", "mnistref", "torch", *sys.stdlib_module_names}
"""Modules of which there is one, whatever lies in a user's folder."""


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
    module, neighbours = _run(path, source)
    cls = _class_of(module, class_name, path)
    file_name = path.name.encode("utf-8", "backslashreplace").decode()  # a name may be any bytes
    spelled = f"{file_name}:{cls.__name__}#{_digest(source, neighbours)}"
    _loaded[spelled] = _mechanism(spelled, cls, f"from {file_name}")
    where = path.resolve()
    beside = {f"{spelled}/{path_to_text(near)}": path_to_text(where.parent / near) for near in sorted(neighbours)}
    _files[spelled] = {spelled: path_to_text(where), **beside}
    return _loaded[spelled].choose(options)


def files_of(attn: str) -> dict[str, str]:
    """Where the classes of a slot list's user files lie: name → path, and name/neighbour → path.

    For records, so that they can be found again.
    """
    names = [":".join(part.split(":")[:2]) for part in attn.split(",") if is_own(part)]
    return {key: path for name in names for key, path in _files.get(name, {}).items()}


def find_again(files: dict[str, str]) -> None:
    """Load what `files_of` recorded; a usage error where a file is gone or is another one now, which is not run."""
    for name, text in files.items():
        path = path_of_text(text)
        if name in _loaded or "/" in name:
            continue
        class_name, _, digest = name.partition(":")[2].partition("#")
        near = [path_of_text(key.partition("/")[2]) for key in files if key.startswith(f"{name}/")]
        try:
            source = Path(path).read_bytes()
            neighbours = {beside: (Path(path).parent / beside).read_bytes() for beside in near}
        except OSError as error:
            raise UsageProblemError(
                f"{error.filename}: {error.strerror}; put the file there that made {name}"
            ) from error
        if _digest(source, neighbours) == digest:
            load_own(f"{path}:{class_name}")
        if name not in _loaded:
            which = ", or a file it imports, is" if near or _digest(source, {}) == digest else " is"
            raise UsageProblemError(f"{path}{which} not the file this run was made with ({name}); put that one there")


@contextmanager
def imported_anew(name: str) -> Iterator[None]:
    """Let the name of a loaded class from a file mean the class of another import of the file while the block lasts.

    Other names are left alone, and so are those whose file was edited since.
    """
    known = ":".join(name.split(":")[:2])
    if known not in _loaded:
        yield
        return
    before = _loaded[known]
    module = before.target.__module__
    imported = sys.modules.get(module)
    try:
        load_own(f"{path_of_text(_files[known][known])}:{before.target.__name__}")
        yield
    finally:
        _loaded[known] = before
        if imported is not None:
            sys.modules[module] = imported


def _digest(source: bytes, neighbours: Mapping[str, bytes]) -> str:
    """Of a file, and of those beside it by their paths."""
    parts = [source, *(part for near in sorted(neighbours) for part in (os.fsencode(near), neighbours[near]))]
    whole = source if not neighbours else b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(whole).hexdigest()[:8]


@cache
def installed() -> dict[str, Mechanism]:
    """Mechanisms of installed packages, by name. One that cannot be imported is an error only when it is asked for."""
    found = {}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else point.value
        found[point.name] = Mechanism(point.name, f"from {package}", package, point.value)
    return found


def _run(path: Path, source: bytes) -> tuple[Any, dict[str, bytes]]:
    """The module of a file, which sees its neighbours as a script would; and those it imported: path → content."""
    where = path.resolve()
    name = f"bench_own_{hashlib.sha256(os.fsencode(where) + source).hexdigest()[:16]}"
    spec = spec_from_file_location(name, where)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _among(where.parent) as neighbours, _settings_kept():
            spec.loader.exec_module(module)
        return module, {near: (where.parent / near).read_bytes() for near in neighbours if near != where.name}
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        why = " ".join(str(error).split())[:300]
        raise UsageProblemError(f"{path}: fails when it is run: {type(error).__name__}: {why}") from error


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Give back what a file may change for the whole process: the working directory, and PyTorch's defaults."""
    import torch

    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    device, threads = torch.get_default_device(), torch.get_num_threads()
    try:
        with working_directory_kept():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_num_threads(threads)


@contextmanager
def _among(folder: Path) -> Iterator[list[str]]:
    """Imports see a folder first, and nothing of its modules' names that was imported before or stays afterwards.

    → the list of files of the folder that were imported, filled at the end.
    """
    aside = {name: sys.modules.pop(name) for name in [*sys.modules] if _would_shadow(name, folder)}
    before, compiles = {*sys.modules}, sys.dont_write_bytecode
    found: list[str] = []
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # a cache is told from a newer source by size and second alone
    importlib.invalidate_caches()
    try:
        yield found
    finally:
        sys.dont_write_bytecode = compiles
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name in {*sys.modules} - before:
            file = _file_of(sys.modules[name])
            if file and name.partition(".")[0] not in _SHARED and _is_beside(file, folder):
                found.append(file.relative_to(folder).as_posix())
                del sys.modules[name]
        sys.modules.update(aside)


def _file_of(module: Any) -> Path | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return Path(file).resolve() if isinstance(file, str) else None


def _is_beside(file: Path, folder: Path) -> bool:
    """Whether a file is of a folder, and of no environment in it."""
    return file.is_relative_to(folder) and not {"site-packages", "dist-packages"} & {*file.relative_to(folder).parts}


def _would_shadow(name: str, folder: Path) -> bool:
    """Whether a module that is imported already has the name of one in a folder; installed ones are left alone."""
    top = name.partition(".")[0]
    if top in _SHARED or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        return False
    file = _file_of(sys.modules[name])
    return file is None or not {"site-packages", "dist-packages"} & {*file.parts}


def _class_of(module: Any, name: str, path: Path) -> Any:
    from torch import nn

    classes = {
        k: v
        for k, v in vars(module).items()
        if inspect.isclass(v) and issubclass(v, nn.Module) and v.__module__ == module.__name__
    }
    if not classes:
        raise UsageProblemError(f"{path}: defines no torch.nn.Module")
    if not name:
        fit = [k for k, v in classes.items() if not _unmade(v)] or [*classes]
        raise UsageProblemError(f"{path}: say which class: {', '.join(f'{path}:{k}' for k in fit)}")
    if name not in classes:
        raise UsageProblemError(f"{path} defines no module {name!r}: {did_you_mean(name, list(classes))}")
    return classes[name]


def _unmade(cls: Any) -> str:
    """Why a class cannot be made as Class(channels, query_dim); nothing where it can."""
    parameters = inspect.signature(cls).parameters
    positional = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in positional):
        return f"it takes {[*parameters]}"
    for p in (*positional[2:], *(p for p in parameters.values() if p.kind is p.KEYWORD_ONLY)):
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            return f"it gets no {p.name!r}; give it a default"
    return ""


def _mechanism(name: str, cls: Any, paper: str) -> Mechanism:
    from bench.attention.base import Readout

    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    if why := _unmade(cls):
        raise UsageProblemError(f"{name}: it must be made as Class(channels, query_dim, …): {why}")
    return Mechanism(name, summary, paper, cls, last_only=issubclass(cls, Readout))
