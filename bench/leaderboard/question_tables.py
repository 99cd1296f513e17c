"""The tables of a stored board that are derived from the records of further commands on its runs."""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.evaluation.column import BOUNDS
from bench.evaluation.columns import P_VALUE
from bench.leaderboard.attack_table import attack_table_to_text, build_attack_table
from bench.leaderboard.formatting import to_csv
from bench.leaderboard.map_table import build_map_table, map_table_to_text
from bench.leaderboard.robustness_table import build_robustness_table, robustness_table_to_text
from bench.leaderboard.swap_table import build_swap_table, swap_table_to_text
from bench.leaderboard.transfer_table import build_transfer_table, transfer_table_to_text
from bench.runs import attack_record, robustness_record, saliency_record, swap_record, transfer_record
from bench.runs.question_record import StoredRecord
from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import DataProblemError

_RESAMPLED_SUFFIXES = (*BOUNDS, P_VALUE)
_RESAMPLING_TOLERANCE, _ROUNDING_TOLERANCE = 2e-3, 1e-9
"""Allowed deviation of numbers from resampling, which depend on the version of SciPy, and of all other numbers."""


@dataclass(frozen=True)
class QuestionTable:
    """A table of a stored board. It exists if a run has a record of this kind.

    Attributes:
        name: such as "maps", for maps.csv and maps.md.
        record: the kind of record.
        build: (run, record) of each run → the table.
        to_text: (table, whether it is Markdown) → the table as text.
    """

    name: str
    record: StoredRecord[Any]
    build: Callable[[Iterable[tuple[str, Any]]], pd.DataFrame]
    to_text: Callable[[pd.DataFrame, bool], str]

    @property
    def csv_file(self) -> str:
        """Name of the CSV file."""
        return f"{self.name}.csv"

    @property
    def markdown_file(self) -> str:
        """Name of the Markdown file."""
        return f"{self.name}.md"

    def derive(self, runs: Path) -> pd.DataFrame:
        """Return the table that follows from the records of runs; empty if there are none.

        Raises:
            DataProblemError: a record is damaged.
        """
        return self.build(self.record.read_all(runs).items())

    def write(self, folder: Path, runs: Path) -> None:
        """Write the table into the folder of a board, or remove it if no run has a record."""
        table = self.derive(runs)
        for name, text in ((self.csv_file, to_csv(table)), (self.markdown_file, self._to_markdown(table))):
            if len(table):
                write_whole(folder / name, text.encode())
            else:
                (folder / name).unlink(missing_ok=True)

    def find_deviations(self, folder: Path, runs: Path) -> list[str]:
        """Return in words how the table in the folder of a board deviates from the records.

        Raises:
            DataProblemError: the table or a record is damaged.
        """
        derived = self.derive(runs)
        paths = [folder / self.csv_file, folder / self.markdown_file]
        present = [path for path in paths if path.is_file()]
        if not len(derived):
            return [f"{path}: no run of this board has {self.record.settings_file}; delete it" for path in present]
        if len(present) < len(paths):
            names = f"{self.csv_file} or {self.markdown_file}"
            return [f"{folder}: without {names}, though runs have {self.record.settings_file}; save it again"]
        try:
            stored = pd.read_csv(io.StringIO(paths[0].read_bytes().decode()))
        except ValueError as error:
            raise DataProblemError(f"{paths[0]}: not a table ({error}); save the board again") from error
        deviations = compare_tables(paths[0], stored, pd.read_csv(io.StringIO(to_csv(derived))))
        if not deviations and paths[1].read_bytes().decode() != self._to_markdown(stored):
            deviations.append(f"{paths[1]}: differs from {self.csv_file}; save the board again")
        return deviations

    def _to_markdown(self, table: pd.DataFrame) -> str:
        return f"# {self.name.capitalize()}\n\n{self.to_text(table, True)}\n" if len(table) else ""


QUESTION_TABLES = (
    QuestionTable("maps", saliency_record.RECORD, build_map_table, map_table_to_text),
    QuestionTable("attacks", attack_record.RECORD, build_attack_table, attack_table_to_text),
    QuestionTable("swaps", swap_record.RECORD, build_swap_table, swap_table_to_text),
    QuestionTable("robustness", robustness_record.RECORD, build_robustness_table, robustness_table_to_text),
    QuestionTable("transfers", transfer_record.RECORD, build_transfer_table, transfer_table_to_text),
)


def compare_tables(path: Path, stored: pd.DataFrame, derived: pd.DataFrame) -> list[str]:
    """Return in words how a stored table deviates from the one that its records give."""
    if list(stored.columns) != list(derived.columns):
        odd = sorted(set(stored.columns) ^ set(derived.columns))
        difference = f"only one of them has {', '.join(odd)}" if odd else "their order differs"
        return [f"{path}: its columns differ from those of its records ({difference}); save it again"]
    if len(stored) != len(derived):
        return [f"{path}: has {len(stored)} rows, but its records give {len(derived)}; save it again"]
    return [
        f"{path}: row {row + 1}, {column}: {stored.at[row, column]!s}, but its records give {value!s}"
        for column in derived.columns
        for row, value in enumerate(derived[column])
        if not _is_same(stored.at[row, column], value, column)
    ]


def _is_same(stored: Any, derived: Any, column: str) -> bool:
    """Return whether two values are equal, up to rounding and resampling."""
    if pd.isna(stored) or pd.isna(derived):
        return bool(pd.isna(stored) and pd.isna(derived))
    if isinstance(stored, str) or isinstance(derived, str):
        return bool(stored == derived)
    tolerance = _RESAMPLING_TOLERANCE if column.endswith(_RESAMPLED_SUFFIXES) else _ROUNDING_TOLERANCE
    return math.isclose(stored, derived, rel_tol=_ROUNDING_TOLERANCE, abs_tol=tolerance)
