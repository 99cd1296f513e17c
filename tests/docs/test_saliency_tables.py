"""The tables of maps on the page of saliency have the numbers and the intervals of the stored board."""

import csv
import re
from pathlib import Path

from tests.helpers import TOP

PAGE = (TOP / "docs" / "saliency.md").read_text(encoding="utf-8").split("\n## Measured\n")[1].split("\n## ")[0]
COLUMNS = {
    "mass": "mask_correctness",
    "pointing": "pointing",
    "AP": "average_precision",
    "IoU": "iou_otsu",
    "deletion": "deletion",
    "insertion": "insertion",
}
"""Heading on the page → column of maps.csv."""


def read_maps(path: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return the rows of maps.csv by mechanism, variant and method."""
    found = {}
    for row in csv.DictReader(path.read_text(encoding="utf-8").splitlines()):
        variant, attn = re.fullmatch(r"(\w+?)-(.+)-s\d+-\w+", row["run"]).groups()
        found[attn.replace("+", ","), variant, row["method"]] = row
    return found


def read_tables(text: str) -> list[list[list[str]]]:
    """Return the cells of the tables of a page, without their headings' rules."""
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    lines = [[line.strip("|\n").split("|") for line in table.splitlines()] for table in tables]
    return [[[cell.strip() for cell in line] for k, line in enumerate(table) if k != 1] for table in lines]


def format_cell(row: dict[str, str], name: str) -> str:
    """Return a number and its interval, as the page shows them; a dash for no number."""
    if not row[name]:
        return "–"
    number, low, high = (f"{float(row[key]):.3f}" for key in (name, f"{name}_lo", f"{name}_hi"))
    return f"{number}<br><small>{low}–{high}</small>"


def test_numbers_and_intervals_are_those_of_the_stored_boards():
    rows = read_maps(TOP / "results" / "fast" / "maps.csv")
    network, compared = ("ltpa-dp", "mref"), 0
    for heading, *lines in read_tables(PAGE):
        first = len(heading) - len(COLUMNS)
        assert heading[first:] == [*COLUMNS]
        for cells in lines:
            if names := re.findall("`(.+?)`", cells[0]):
                network = tuple(names) if len(names) == 2 else ("pan-ctx", names[0])
            row = rows[(*network, cells[first - 1])]
            assert cells[first:] == [format_cell(row, name) for name in COLUMNS.values()], (network, cells[first - 1])
            compared += 1
    assert compared == 22
