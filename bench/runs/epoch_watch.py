"""Progress of runs in other processes: a line for each epoch, read from their histories."""

import logging
from collections.abc import Mapping
from pathlib import Path

from bench.evaluation.record_keys import VAL_ACCURACY
from bench.runs.record_types import HistoryEntry
from bench.runs.records import read_history
from bench.runs.validation import is_number

log = logging.getLogger("bench")


class EpochWatch:
    """Logs the epochs of runs that other processes train. Epochs that exist at the start are not logged.

    Args:
        folders: the folder of each run, and its name for people.
    """

    def __init__(self, folders: Mapping[Path, str]) -> None:
        self._names = folders
        self._logged = {folder: len(read_history(folder, warn=False)) for folder in folders}

    def report(self) -> None:
        """Log the epochs that have ended since the last call."""
        for folder, name in self._names.items():
            entries = read_history(folder, warn=False)
            for entry in entries[self._logged[folder] :]:
                log.info("%s: epoch %s, val %s", name, entry.get("epoch"), _format_accuracy(entry))
            self._logged[folder] = len(entries)


def _format_accuracy(entry: HistoryEntry) -> str:
    accuracy = entry.get(VAL_ACCURACY)
    return f"{accuracy:.3f}" if is_number(accuracy) else "unknown"
