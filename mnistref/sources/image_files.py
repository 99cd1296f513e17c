"""Search of a folder for photos: by file suffix, without hidden files, each real file once."""

import os
from collections.abc import Iterator
from pathlib import Path

from mnistref.common.errors import DataProblemError
from mnistref.common.text_table import escaped
from mnistref.sources.exclusions import BROKEN, HIDDEN, OTHER, REPEATED, Exclusions

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_SYSTEM = {
    *("__macosx", "@eadir", "@recycle", "#recycle", "$recycle.bin", "recycler"),
    *("system volume information", "lost+found", "thumbs.db", "desktop.ini"),
}
"""Names, in lower case, that operating systems and network drives create."""


def find_images(folder: Path, exclusions: Exclusions | None = None) -> list[tuple[str, Path]]:
    """Return (name, path) of every image file below `folder`, sorted by name.

    Hidden files and folders are skipped. Links are followed. A file or folder that is reached several times is used
    once. A path without links is preferred to a path through a link.

    Args:
        folder: the folder to search.
        exclusions: receives the files that are not used.

    Raises:
        DataProblemError: there are no images, or a folder cannot be listed.
    """
    exclusions = Exclusions() if exclusions is None else exclusions
    search = _Search(folder, exclusions)
    found = search.images()
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        there = f", but {exclusions}" if exclusions else ""
        raise DataProblemError(
            f"{folder}: no images here{there}; photos end in {endings} (or give --backgrounds builtin)"
        )
    return sorted(found)


class _Search:
    """One search of a folder. Visited places are identified by their resolved paths."""

    def __init__(self, folder: Path, exclusions: Exclusions) -> None:
        self.folder, self.exclusions = folder, exclusions
        self.top = os.path.realpath(folder)
        self.searched, self.taken = set[str](), set[str]()
        self.folder_links, self.file_links = list[Path](), list[Path]()

    def images(self) -> list[tuple[str, Path]]:
        """Return the images of real folders, then those of linked folders, then linked files."""
        found = list(self._walk(self.folder, self.top))
        while self.folder_links:
            links, self.folder_links = sorted(self.folder_links), []
            for link in links:
                found += self._walk_link(link)
        for link in sorted(self.file_links):
            real = os.path.realpath(link)
            if real in self.taken:
                self.exclusions.add(REPEATED, link.name)
            else:
                self.taken.add(real)
                found.append(link)
        return [(path.relative_to(self.folder).as_posix(), path) for path in found]

    def _walk_link(self, link: Path) -> Iterator[Path]:
        """Yield the images of a linked folder, unless it was searched or contains the link."""
        real = os.path.realpath(link)
        holds = any(Path(place).is_relative_to(real) for place in (self.top, os.path.realpath(link.parent)))
        if holds or real in self.searched:
            self.exclusions.add(REPEATED, link.name)
            return
        yield from self._walk(link, real)

    def _walk(self, folder: Path, real: str) -> Iterator[Path]:
        """Yield the images of a real folder and its subfolders, and record the links."""
        open_folders = [(folder, real)]
        while open_folders:
            place, real = open_folders.pop()
            if real in self.searched:
                continue
            self.searched.add(real)
            for entry in _entries(place):
                path = place / entry.name
                if _is_hidden(entry.name):
                    self.exclusions.add(HIDDEN, entry.name)
                elif _is_link(entry):
                    self._add_link(path)
                elif entry.is_dir():
                    open_folders.append((path, os.path.join(real, entry.name)))
                elif not entry.is_file() or not _is_image(path):
                    self.exclusions.add(OTHER, path.suffix.lower() or "no suffix")
                else:
                    self.taken.add(os.path.join(real, entry.name))
                    yield path

    def _add_link(self, link: Path) -> None:
        """Record a link for later, by the kind of its target."""
        try:
            if link.is_dir():
                self.folder_links.append(link)
            elif not link.exists():
                self.exclusions.add(BROKEN, link.name)
            elif not link.is_file() or not _is_image(link):
                self.exclusions.add(OTHER, link.suffix.lower() or "no suffix")
            else:
                self.file_links.append(link)
        except OSError as error:
            raise _listing_error(link, error) from error


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise _listing_error(folder, error) from error


def _listing_error(path: Path, error: OSError) -> DataProblemError:
    """Return the error for a folder that cannot be listed. If it were skipped, photos would be missing unnoticed."""
    where = f"{escaped(str(path))}: cannot be searched for photos ({error.strerror})"
    return DataProblemError(f"{where}; change its permissions, or move it away")


def _is_link(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a link, or a junction of Windows."""
    return entry.is_symlink() or (hasattr(entry, "is_junction") and entry.is_junction())


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES
