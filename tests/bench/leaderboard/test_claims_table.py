"""The verdicts on one screen: a row for each claim, a column for each data set, a table for each recipe."""

from dataclasses import replace

import pytest

from bench.leaderboard.claim_result import ClaimResult, ComparisonGroup, Place
from bench.leaderboard.claims_table import claims_to_text, verdicts_to_text
from bench.leaderboard.statistics import Interval

GROUP = ComparisonGroup("mbg", "mbg-0123456789ab", "fast,epochs=2", "one")
BLACK = Place(ComparisonGroup("mref", "mref-0123456789ab", "fast,epochs=2", "one"))
CLUTTER = Place(GROUP)
FOUND = ClaimResult("context helps", "a paper", CLUTTER, "pan-ctx − pan", "accuracy", 2, 0.05, Interval(0.04, 0.06))


def cells(text: str) -> list[list[str]]:
    """Return the cells of the lines of a Markdown table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]


def test_rows_are_claims_and_columns_are_data_sets():
    results = [
        FOUND,
        replace(FOUND, place=BLACK, difference=-0.02, bounds=Interval(-0.03, -0.01)),
        replace(
            FOUND, claim="the lead grows", place=CLUTTER._replace(black=BLACK.group.dataset), bounds=Interval(-0.1, 0.2)
        ),
    ]
    text = verdicts_to_text(results)
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == "fast: 2 epochs, 50 images a step, one question each"
    assert lines[1].split() == ["claim", "compared", "mref", "mbg"]
    assert lines[2].split("  ")[-2:] == ["does not hold, −2.0", "holds, +5.0"]
    assert lines[3].endswith("undecided, +5.0")
    assert cells(verdicts_to_text(results, markdown=True))[2:] == [
        ["context helps", "pan-ctx − pan", "does not hold, −2.0 (−3.0 … −1.0)", "holds, +5.0 (+4.0 … +6.0)"],
        ["the lead grows", "pan-ctx − pan", "", "undecided, +5.0 (−10.0 … +20.0)"],
    ]
    assert "fewer than 5 seeds" in text


def test_each_recipe_has_a_table():
    other = replace(FOUND, place=Place(GROUP._replace(recipe="fast,epochs=3")))
    text = verdicts_to_text([FOUND, other])
    assert text.index("fast: 2 epochs") < text.index("fast: 3 epochs") < text.index("differences of accuracy")
    assert text.count("\nclaim") == 2


def test_computing_and_questions_are_named_after_the_recipe_in_words():
    place = Place(GROUP._replace(queries="all", computing="bf16, cuda"))
    text = verdicts_to_text([FOUND, replace(FOUND, place=place)])
    assert "fast: 2 epochs, 50 images a step, one question each, all, bf16, cuda\n" in text
    assert text.count("\nclaim") == 2


def test_data_sets_of_one_variant_have_their_full_names():
    results = [FOUND, replace(FOUND, place=Place(GROUP._replace(dataset="mbg-ba9876543210")))]
    assert cells(verdicts_to_text(results, markdown=True))[0][2:] == ["mbg-0123456789ab", "mbg-ba9876543210"]


def test_a_claim_with_two_measures_has_two_rows():
    results = [FOUND, replace(FOUND, metric="top5"), replace(FOUND, claim="another claim", metric="top5")]
    rows = [row[0] for row in cells(verdicts_to_text(results, markdown=True))[2:]]
    assert rows == ["context helps: accuracy", "context helps: top5", "another claim"]


@pytest.mark.parametrize("markdown", [False, True])
def test_what_was_not_run_is_named(markdown):
    text = verdicts_to_text([replace(FOUND, missing="vgg none", seeds=0)], markdown)
    assert "not run: vgg none" in text
    assert "5.0" not in text
    assert "fewer than" not in text


def test_images_without_questions_have_words_of_their_own():
    place = Place(
        ComparisonGroup("folder-photos", "folder-photos-0123456789ab", "cbam-cifar", "one"), tested="folder-other-0"
    )
    for text in (claims_to_text([replace(FOUND, place=place)]), verdicts_to_text([replace(FOUND, place=place)])):
        assert "over seeds and images" in text
        assert "folder-other" in text
        assert "question" not in text
