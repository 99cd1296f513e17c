"""Files that are there whole, or not at all."""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

PARTIAL = ".partial-"
"""What the name of every unfinished file or folder begins with."""

_UMASK = os.umask(0)  # can only be read by setting it, so once, before there are threads
os.umask(_UMASK)


def write_whole(path: Path, *pieces: bytes | memoryview) -> None:
    """Write `pieces`, one after the other, under a temporary name beside `path`, flush them to the disk, and only then
    give the file its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, partial = tempfile.mkstemp(prefix=PARTIAL, suffix=f"-{path.name}", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(partial, 0o666 & ~_UMASK)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
    sync_folder(path.parent)


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file that people know: a failed write names none, others the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


@contextlib.contextmanager
def exclusive(lock: Path, folder: Path) -> Iterator[None]:
    """Let one process at a time, the holder of `lock`, write into `folder`. What killed ones left there is removed:
    others' before the block, that of its own workers behind it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        _sweep(folder)
        try:
            yield
        finally:
            _sweep(folder)


def _sweep(folder: Path) -> None:
    for leftover in folder.rglob(f"{PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well; if another process was first, its one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, suffix=f"-{path.name}", dir=path.parent))
    try:
        partial.chmod(0o777 & ~_UMASK)
        yield partial
        try:
            os.rename(partial, path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(path.parent)


def is_real_file(path: Path) -> bool:
    """Whether a file lies there; a link to one is none, since what it leads to may change or stay behind."""
    return oddity(path) == ""


def oddity(path: Path) -> str:
    """What a place is where a file should lie, for people; empty where one does."""
    try:
        mode = os.lstat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder, which must be moved away"
    return "a link" if stat.S_ISLNK(mode) else "no regular file"


@contextlib.contextmanager
def sole_folder(path: Path) -> Iterator[Path]:
    """The same for one process at a time; what a killed one left is removed. All is on the disk before it has its name.

    Raises filelock's Timeout where another process is at work.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}")
    lock = partial / ".lock"  # moves or goes with the folder, so that nothing is left beside `path`
    partial.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=0):
        try:
            for leftover in partial.iterdir():
                if leftover.is_dir():
                    shutil.rmtree(leftover)
                elif leftover != lock:
                    leftover.unlink()
            yield partial
            _sync_tree(partial)
            lock.unlink()
            os.rename(partial, path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    sync_folder(path.parent)


def _sync_tree(folder: Path) -> None:
    """Sixteen files at a time, which the disk takes together: of thousands, that is some fifteen times as fast."""
    files = []
    for place, _, names in os.walk(folder):
        files += [Path(place, name) for name in names]
        sync_folder(Path(place))
    with ThreadPoolExecutor(16) as pool:
        for _ in pool.map(_sync_file, files):
            pass


def _sync_file(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def file_sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
