"""The section of swapped questions in words."""

from bench.leaderboard.swap_table import build_swap_table
from bench.report.swaps import swap_texts
from bench.runs import swap_record
from tests.bench.runs.measured_questions import write_swap


def test_the_words_have_the_numbers_of_the_swap(tmp_path):
    write_swap(tmp_path)
    record = swap_record.RECORD.read(tmp_path)
    (text,) = swap_texts([("mini-pan-s0-01", record)])
    row = build_swap_table([("", record)]).iloc[0]
    assert text.verdict == "The map depends on the question: it changes in 100.0 % of the images."
    words = " ".join(text.sentences)
    assert words.startswith("24 test images of mini-1 were asked two questions each.")
    for name in ("map1_on_digit1", "map1_on_digit2", "map2_on_digit1", "map2_on_digit2", "total_variation"):
        assert f"{row[name]:.3f} ({row[f'{name}_lo']:.3f} … {row[f'{name}_hi']:.3f})" in words
    assert f"by {row['moved']:+.3f} (".replace("-", "−") in words
    assert f"{100 * row['right2']:.1f} (" in words
