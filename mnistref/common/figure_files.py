"""Save matplotlib figures: file names, formats, and reproducible bytes."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import UsageProblemError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
_UNDATED: dict[str, dict[str, None]] = {".png": {}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def require_figure_name(path: Path) -> None:
    """Raise UsageProblemError unless the name ends in a supported format."""
    if path.suffix.lower() not in _UNDATED:
        raise UsageProblemError(f"{path}: give a name that ends in {', '.join(_UNDATED)}")


def save_figure(figure: "Figure", path: Path) -> None:
    """Save a figure as PNG, SVG or PDF, depending on the suffix, without a date in the file."""
    require_figure_name(path)
    import matplotlib

    ending, file = path.suffix.lower(), io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mnistref"}):
        figure.savefig(file, format=ending[1:], dpi=DPI, metadata=_UNDATED[ending])
    write_whole(path, file.getvalue())
