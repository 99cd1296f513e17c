"""A leaderboard as text, Markdown, CSV and commands."""

import csv
import io
import math

import pandas as pd

from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import commands_to_text, from_csv, to_csv, to_text
from tests.bench.leaderboard.helpers import failed, result, with_answers

FAST = "fast: 10 epochs, 50 images a step, one question each"
"""The recipe fast of version 0.1 in words."""


def test_control_characters_and_markup_in_names_are_shown_and_read_back():
    name = "a\rb\x1b[31m<b>"
    board = build_board([result(name), result("san")])
    assert name in from_csv(to_csv(board))["attn"].tolist()
    assert pd.read_csv(io.StringIO(to_csv(board)))["attn"].tolist().count(name) == 1
    assert "a\\rb\\x1b[31m<b>" in to_text(board)
    assert "a\\rb\\x1b[31m&lt;b>" in to_text(board, markdown=True)


def test_csv_reads_back_to_equal_values():
    board = build_board(
        [
            result("san", 1 / 3),
            result("arnn", 0.123456789012345678),
            failed("pan"),
            result("none", mask_correctness=None),
        ]
    )
    for back in (from_csv(to_csv(board)), pd.read_csv(io.StringIO(to_csv(board)), keep_default_na=True)):
        missing_as_none = [frame.astype(object).where(frame.notna(), None) for frame in (back, board)]
        pd.testing.assert_frame_equal(*missing_as_none, check_dtype=False, rtol=0, atol=0)
        assert not math.isnan(back["accuracy_lo"][0])


HOSTILE = ["=cmd()", "+1+2", "-2+3", "@SUM(A1)", "\t=1", "'=1", "''+1", "<script>alert(1)</script>", "'quoted'"]
HOSTILE += ['a,"b"\nc']


def is_number(text: str) -> bool:
    return text.lstrip("-").replace(".", "").isdecimal()


def test_names_in_the_csv_are_not_spreadsheet_formulas():
    made = [result(name, dataset={"spec_id": "0", "digits": name, "backgrounds": name}) for name in HOSTILE]
    board = build_board(made)
    text = to_csv(board)
    cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
    assert not [cell for cell in cells if cell and cell[0] in "=+@\t-" and not is_number(cell)]
    back = from_csv(text)
    assert sorted(back["attn"]) == sorted(HOSTILE)
    assert back["digits"].tolist() == board["digits"].tolist()


def test_commands_are_in_an_executable_order():
    """The run that gives the initial weights comes before the run that uses them."""
    recipes = ["fast,init=(mref,fast,init=(mini,fast))", "fast", "fast,init=(mini,fast)"]
    board = build_board([result(recipe=recipe) for recipe in recipes]).assign(command="bench run")
    said = [line for line in commands_to_text(board).splitlines() if line.startswith("# arnn")]
    assert [line.partition(", started from ")[2] for line in said] == ["", "mini 10 ep", "mini 10 ep → mref 10 ep"]


def test_text_marks_data_sets_without_published_numbers():
    text = to_text(build_board([result(variant="mini", note="…")]))
    assert "mini is for first steps and tests: there are no published results to compare its numbers with" in text
    assert "compare" not in to_text(build_board([result()]))
    heading, _, _, rule, *_ = to_text(build_board([result()]), markdown=True).splitlines()
    setting = f"recipe {FAST}; queries one; hardware cpu"
    assert heading == f"### mbg-0123456789ab; digits mnist; backgrounds builtin; {setting}"
    assert rule.startswith("| --- |")


def test_each_data_set_has_a_table_and_one_line_of_shared_settings():
    longer = result("pan-ctx", 0.9, recipe="fast,epochs=20")
    text = to_text(build_board([result(), result("san", 0.5), longer, result(variant="mref", spec_id="b" * 12)]))
    first, table, recipes, second, *_ = text.split("\n\n")
    assert first == "mbg-0123456789ab; digits mnist; backgrounds builtin; queries one; hardware cpu"
    assert recipes == f"a: {FAST.replace('10', '20')}\nb: {FAST}"
    head, *lines = (line.split() for line in table.splitlines())
    assert head[:3] == ["recipe", "#", "attn"]
    assert {line[2]: line[0] for line in lines} == {"pan-ctx": "a", "arnn": "b", "san": "b"}
    assert second == f"mref-{'b' * 12}; digits mnist; backgrounds builtin; recipe {FAST}; queries one; hardware cpu"
    assert "status" not in text
    assert "uniform" not in text
    assert "1 failed" in to_text(build_board([result(), failed("san")]))
    assert "uniform map 0.024" in to_text(build_board([result(mask_correctness_uniform=0.024), result("san")]))


def test_a_precision_other_than_fp32_is_shown():
    half = result("pan", precision="bf16")
    assert "precision" not in to_text(build_board([result()]))
    assert to_text(build_board([half])).split("\n\n")[0].endswith("; precision bf16")
    head, *lines = to_text(build_board([result(), half])).split("\n\n")[1].splitlines()
    assert "precision" in head
    assert sorted(word for line in lines for word in line.split() if word in ("fp32", "bf16")) == ["bf16", "fp32"]


def test_a_mask_correctness_below_the_uniform_map_is_marked_in_a_terminal_only():
    made = [result(name, mask_correctness=share, mask_correctness_uniform=0.05) for name, share in MASKS.items()]
    board = build_board([*made, result("none", mask_correctness=None, mask_correctness_uniform=None)])
    text = to_text(board)
    assert [mask for mask in ("0.030↓", "0.047↓", "0.048↓", "0.050↓", "0.060↓") if mask in text] == ["0.030↓", "0.047↓"]
    assert text.count("↓ below the uniform map") == 1
    assert "↓" not in to_text(board, markdown=True)
    assert "↓" not in to_text(build_board(made[2:]))


MASKS = {"san": 0.03, "pan": 0.047, "arnn": 0.048, "brnn2": 0.05, "pan-ctx": 0.06}
"""Mechanism → mask correctness, where that of a uniform map is 0.05. Differences below 5 % do not count."""


def test_the_ratio_of_times_precedes_the_time_in_a_terminal():
    """Saved boards keep their order."""
    board = build_board([result("san", relative_runtime=1.0), result(relative_runtime=4.7)])
    note = "step ms depends on the load of the machine during the run; compare × san"
    text, markdown = to_text(board), to_text(board, markdown=True)
    assert 0 < text.index("× san") < text.index("step ms")
    assert 0 < markdown.index("step ms") < markdown.index("× san")
    assert note in text
    assert note not in markdown
    assert note not in to_text(build_board([result(relative_runtime=4.7)]))


def test_text_names_the_seeds_of_differences_and_p_values():
    alone, both = with_answers("san", 1, 0.6, 1), with_answers("san", 2, 0.6, 1)
    unlike, single = "differences are over the seeds that both rows have", "with one seed, it is over its questions"
    text = to_text(build_board([*alone, *with_answers("arnn", 2, 0.8, 3)]))
    assert unlike in text
    assert single in text
    text = to_text(build_board([*both, *with_answers("arnn", 2, 0.8, 3)]))
    assert unlike not in text
    assert single not in text
    text = to_text(build_board([*alone, result("arnn", recipe="fast,epochs=20")]))
    assert "the baseline needs exactly one row with the data set, recipe and queries of another row" in text


def test_letters_of_recipes_continue_beyond_z():
    text = to_text(build_board([result(recipe=f"fast,epochs={number:02}") for number in range(1, 54)]))
    letters = [line.partition(":")[0] for line in text.splitlines() if ": fast" in line]
    assert letters[:2] + letters[25:28] + letters[-1:] == ["a", "b", "z", "aa", "ab", "ba"]


WORDS = ["NA", "None", "NaN", "null", "007", "1e5", "inf", "-1", " a ", "a\r\nb", "#N/A"]


def test_text_that_looks_like_numbers_or_missing_values_is_read_back_unchanged():
    for name in WORDS:
        board = build_board([result(name, dataset={"spec_id": name, "digits": name, "backgrounds": name}, note=name)])
        back = from_csv(to_csv(board))
        for column in ("attn", "dataset", "digits", "backgrounds", "note"):
            assert back[column].tolist() == board[column].tolist(), name


def test_rows_without_a_rank_are_not_tied():
    assert "rows of a recipe with the same rank" not in to_text(
        build_board([failed("san"), failed("pan"), result("arnn")])
    )


def test_line_breaks_in_names_do_not_break_commands():
    board = build_board([result("a\nrm -r /")]).assign(command="bench run")
    assert commands_to_text(board).splitlines()[0].startswith("# a\\nrm -r / on")
