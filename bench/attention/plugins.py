"""Mechanisms of users: a class in a file, or the entry-point group `bench.attention` of an installed package.

The name of a class from a file contains the first digits of a SHA-256 of the file and of its neighbours, the modules
that it imports from its own folder. If one of them is edited, the name changes, so that records of different versions
are never mixed. Neighbours are imported separately for each file: two files in different folders may each have a
`util`.

Limitation: the digest does not cover what a file imports later, when it is called, or what it reads as data.
"""

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.attention import user_code
from bench.attention.mechanism import Mechanism
from mnistref.common.atomic_files import path_of_text, path_to_text, working_directory_kept
from mnistref.common.errors import UsageProblemError, did_you_mean

GROUP = "bench.attention"
_loaded: dict[str, Mechanism] = {}
_SHARED = {"__main__", "bench", "mnistref", "torch", *sys.stdlib_module_names}
"""Packages that a folder of the user cannot replace."""


def is_user_class(name: str) -> bool:
    """Return whether a name has the form path/to/file.py:Class."""
    return ".py:" in name or name.endswith(".py")


def load_user_class(name: str) -> Mechanism:
    """Return the mechanism `path/to/file.py:Class`, options following, or one whose recorded name was loaded before.

    The file is executed.

    Raises:
        UsageProblemError: there is no such file or class, or the file raises.
    """
    path, (class_name, *options) = _split_path(name)
    known = _loaded.get(f"{path.name}:{class_name}")
    if known and "#" in class_name:
        return known.with_options(options)
    if "#" in class_name:
        raise UsageProblemError(f"{name}: a recorded name, not a path; give path/to/{path.name}:Class")
    source = _read_file(path)
    module, neighbours = execute_file(path, source)
    cls = _class_of(module, class_name, path)
    full_name, files = name_with_files(path, cls.__name__, source, neighbours)
    file_name = full_name.rpartition(":")[0]
    _loaded[full_name] = replace(_mechanism(full_name, cls, f"from {file_name}"), files=files)
    return _loaded[full_name].with_options(options)


def name_with_files(
    path: Path, defined: str, source: bytes, neighbours: Mapping[str, bytes]
) -> tuple[str, dict[str, str]]:
    """Return the name of user code in records, file.py:NAME#digest, and its files as in `NetworkSpec.files`.

    Args:
        path: the file.
        defined: name of the class or function in it.
        source: content of the file.
        neighbours: imported files of its folder, relative to the folder, and their contents.
    """
    file_name = path.name.encode("utf-8", "backslashreplace").decode()  # file names may contain any bytes
    name, where = f"{file_name}:{defined}#{hash_source(source, neighbours)}", path.resolve()
    near_files = {f"{name}/{path_to_text(near)}": path_to_text(where.parent / near) for near in sorted(neighbours)}
    return name, {name: path_to_text(where), **near_files}


def require_files_exist(attn: str) -> None:
    """Raise UsageProblemError if a user file of a slot list cannot be read.

    This needs neither PyTorch nor a child process, so a mistyped path is reported at once.
    """
    for name in (part.strip() for part in attn.split(",")):
        if is_user_class(name) and "#" not in name:
            _read_file(_split_path(name)[0])


def _split_path(name: str) -> tuple[Path, list[str]]:
    """Return the file of `path/to/file.py:Class:options`, and the class and the options."""
    file, _, rest = (name if ".py:" in name else f"{name}:").partition(".py:")
    return Path(file + ".py"), rest.split(":")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageProblemError(f"{path}: {error.strerror}; give path/to/file.py:Class") from error


def recorded_files(attn: str) -> dict[str, str]:
    """Return `NetworkSpec.files` of a slot list as it is written in records. Classes that are not loaded have no files.

    A child process needs them, because it gets the slot list and not the classes.
    """
    names = [":".join(part.split(":")[:2]) for part in attn.split(",") if is_user_class(part)]
    return {key: path for name in names if name in _loaded for key, path in _loaded[name].files.items()}


def load_recorded(files: dict[str, str]) -> None:
    """Load the classes whose files records contain, see `NetworkSpec.files`.

    Raises:
        UsageProblemError: a file is missing or has changed. A changed file is not executed.
    """
    for name, text in files.items():
        path = path_of_text(text)
        if name in _loaded or "/" in name:
            continue
        class_name, _, digest = name.partition(":")[2].partition("#")
        near = [path_of_text(key.partition("/")[2]) for key in files if key.startswith(f"{name}/")]
        try:
            source = Path(path).read_bytes()
            neighbours = {relative: (Path(path).parent / relative).read_bytes() for relative in near}
        except OSError as error:
            raise UsageProblemError(
                f"{error.filename}: {error.strerror}; restore the file from which {name} was loaded"
            ) from error
        if hash_source(source, neighbours) == digest:
            load_user_class(f"{path}:{class_name}")
        if name not in _loaded:
            which = ", or a file it imports," if near or hash_source(source, {}) == digest else ""
            raise UsageProblemError(f"{path}{which} has changed since the run ({name}); restore the file of the run")


@contextmanager
def imported_anew(name: str) -> Iterator[None]:
    """Import the file of a loaded class once more; inside this context, the class's name refers to the new import.

    Other names are not changed, and neither are names whose file has been edited since.
    """
    known = ":".join(name.split(":")[:2])
    if known not in _loaded:
        yield
        return
    before = _loaded[known]
    module = before.target.__module__
    imported = sys.modules.get(module)
    try:
        load_user_class(f"{path_of_text(before.files[known])}:{before.target.__name__}")
        yield
    finally:
        _loaded[known] = before
        if imported is not None:
            sys.modules[module] = imported


def hash_source(source: bytes, neighbours: Mapping[str, bytes]) -> str:
    """Return the digest of a file and of its neighbours, by their paths."""
    parts = [source, *(part for near in sorted(neighbours) for part in (os.fsencode(near), neighbours[near]))]
    whole = source if not neighbours else b"".join(hashlib.sha256(part).digest() for part in parts)
    return hashlib.sha256(whole).hexdigest()[:8]


@cache
def installed() -> dict[str, Mechanism]:
    """Return the mechanisms of installed packages, by name. They are imported on first use, which may raise."""
    found = {}
    for point in entry_points(group=GROUP):
        package = point.dist.name if point.dist else point.value
        found[point.name] = Mechanism(point.name, f"from {package}", package, point.value)
    return found


def execute_file(
    path: Path, source: bytes, use: Callable[[Any], Any] = lambda module: module
) -> tuple[Any, dict[str, bytes]]:
    """Execute a file as a module that sees its neighbours as a script would.

    Args:
        path: the file.
        source: its content.
        use: called with the module while it still sees its neighbours.

    Returns:
        The result of `use`, by default the module, and the neighbours that were imported: path → content.

    Raises:
        UsageProblemError: the file or `use` raises.
    """
    where = path.resolve()
    name = f"bench_own_{hashlib.sha256(os.fsencode(where) + source).hexdigest()[:16]}"
    spec = spec_from_file_location(name, where)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    user_code.add_folder(where.parent)
    try:
        with _imports_from(where.parent) as neighbours, _global_settings_restored():
            spec.loader.exec_module(module)
            used = use(module)
        return used, {near: (where.parent / near).read_bytes() for near in neighbours if near != where.name}
    except UsageProblemError:
        sys.modules.pop(name, None)
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UsageProblemError(f"{path}: executing the file raises {user_code.describe_error(error)}") from error


@contextmanager
def _global_settings_restored() -> Iterator[None]:
    """Restore global settings that a file may change: the working directory, and PyTorch's defaults."""
    import torch

    from bench.common.default_device import restore_default_device

    dtype, gradients = torch.get_default_dtype(), torch.is_grad_enabled()
    device, threads = torch.get_default_device(), torch.get_num_threads()
    try:
        with working_directory_kept():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(gradients)
        restore_default_device(device)
        torch.set_num_threads(threads)


@contextmanager
def _imports_from(folder: Path) -> Iterator[list[str]]:
    """Inside this context, imports search `folder` first, and modules imported before do not shadow its modules.

    At the end the modules of the folder are removed from `sys.modules`.

    Yields:
        The list of files of the folder that were imported, filled at the end.
    """
    aside = {name: sys.modules.pop(name) for name in [*sys.modules] if _would_shadow(name, folder)}
    before, compiles = {*sys.modules}, sys.dont_write_bytecode
    found: list[str] = []
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True  # Python checks a bytecode cache by size and second only: it may miss an edit
    importlib.invalidate_caches()
    try:
        yield found
    finally:
        sys.dont_write_bytecode = compiles
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        for name in {*sys.modules} - before:
            file = _file_of(sys.modules[name])
            if file and name.partition(".")[0] not in _SHARED and _is_in_folder(file, folder):
                found.append(file.relative_to(folder).as_posix())
                del sys.modules[name]
        sys.modules.update(aside)


def _file_of(module: object) -> Path | None:
    file = getattr(module, "__dict__", {}).get("__file__")
    return Path(file).resolve() if isinstance(file, str) else None


def _is_in_folder(file: Path, folder: Path) -> bool:
    """Return whether a file is in a folder, and not in a virtual environment there."""
    return file.is_relative_to(folder) and not {"site-packages", "dist-packages"} & {*file.relative_to(folder).parts}


def _would_shadow(name: str, folder: Path) -> bool:
    """Return whether an imported module has the name of a module in a folder. Installed packages do not count."""
    top = name.partition(".")[0]
    if top in _SHARED or not ((folder / f"{top}.py").is_file() or (folder / top).is_dir()):
        return False
    file = _file_of(sys.modules[name])
    return file is None or not {"site-packages", "dist-packages"} & {*file.parts}


def _class_of(module: ModuleType, name: str, path: Path) -> Any:
    from torch import nn

    classes = {
        k: v
        for k, v in vars(module).items()
        if inspect.isclass(v) and issubclass(v, nn.Module) and v.__module__ == module.__name__
    }
    if not classes:
        raise UsageProblemError(f"{path}: defines no torch.nn.Module")
    if not name:
        fit = [k for k, v in classes.items() if not _construction_problem(v)] or [*classes]
        raise UsageProblemError(f"{path}: give a class, one of {', '.join(f'{path}:{k}' for k in fit)}")
    if name not in classes:
        raise UsageProblemError(f"{path} defines no module {name!r}: {did_you_mean(name, list(classes))}")
    return classes[name]


def _construction_problem(cls: Any) -> str:
    """Return why a class cannot be constructed as Class(channels, query_dim); an empty string if it can."""
    parameters = inspect.signature(cls).parameters
    positional = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    if len(positional) < 2 and not any(p.kind is p.VAR_POSITIONAL for p in positional):
        return f"its arguments are {[*parameters]}"
    for p in (*positional[2:], *(p for p in parameters.values() if p.kind is p.KEYWORD_ONLY)):
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            return f"no value is passed for {p.name!r}; give it a default"
    return ""


def _mechanism(name: str, cls: Any, paper: str) -> Mechanism:
    from bench.attention.base import Readout

    summary = (inspect.getdoc(cls) or "").split("\n")[0]
    if why := _construction_problem(cls):
        where = user_code.locate_function(cls.__init__)
        place = f"; __init__ is in {where}" * bool(where)
        raise UsageProblemError(f"{name}: it must work as Class(channels, query_dim, …): {why}{place}")
    return Mechanism(name, summary, paper, cls, last_only=issubclass(cls, Readout))
