"""Which files of a folder are photos, by the ends of their names."""

import logging
import os
from pathlib import Path

from mnistref.errors import DataProblemError

log = logging.getLogger("mnistref")

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


def images_in(folder: Path) -> list[tuple[str, Path]]:
    """(name, path) of every image file below, in the order of the names; says what else there is, but hidden files."""
    found, others = [], []
    for place, _, names in os.walk(folder, onerror=_refuse):
        for path in (Path(place, name) for name in names if not name.startswith(".")):
            if not path.is_file():
                continue
            if path.suffix.lower() in SUFFIXES:
                found.append((path.relative_to(folder).as_posix(), path))
            else:
                others.append(path.suffix.lower() or "no suffix")
    kinds = ", ".join(escaped(kind) for kind in sorted(set(others))[:5])
    if not found:
        endings = ", ".join(sorted(SUFFIXES))
        there = f", but others ({kinds})" if others else ""
        raise DataProblemError(
            f"{folder}: no images here{there}; photos end in {endings} (or give --backgrounds builtin)"
        )
    if others:
        files = f"{len(others)} other files are" if len(others) > 1 else "1 other file is"
        log.info("%s: %s ignored (%s)", escaped(folder.name), files, kinds)
    return sorted(found)


def _refuse(error: OSError) -> None:
    """A folder that cannot be listed, whose photos would be missing unnoticed."""
    raise DataProblemError(
        f"{escaped(str(error.filename))}: cannot be searched for photos ({error.strerror}); "
        "change its permissions, or move it away"
    ) from error


def escaped(name: str) -> str:
    """A file's name as text that can be written anywhere: bytes that are no UTF-8 as backslash and code."""
    return name.encode("utf-8", "backslashreplace").decode()
