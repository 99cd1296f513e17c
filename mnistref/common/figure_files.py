"""Figures of matplotlib as files: their names, their formats, the same bytes for the same figure."""

import io
from pathlib import Path
from typing import Any

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import UsageProblemError

DPI = 150
_UNDATED: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def check_name(path: Path) -> None:
    """A usage error unless a figure can be written under this name."""
    if path.suffix.lower() not in _UNDATED:
        raise UsageProblemError(f"{path}: give a name that ends in {', '.join(_UNDATED)}")


def save_figure(figure: Any, path: Path) -> None:
    """Write it as PNG, SVG or PDF, by the name's ending, without a date in it."""
    check_name(path)
    import matplotlib

    ending, file = path.suffix.lower(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mnistref"}):
        figure.savefig(file, format=ending[1:], dpi=DPI, metadata=_UNDATED[ending])
    write_whole(path, file.getvalue())
