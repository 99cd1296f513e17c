"""The type of an entry of the table of columns, see `bench.evaluation.columns`; its kinds; lists of columns. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from bench.common.number_format import percent, ratio, share

BOUNDS = ("_lo", "_hi")
"""Suffixes of the columns with the bounds of a 95 % interval."""
QUARTILES = ("_q1", "_q3")
"""Suffixes of the columns with the quartiles over the rounds of a timing."""
SHARE_RANGE = (0.0, 1.0)
"""The possible numbers of a share."""


@dataclass(frozen=True)
class Column:
    """A column of a board or of `bench runtime`.

    Attributes:
        name: name in CSV and JSON.
        doc: one line of documentation, which the HTML report shows.
        number_format: format of its numbers; None for a column of text.
        higher_is_better: direction; None if neither is better.
        report_heading: heading in the HTML report; "" if the report does not show the column.
        text_heading: heading in text tables, where `{baseline}` stands for the baseline's name; "" if they do not show
            the column.
        runtime_heading: heading in the table of `bench runtime`; "" if it does not show the column.
        runtime_format: format in that table, if it differs from `number_format`.
        on_board: whether the column is on boards. Columns that are not belong to `bench runtime` only.
        bounded: whether a board has the bounds of its 95 % interval in two further columns. A metric of maps with
            bounds has a value for each question.
        quartiles: whether `bench runtime` has its quartiles over the rounds in two further columns.
        integer: whether its numbers are whole.
        of_maps: whether it is a metric of attention maps.
        is_cost: whether it is a measured cost of a run: time or memory.
        value_range: the smallest and the largest possible number, both finite; None if they are unknown. Records with
            other numbers are damaged.
        setting: whether it describes the experiment. The HTML report shows such a column above the table if all rows
            have the same value.
        above_text: whether a text table shows its value above the table if all rows have the same value.
    """

    name: str
    doc: str
    number_format: Callable[[float], str] | None = None
    higher_is_better: bool | None = None
    report_heading: str = ""
    text_heading: str = ""
    runtime_heading: str = ""
    runtime_format: Callable[[float], str] | None = None
    on_board: bool = True
    bounded: bool = False
    quartiles: bool = False
    integer: bool = False
    of_maps: bool = False
    is_cost: bool = False
    value_range: tuple[float, float] | None = None
    setting: bool = False
    above_text: bool = False

    @property
    def best_order(self) -> str:
        """The order of rows in which the best number comes first: ascending or descending."""
        return "descending" if self.higher_is_better else "ascending"


map_share = partial(Column, number_format=share, higher_is_better=True, of_maps=True, value_range=SHARE_RANGE)
"""Constructor of the column of a metric of attention maps that is a share, where higher is better."""
percentage = partial(Column, number_format=percent, bounded=True, value_range=SHARE_RANGE)
"""Constructor of the column of a share in percent, with its interval."""
ratio_of_times = partial(Column, number_format=ratio, higher_is_better=False)
"""Constructor of the column of a ratio of times."""


def shared_setting(name: str, doc: str) -> Column:
    """Return the column of a setting that tables show above their rows if all rows have the same value."""
    return Column(name, doc, report_heading=name, text_heading=name, setting=True, above_text=True)


def with_suffixes(names: Iterable[str], suffixes: Iterable[str] = BOUNDS) -> list[str]:
    """Return each name, followed by the names of its further columns, such as those of its bounds."""
    endings = ("", *suffixes)
    return [f"{name}{ending}" for name in names for ending in endings]


def reorder(columns: Iterable[Column], before: Mapping[str, str]) -> list[Column]:
    """Return columns in another order.

    Args:
        columns: the columns, in the order of `COLUMNS`.
        before: name of a column → name of the column that it is moved in front of.
    """
    ordered = list(columns)
    for name, next_name in before.items():
        (moved,) = (column for column in ordered if column.name == name)
        ordered.remove(moved)
        ordered.insert([column.name for column in ordered].index(next_name), moved)
    return ordered
