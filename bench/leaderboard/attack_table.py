"""The table of attacks: fooling rate and accuracy of each attack, with their intervals. Pure."""

from collections.abc import Iterable, Mapping

import pandas as pd

from bench.common.number_format import percent, share
from bench.evaluation.columns import ACCURACY, DATASET
from bench.leaderboard.question_columns import (
    ACCURACY_BEFORE,
    AREA,
    FOOLING,
    IMAGES,
    METHOD,
    NORM,
    REGION,
    RUN,
    format_with_bounds,
)
from bench.leaderboard.question_words import count_tested
from bench.leaderboard.statistics import mean_with_bounds
from bench.runs.attack_record import AttackRecord
from mnistref.common.text_table import table


def build_attack_table(records: Iterable[tuple[str, AttackRecord]]) -> pd.DataFrame:
    """Return one row for each run and attack.

    Args:
        records: name of the run, and its record.

    Returns:
        The columns of `bench.leaderboard.question_columns.ATTACK_COLUMNS`. All shares are in 0 … 1.
    """
    rows = []
    for run, record in records:
        settings: Mapping[str, object] = record.settings
        for attack, changed in record.changed.items():
            row: dict[str, object] = {RUN: run}
            row |= {name: settings[name] for name in (DATASET, IMAGES)}
            row |= {ACCURACY_BEFORE: float(record.right_before.mean()), METHOD: attack.method, REGION: attack.region}
            row |= {AREA: float(record.areas[attack.region].mean()), NORM: attack.norm}
            for name, values in ((FOOLING, changed), (ACCURACY, record.right[attack])):
                row |= mean_with_bounds(name, values, images=record.images)
            rows.append(row)
    return pd.DataFrame(rows)


def attack_table_to_text(board: pd.DataFrame, markdown: bool = False) -> str:
    """Return the tables of all runs, one after the other: a line for each norm, a column for each region."""
    return "\n\n".join(_run_to_text(rows, markdown) for _, rows in board.groupby([RUN, DATASET], sort=False))


def _run_to_text(rows: pd.DataFrame, markdown: bool) -> str:
    first, regions = rows.iloc[0], list(dict.fromkeys(rows[REGION]))
    tested = count_tested(first[IMAGES], first[DATASET])
    parts = [f"{first[RUN]}: {tested}, {percent(first[ACCURACY_BEFORE])} % right before an attack"]
    for name, caption in ((FOOLING, "answers that change, %"), (ACCURACY, "right answers, %")):
        cells = _pivot(rows, regions, name)
        parts += ["", f"{caption} (95 %):", *[""] * markdown, table(cells, markdown)]
    areas = rows.drop_duplicates(REGION)
    shares = "; ".join(f"{row[REGION]} {share(row[AREA])}" for _, row in areas.iterrows())
    note = (
        "ε is the largest change of a pixel, in 1/255. An attack on a small region changes few pixels, so compare "
        "regions together with their shares of the image."
    )
    return "\n".join([*parts, "", f"Shares of the image that may change: {shares}.", note])


def _pivot(rows: pd.DataFrame, regions: list[str], name: str) -> list[list[str]]:
    """Return the cells of the table of one measure: method and norm, then a column for each region."""
    lines = [[METHOD, "ε", *regions]]
    for (method, norm), group in rows.groupby([METHOD, NORM], sort=False):
        found = {row[REGION]: format_with_bounds(row, name, percent) for _, row in group.iterrows()}
        lines.append([str(method), f"{norm:g}", *(found[region] for region in regions)])
    return lines
