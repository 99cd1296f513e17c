"""Pack folders into .tar.xz files, which are written atomically, and unpack them."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from mnistref.common.atomic_files import write_whole


def pack_folder(folder: Path, names: Iterable[str], file: Path, largest: int) -> int:
    """Pack the existing ones of these folders into a file.

    A file of more than `largest` bytes is not written, and an earlier file stays. Files that are removed meanwhile are
    skipped.

    Returns:
        The size of the file in bytes, or 0 if it would be too large.
    """
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:xz", preset=1) as packed:
        for path in sorted(path for name in names for path in (folder / name).rglob("*") if path.is_file()):
            add(packed, path, str(path.relative_to(folder)))
    data = memory.getvalue()
    if len(data) > largest:
        return 0
    write_whole(file, data)
    return len(data)


def add(packed: tarfile.TarFile, path: Path, name: str) -> None:
    """Add the current content of a file, without its owner. Do nothing if the file no longer exists."""
    try:
        data, modified = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), int(modified)
    packed.addfile(entry, io.BytesIO(data))


def unpack(file: Path, folder: Path) -> str:
    """Unpack a file into a folder, and return a description of the outcome.

    A damaged file raises nothing, because it must not end a session.
    """
    try:
        with tarfile.open(file, "r:xz") as packed:
            packed.extractall(folder, filter="data")
            return f"{len(packed.getnames())} files unpacked"
    except (OSError, EOFError, tarfile.TarError) as error:
        return f"not unpacked: {type(error).__name__}: {error}"


class Packs:
    """Packs of some files of each finished run: STEM-1.tar.xz and so on, each with at most `largest` bytes.

    A pack is built in memory and replaced atomically. Its members are named RUN/FILE. A run that does not fit into the
    last pack starts a new one; if there are already `packs` of them, the run is added to `left_out`.
    """

    def __init__(self, out: Path, stem: str, files: Iterable[str], packs: int, largest: int) -> None:
        self._out, self._stem, self._files = out, stem, tuple(files)
        self._packs, self._largest = packs, largest
        self._known: set[Path] = set()
        self._last: list[Path] = []
        self._number = 1
        self.left_out: list[str] = []

    def add(self, runs: Iterable[Path]) -> None:
        """Pack the runs that are not packed yet, in this order."""
        new = [run for run in runs if run not in self._known]
        self._known.update(new)
        if not new:
            return
        if self._write([*self._last, *new]):
            self._last += new
            return
        for run in new:  # they do not fit together: try one by one
            if self._write([*self._last, run]):
                self._last.append(run)
            elif self._last and self._number < self._packs and self._begin(run):
                self._last = [run]
            else:
                self.left_out.append(run.name)

    def _begin(self, run: Path) -> bool:
        """Start a new pack with this run. Return False if the run alone is too large."""
        self._number += 1
        if self._write([run]):
            return True
        self._number -= 1
        return False

    def _write(self, runs: list[Path]) -> bool:
        """Write the last pack with these runs. Return False, without writing, if it would be too large."""
        memory = io.BytesIO()
        with tarfile.open(fileobj=memory, mode="w:xz", preset=2) as packed:
            for run in runs:
                for name in self._files:
                    add(packed, run / name, f"{run.name}/{name}")
        data = memory.getvalue()
        if len(data) > self._largest:
            return False
        write_whole(self._out / f"{self._stem}-{self._number}.tar.xz", data)
        return True
