"""The table of the leaderboard in the report."""

from dataclasses import replace
from typing import Any

from bench.report.sections import BoardEntry, BoardSection
from bench.report.table import REPORT_COLUMNS, table


def section(*rows: dict[str, Any], title: str = "mini-x") -> BoardSection:
    """Return a section of these rows of a board."""
    plain = {"attn": "a", "status": "ok"}
    entries = [
        BoardEntry(row["attn"], plain | row, str(row.get("rank") or ""), str(row.get("recipe") or "fast"), "", ())
        for row in ({"attn": "a", **row} for row in rows)
    ]
    return BoardSection(title, "mini", title, tuple(entries))


def test_columns_without_values_are_not_in_the_report():
    made = table([section({"rank": None, "recipe": "x"}, {"attn": "b", "rank": 1, "recipe": "y"})])
    assert [c.name for c in made.columns] == ["rank", "attn", "recipe"]
    assert [(column.name, value) for column, value in made.shared] == []
    new = {"seeds": 2, "pr_area": 0.3, "mask_correctness": 0.2, "mask_correctness_lo": 0.1}
    made = table(
        [section({**new, "mask_correctness_hi": 0.3, "p_value": 0.0004, "command": "bench run", "unknown": 1})]
    )
    cells = {cell.name: cell for cell in made.rows[0]}
    assert cells["mask_correctness"].extra == "0.100–0.300"
    assert (cells["pr_area"].text, cells["pr_area"].value) == ("0.300", "0.3")
    assert (cells["p_value"].text, cells["p_value"].value) == ("< 0.001", "0.0004")
    assert cells["command"].text == "bench run"
    assert not {"unknown", "status"} & set(cells)


def test_values_shared_by_all_rows_are_shown_once():
    made = table([section(*({"attn": name, "device": name} for name in ("a", "b")))])
    assert [(column.name, value) for column, value in made.shared] == [("recipe", "fast")]
    assert [column.name for column in made.columns] == ["attn", "device"]


def test_values_shared_in_a_data_set_are_in_its_heading():
    first, second = (section({"backgrounds": name}, {"backgrounds": name}, title=f"s-{name}") for name in ("x", "y"))
    made = table([first, second, section({"backgrounds": None}, title="none")])
    found = [(s.title, [(c.name, v) for c, v in s.shared]) for s in made.sections]
    assert found == [("s-x", [("backgrounds", "x")]), ("s-y", [("backgrounds", "y")]), ("none", [])]
    assert "backgrounds" not in [column.name for column in made.columns]


def test_the_share_of_a_uniform_map_is_in_the_heading_if_it_is_shared():
    """Rows without maps have none."""
    shares = [{"mask_correctness_uniform": 0.0236}, {"mask_correctness_uniform": None}]
    other = section({"mask_correctness_uniform": 0.048}, title="other")
    made = table([section(*shares), other])
    assert [[(c.name, v) for c, v in s.shared] for s in made.sections] == [
        [("mask_correctness_uniform", "0.024")],
        [("mask_correctness_uniform", "0.048")],
    ]
    made = table([section(*shares, {"mask_correctness_uniform": 0.05})])
    assert "mask_correctness_uniform" in [column.name for column in made.columns]


def test_letters_stand_for_recipes_that_the_heading_describes():
    mixed = section({"attn": "a"}, {"attn": "b"})
    entries = [replace(e, letter=letter, recipe=letter * 2) for e, letter in zip(mixed.entries, "xy", strict=True)]
    made = table([replace(mixed, entries=tuple(entries)), section({"recipe": "one"}, title="other")])
    first, second = made.sections
    assert (first.recipes, first.shared) == ([("x", "xx"), ("y", "yy")], [])
    assert (second.recipes, [(c.name, v) for c, v in second.shared]) == ([], [("recipe", "one")])
    cells = [cell for row in made.rows for cell in row if cell.name == "recipe"]
    assert [(cell.text, cell.hidden) for cell in cells] == [("x", "xx"), ("y", "yy"), ("", "one")]


def test_the_status_is_a_column_if_a_run_is_not_finished():
    assert "status" in [column.name for column in table([section({}, {"status": "1 failed"})]).columns]


def test_a_rank_among_several_recipes_has_the_letter_of_its_recipe():
    entry = section({"rank": 1}).entries[0]
    lettered = replace(section({"rank": 1}), entries=(replace(entry, letter="b"),))
    assert [cell.text for cell in table([lettered]).rows[0] if cell.name == "rank"] == ["1 (b)"]


def test_a_rank_is_shown_as_text_and_sorted_as_a_number():
    made = table([section({"rank": 2})])
    assert [(cell.text, cell.value) for cell in made.rows[0] if cell.name == "rank"] == [("2", "2.0")]


def test_mask_correctness_below_uniform_is_named():
    """Shares that count as equal are not below."""
    for share, note in ((0.01, "below uniform"), (0.0192, ""), (0.02, ""), (0.03, ""), (None, "")):
        made = table([section({"mask_correctness": share, "mask_correctness_uniform": 0.02})])
        notes = {cell.name: cell.note for cell in made.rows[0]}
        assert notes.get("mask_correctness", "") == note


def test_the_heading_of_the_difference_names_the_baseline():
    (heading,) = [
        column.report_heading
        for column in table([section({"difference": 0.1, "baseline": "san"})]).columns
        if column.name == "difference"
    ]
    assert heading == "− san, points"


def test_technical_details_are_with_the_command():
    made = table([section({"command": "bench run", "commits": "c1"}, {"commits": "c2", "diagonal_lstm": "cpu"})])
    details = [(cell.text, cell.note) for row in made.rows for cell in row if cell.name == "command"]
    assert details == [("bench run", "commits: c1"), ("–", "diagonal LSTM: cpu; commits: c2")]


def test_every_column_of_the_report_is_explained():
    assert all(column.report_heading and column.doc.endswith(".") for column in REPORT_COLUMNS)


def test_text_in_a_number_column_is_shown_unchanged():
    assert table([]).rows == []
    assert [cell.value for cell in table([section({"tpr": "x"})]).rows[0] if cell.name == "tpr"] == [""]
