"""Sections of the report: titles, order, ranks, letters of recipes, and the runs of each row."""

from typing import Any

import numpy as np
import pytest

from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import from_csv, to_csv
from bench.report.sections import BoardSection, board_sections, rank_texts
from bench.runs import records
from tests.bench.report.helpers import copy_run, edit, entry_of, one, sections_of


def changed(result: dict[str, Any], right: bool | None = None, **changes: Any) -> dict[str, Any]:
    """Return a result with other values; all answers are right, or wrong, if `right` is given."""
    if right is None:
        return {**result, **changes}
    answers = {**result["answers"], "right": np.full(len(result["answers"]["right"]), right)}
    return {**result, "answers": answers, "accuracy": float(right), **changes}


def sections(*results: dict[str, Any]) -> list[BoardSection]:
    return board_sections(build_board(results), results)


def plain(text: str) -> str:
    """Return a text without protected spaces."""
    return text.replace("\u00a0", " ")


def test_rows_with_the_same_questions_are_one_section_and_letters_stand_for_recipes(runs):
    _, pan = records.read_results(runs)
    after = "fast,epochs=4,fade=0.5,init=(mref-96d3450c9590,fast,epochs=4,init=(mini-6c0b541bfb76,fast))"
    start = changed(pan, True, run="after", recipe=after)
    asked = changed(pan, run="asked", queries="all", recipe="pan,batch=20")
    found = {section.title.partition(", ")[2]: section for section in sections(pan, start, asked)}
    assert set(found) == {"queries one", "queries all"}
    words = (
        "fast: 4 epochs, 50 images a step, one question each, backgrounds fade in over 50 % of the steps, started from "
        "mini 10 ep → mref 4 ep"
    )
    both = found["queries one"]
    assert [entry.label for entry in both.entries] == ["pan (a)", "pan (b)"]
    assert {letter: plain(text) for letter, text in both.recipes.items()} == {
        "a": words,
        "b": "fast: 2 epochs, 50 images a step, one question each",
    }
    alone = found["queries all"]
    assert ([entry.label for entry in alone.entries], alone.recipes) == (["pan"], {})


def test_the_ranks_are_those_of_the_csv_file_and_the_leader_of_a_data_set_is_first(runs):
    none, pan = records.read_results(runs)
    ideal = [changed(pan, True, run=f"{attn}8", attn=attn, recipe="fast,epochs=8") for attn in ("pan", "san")]
    worse = changed(none, False, run="none8", recipe="fast,epochs=8")
    worst = changed(pan, False, run="7", recipe="fast,epochs=7")
    results = [none, pan, *ideal, worse, worst]
    board = build_board(results)
    (section,) = board_sections(board, results)
    accuracies = [entry.row["accuracy"] for entry in section.entries]
    assert accuracies == sorted(accuracies, reverse=True)
    stored = from_csv(to_csv(board)).set_index(["recipe", "attn"])["rank"]
    ranks = {(entry.row["recipe"], entry.row["attn"]): entry.rank for entry in section.entries}
    assert {key: int(rank.rstrip("=")) for key, rank in ranks.items()} == stored.to_dict()
    assert {attn: rank for (recipe, attn), rank in ranks.items() if recipe == "fast,epochs=8"} == {
        "pan": "1=",
        "san": "1=",
        "none": "3",
    }
    assert ranks["fast,epochs=7", "pan"] == "1"  # alone with its recipe, although it is the worst row of the data set


@pytest.mark.parametrize(
    ("ranks", "texts"),
    [
        ([("a", 1), ("a", 2), ("a", 3)], ["1", "2", "3"]),
        ([("a", 1), ("a", 1), ("a", 3), ("a", None)], ["1=", "1=", "3", ""]),
        ([("a", 1), ("b", 1)], ["1", "1"]),
        ([], []),
        ([("a", None), ("a", None)], ["", ""]),
    ],
)
def test_a_rank_that_rows_of_a_recipe_share_is_marked(ranks, texts):
    assert rank_texts([{"recipe": recipe, "rank": rank} for recipe, rank in ranks]) == texts


def test_one_recipe_has_the_ranks_of_the_board_and_a_failed_row_has_none(runs):
    edit(one(runs, "none"), status="failed", reason="?")
    (section,) = sections_of(runs)
    assert [(entry.row["attn"], entry.rank) for entry in section.entries] == [("pan", "1"), ("none", "")]
    copy_run(one(runs), runs, "other", recipe="fast,epochs=7", status="failed", reason="?")
    (section,) = sections_of(runs)
    assert [entry.rank for entry in section.entries] == ["1", "", ""]


def test_each_run_belongs_to_one_row(runs):
    copy_run(one(runs), runs, "s1", seed=1)
    copy_run(one(runs), runs, "gpu", device="another")
    section, entry = entry_of(runs, "none")
    assert entry.label.startswith("none, ")
    assert sorted(len(entry.runs) for entry in section.entries) == [1, 1, 2]


def test_runs_of_two_result_formats_of_one_version_belong_to_rows_with_different_labels(runs):
    none, pan = records.read_results(runs)
    old, new, again = (
        changed(pan, run=name, seed=seed, result_format=result_format)
        for name, seed, result_format in (("old", 0, 1), ("new", 0, 2), ("again", 1, 2))
    )
    del old["result_format"]  # early versions omit it
    (section,) = sections(none, old, new, again)
    assert {entry.label: [run["run"] for run in entry.runs] for entry in section.entries} == {
        "none, result format 1": [none["run"]],
        "pan, result format 1": ["old"],
        "pan, result format 2": ["new", "again"],
    }
    assert "result_format" not in build_board([old, new]).columns
