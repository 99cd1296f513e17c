"""Files that are there whole, or not at all."""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from filelock import FileLock

PARTIAL = ".partial-"
"""What the name of every unfinished file or folder begins with."""

_UMASK = os.umask(0)  # can only be read by setting it, so once, before there are threads
os.umask(_UMASK)


def write_whole(path: Path, *pieces: bytes | memoryview) -> None:
    """Write `pieces`, one after the other, under a temporary name beside `path`, flush them to the disk, and only then
    give the file its name. A device or a pipe, such as /dev/stdout, is written to and stays what it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file() and not path.is_dir():
        with errors_name_file(path), path.open("wb") as file:
            file.writelines(pieces)
        return
    with errors_name_file(path):
        handle, partial = tempfile.mkstemp(prefix=PARTIAL, suffix=f"-{path.name}", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                with _where_supported():
                    os.fsync(file.fileno())
            _set_mode(Path(partial), 0o666)
            os.replace(partial, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
    sync_folder(path.parent)


@contextlib.contextmanager
def errors_name_file(path: Path) -> Iterator[None]:
    """Let an error of the disk name the file that people know: a failed write names none, others the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def _set_mode(path: Path, mode: int) -> None:
    """Give a file or folder its usual permissions, where the file system has any."""
    with _where_supported(errno.EPERM):
        os.chmod(path, mode & ~_UMASK)


@contextlib.contextmanager
def _where_supported(*others: int) -> Iterator[None]:
    """Go on where a file system does not know an operation; some mounts of networks and memory cards do not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, *others):
            raise


@contextlib.contextmanager
def exclusive(lock: Path, folder: Path) -> Iterator[None]:
    """Let one process at a time, the holder of `lock`, write into `folder`. What killed ones left there is removed:
    others' before the block, that of its own workers behind it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with locked(lock):
        _remove_partial_files(folder)
        try:
            yield
        finally:
            _remove_partial_files(folder)


@contextlib.contextmanager
def locked(lock: Path, timeout: float = -1) -> Iterator[None]:
    """Hold a lock, which is released when the process ends, however it ends.

    Raises OSError with the file's name where the file system has no locks, and filelock's Timeout.
    """
    held = FileLock(lock, timeout=timeout)
    try:
        with errors_name_file(lock):
            held.acquire()
    except (NotImplementedError, OSError) as error:
        number = getattr(error, "errno", errno.ENOSYS)
        if number not in (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        why = "this file system has no locks: data can be read here, but not made; make them on another disk"
        raise OSError(number, f"{os.strerror(number)} ({why})", str(lock)) from error
    try:
        yield
    finally:
        held.release()


def _remove_partial_files(folder: Path) -> None:
    for leftover in folder.rglob(f"{PARTIAL}*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


@contextlib.contextmanager
def working_directory_kept() -> Iterator[None]:
    """Return to the present working directory when the block ends: for user code, which may change it."""
    try:
        place: str | None = os.getcwd()
    except OSError:  # it was deleted
        place = None
    try:
        yield
    finally:
        if place is not None:
            os.chdir(place)


@contextlib.contextmanager
def ignore_unwritable() -> Iterator[None]:
    """Go on where a place cannot be written: for what is kept only to save time."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP):
            raise


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well; if another process was first, its one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, suffix=f"-{path.name}", dir=path.parent))
    try:
        _set_mode(partial, 0o777)
        yield partial
        try:
            os.rename(partial, path)
        except OSError:
            if not path.exists():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync_folder(path.parent)


def is_file(path: Path) -> bool:
    """Whether a file, or a link to one, lies there."""
    return check_file(path) == ""


def check_file(path: Path) -> str:
    """What a place is where a file should lie, for people; empty where a file or a link to one does.

    Caches keep data sets as links to files that are named by their content.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "a link to nothing" if os.path.islink(path) else "missing"
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link to itself"
        raise
    if stat.S_ISREG(mode):
        return ""
    return "a folder, which must be moved away" if stat.S_ISDIR(mode) else "no regular file"


@contextlib.contextmanager
def exclusive_atomic_folder(path: Path) -> Iterator[Path]:
    """The same for one process at a time; what a killed one left is removed. All is on the disk before it has its name.

    Raises filelock's Timeout where another process is at work.
    """
    partial = path.with_name(f"{PARTIAL}{path.name}")
    lock = partial / ".lock"  # moves or goes with the folder, so that nothing is left beside `path`
    partial.mkdir(parents=True, exist_ok=True)
    with locked(lock, timeout=0):
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
    with open(path, "rb+") as file, _where_supported():
        os.fsync(file.fileno())


_QUOTED = "bytes:"


def path_to_text(path: str | Path) -> str:
    """Return a path as text that any file can hold, and `path_of_text` reads.

    A path that is not UTF-8 is quoted: "bytes:", then its bytes with % and two digits in place of those outside ASCII.
    """
    text = os.fspath(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _QUOTED + quote(os.fsencode(text))
    return _QUOTED + quote(os.fsencode(text)) if text.startswith(_QUOTED) else text


def path_of_text(text: str) -> str:
    """The inverse of `path_to_text`."""
    return os.fsdecode(unquote_to_bytes(text.removeprefix(_QUOTED))) if text.startswith(_QUOTED) else text


def read_text(path: Path) -> str:
    """The text of a UTF-8 file. Raises ValueError where it is not one, and OSError that names it."""
    with errors_name_file(path):
        return path.read_text(encoding="utf-8")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes in hexadecimal. Raises OSError that names it."""
    with errors_name_file(path), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, where the system can."""
    if os.name != "posix":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written, but not listed
        return
    try:
        with _where_supported(errno.EBADF):
            os.fsync(handle)
    finally:
        os.close(handle)
