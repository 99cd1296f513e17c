"""The tables of results of the README and of the page of results have the numbers of the stored boards and curves."""

import csv
import json
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest

from bench.common.number_format import percent
from tests.docs.test_claims_page import rows
from tests.helpers import TOP
from tests.perf.recipes import reached

RESULTS = TOP / "results"


def read_board(name: str) -> list[dict[str, str]]:
    """Return the rows of a stored board."""
    return list(csv.DictReader((RESULTS / name / "board.csv").read_text(encoding="utf-8").splitlines()))


PUBLISHED = list(csv.DictReader((TOP / "bench/leaderboard/published.csv").read_text(encoding="utf-8").splitlines()))
BOARDS = {name: read_board(name) for name in ("fast", "cpu-best")}


def find(board: str, variant: str, attn: str, epochs: int | None) -> dict[str, str] | None:
    """Return the row of a mechanism from scratch in fp32; without a number of epochs, its best row; or None."""
    found = [
        row
        for row in BOARDS[board]
        if (row["variant"], row["attn"]) == (variant, attn)
        and (
            not epochs
            or (f"epochs={epochs}," in row["recipe"] and "init=" not in row["recipe"] and row["precision"] == "fp32")
        )
    ]
    return max(found, key=lambda row: float(row["accuracy"]), default=None)


def read_table(text: str, first_heading: str) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the headings and the rows of the table that begins with a heading."""
    start = text.index(f"\n| {first_heading} |".replace("  ", " ")) + 1
    table = text[start : text.index("\n\n", start)]
    heading = tuple(cell.strip() for cell in table.splitlines()[0].strip("|").split("|"))
    return heading, sorted(rows(table) - {heading})


def round_half_up(value: str) -> str:
    """Return a decimal number with one digit after the point."""
    return str(Decimal(value).quantize(Decimal("0.1"), ROUND_HALF_UP))


def published(attn: str, variant: str, source: str) -> str:
    """Return the accuracy that a paper reports; "" if it does not."""
    for row in PUBLISHED:
        if (row["attn"], row["variant"], row["measure"]) == (attn, variant, "accuracy") and source in row["source"]:
            return row["value"]
    return ""


def test_table_of_the_readme_has_the_accuracies_of_the_boards():
    heading, lines = read_table((TOP / "README.md").read_text(encoding="utf-8"), "")
    variants = [cell.strip("`") for cell in heading[1:]]
    checked = 0
    for name, *cells in lines:
        if name.startswith("best of"):
            assert cells == [round_half_up(max(published_accuracies(variant), key=float)) for variant in variants]
            continue
        attn = re.match(r"`(.+?)`", name).group(1)
        for variant, cell in zip(variants, cells, strict=True):
            row = find_cell(cell, variant, attn)
            number = cell.rstrip(" ¹²").strip("*")
            assert number == (percent(float(row["accuracy"])) if row else "–"), (attn, variant)
            checked += row is not None
    assert checked >= 8


def published_accuracies(variant: str) -> list[str]:
    """Return all accuracies that the papers report on a variant."""
    return [row["value"] for row in PUBLISHED if (row["variant"], row["measure"]) == (variant, "accuracy")]


def find_cell(cell: str, variant: str, attn: str) -> dict[str, str] | None:
    """Return the row of a number in the README; ¹ marks the board of the older recipe, ² the best row of today."""
    if cell.endswith("¹"):
        return find("cpu-best", variant, attn, None)
    return find("fast", variant, attn, None if cell.endswith("²") else 3)


@pytest.mark.parametrize("column", [1, 3])
def test_accuracies_of_the_page_of_results_are_those_of_the_board(column):
    heading, lines = read_table((RESULTS / "README.md").read_text(encoding="utf-8"), "test accuracy, % (95 %)")
    variant = re.match(r"`(\w+)`", heading[column]).group(1)
    checked = 0
    for name, *cells in lines:
        cell = cells[column - 1]
        row = find("fast", variant, name.strip("`"), 1 if cell.endswith("¹") else 3)
        low, high = (percent(float(row[f"accuracy_{end}"])) if row else "" for end in ("lo", "hi"))
        expected = f"{percent(float(row['accuracy']))} ({low}–{high})" if row else "–"
        assert cell.removesuffix(" ¹") == expected, (name, variant)
        checked += row is not None
    assert checked >= 10


def test_minutes_of_the_page_of_results_are_those_of_the_curves():
    heading, lines = read_table((RESULTS / "README.md").read_text(encoding="utf-8"), "test accuracy, % (95 %)")
    at = heading.index("minutes to 90 %")
    for line in lines:
        path = RESULTS / "curves" / f"mref-{line[0].strip('`').replace(',', '+')}-fast.json"
        curve = json.loads(path.read_text(encoding="utf-8"))["curve"] if path.exists() else []
        found = re.search(r"(\d+) s$", reached(curve, 0.9))
        minutes = int(found.group(1)) / 60 if found else None
        if line[at].startswith("<"):
            assert minutes <= float(line[at].strip("< "))
        else:
            shown = "–" if minutes is None else f"{minutes:.{0 if minutes >= 10 else 1}f}"
            assert line[at] == shown, line


def test_published_numbers_of_the_page_of_results_are_those_of_the_papers():
    heading, lines = read_table((RESULTS / "README.md").read_text(encoding="utf-8"), "test accuracy, % (95 %)")
    at = heading.index("PAN, ARNN: `mref`; `mbg`")
    compared = 0
    for line in lines:
        of_variants = line[at].split("; ") if line[at] != "–" else []
        for variant, cell in zip(("mref", "mbg"), of_variants, strict=False):
            found = [published(line[0].strip("`"), variant, paper) for paper in ("PAN", "ARNN")]
            assert cell == ", ".join(round_half_up(value) for value in found if value), line
            compared += 1
    assert compared >= 12
