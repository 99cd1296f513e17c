"""Folders ↔ .tar.xz files that are there whole or not at all."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from mnistref.common.atomic_files import write_whole


def pack_folder(folder: Path, names: Iterable[str], file: Path, largest: int) -> int:
    """Pack these folders, those that are there, into a file. → its bytes, or 0 where it would be too large.

    A file that is too large is not written, and one that is already there stays. What is removed meanwhile is left out.
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
    """Add a file as it is now, without its owner; nothing where it is no longer there."""
    try:
        data, modified = path.read_bytes(), path.stat().st_mtime
    except FileNotFoundError:
        return
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), int(modified)
    packed.addfile(entry, io.BytesIO(data))


def unpack(file: Path, folder: Path) -> str:
    """Unpack a file into a folder. → in words, what came of it: an old cache must not end a session."""
    try:
        with tarfile.open(file, "r:xz") as packed:
            packed.extractall(folder, filter="data")
            return f"{len(packed.getnames())} files unpacked"
    except (OSError, EOFError, tarfile.TarError) as error:
        return f"not unpacked: {type(error).__name__}: {error}"


class Packs:
    """Some files of each finished run in a few packs, STEM-1.tar.xz and so on, each at most `largest` bytes.

    A pack is made anew in memory and then replaced, so that at any moment the file is a whole one. Runs lie in it as
    RUN/FILE. A run that has no room in the last pack begins a new one; where there would be too many, it is left out.
    """

    def __init__(self, out: Path, stem: str, files: Iterable[str], packs: int, largest: int) -> None:
        self._out, self._stem, self._files = out, stem, tuple(files)
        self._packs, self._largest = packs, largest
        self._known: set[Path] = set()
        self._last: list[Path] = []
        self._number = 1
        self.left_out: list[str] = []

    def add(self, runs: Iterable[Path]) -> None:
        """Pack those of the runs that are not packed yet, in the order given."""
        new = [run for run in runs if run not in self._known]
        self._known.update(new)
        if not new:
            return
        if self._write([*self._last, *new]):
            self._last += new
            return
        for run in new:  # they do not fit together: one by one
            if self._write([*self._last, run]):
                self._last.append(run)
            elif self._last and self._number < self._packs and self._begin(run):
                self._last = [run]
            else:
                self.left_out.append(run.name)

    def _begin(self, run: Path) -> bool:
        self._number += 1
        if self._write([run]):
            return True
        self._number -= 1
        return False

    def _write(self, runs: list[Path]) -> bool:
        """Write the present pack with these runs, unless it would be too large. → whether it was written."""
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
