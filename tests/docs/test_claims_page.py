"""The page of claims has the verdicts that follow from the stored records, and the accuracies of the stored curves."""

import json
import re

from click.testing import CliRunner

from bench.cli.main import bench
from tests.helpers import TOP
from tests.perf import recipes

PAGE = (TOP / "results" / "claims.md").read_text(encoding="utf-8")


def rows(text: str) -> set[tuple[str, ...]]:
    """Return the rows of all Markdown tables of a text, without their rules."""
    lines = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    return {row for row in cells if not all(set(cell) <= set("-: ") for cell in row)}


def test_verdicts_are_those_of_the_stored_records():
    found = CliRunner().invoke(
        bench, ["leaderboard", "--runs", str(TOP / "results" / "fast"), "--verdicts", "--markdown"]
    )
    assert found.exit_code == 0, found.output
    expected = rows(found.stdout)
    assert len(expected) > 10
    assert expected <= rows(PAGE)


def test_accuracies_after_equal_times_are_those_of_the_stored_curves():
    table = next(part for part in PAGE.split("\n## ") if part.startswith("At the same time"))
    (head,) = [row for row in rows(table) if row[0] == "data set"]
    times = [float(cell.removesuffix(" min")) for cell in head[2:]]
    compared = sorted(rows(table) - {head})
    assert len(compared) >= 8
    for variant, attn, *accuracies in compared:
        name = f"{variant.strip('`')}-{attn.strip('`').replace(',', '+')}-fast.json"
        records = json.loads((TOP / "results" / "curves" / name).read_text(encoding="utf-8"))["curve"]
        assert accuracies == [recipes.after(records, at) for at in times], name
