"""Progress of runs in other processes: a line for each epoch, read from their histories."""

import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bench.runs import records

log = logging.getLogger("bench")


class EpochWatch:
    """Logs the epochs of runs that other processes train. Epochs that exist at the start are not logged.

    Args:
        folders: the folder of each run, and its name for people.
    """

    def __init__(self, folders: Mapping[Path, str]) -> None:
        self._names = folders
        self._logged = {folder: len(_read_lines(folder)) for folder in folders}

    def report(self) -> None:
        """Log the epochs that have ended since the last call."""
        for folder, name in self._names.items():
            lines = _read_lines(folder)
            for line in lines[self._logged[folder] :]:
                with suppress(ValueError, KeyError, TypeError):  # a damaged line
                    record = json.loads(line)
                    log.info(
                        "%s: epoch %d, val %.3f, %.0f s",
                        name,
                        record["epoch"],
                        record["val_accuracy"],
                        record["seconds"],
                    )
            self._logged[folder] = len(lines)


def _read_lines(folder: Path) -> list[str]:
    """Return the complete lines of the history of a run."""
    try:
        text = (folder / records.HISTORY).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    return text.split("\n")[:-1]
