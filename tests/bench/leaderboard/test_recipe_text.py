"""Recipes in words."""

import pytest

from bench.config import RECIPES
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import commands_to_text, to_csv, to_text
from bench.leaderboard.recipe_text import describe_training, describe_trainings
from tests.bench.leaderboard.helpers import result

CHAIN = "fast,epochs=2,fade=0.4,init=(mref-96d3450c9590,fast,epochs=4,init=(mini-6c0b541bfb76,fast,epochs=3))"


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (RECIPES["fast"].label, "fast: 3 epochs, 32 images a step, all questions"),
        (RECIPES["pan"].label, "pan: up to 300 epochs, 200 images a step, one question each"),
        ("fast", "fast: 10 epochs, 50 images a step, one question each"),
        ("fast,epochs=1,questions=3", "fast: 1 epoch, 50 images a step, 3 questions each"),
        (
            "fast,lr=0.006,online,deterministic,width=64",
            "fast: 10 epochs, 50 images a step, one question each, learning rate 0.006, 64 channels, new images in "
            "every epoch, deterministic",
        ),
        (
            CHAIN,
            "fast: 2 epochs, 50 images a step, one question each, backgrounds fade in over 40 % of the steps, started "
            "from mini 3 ep → mref 4 ep",
        ),
        (
            "fast,batch=32,epochs=3,questions=all,init=(mbg-ed5edf8878c3,pan,width=16)",
            "fast: 3 epochs, 32 images a step, all questions, started from mbg 300 ep (pan, 200 images a step, one "
            "question each, 16 channels)",
        ),
        (
            "fast,batch=32,epochs=3,questions=all,init=(mref-96d3450c9590,fast,batch=32,epochs=2,questions=all)",
            "fast: 3 epochs, 32 images a step, all questions, started from mref 2 ep",
        ),
    ],
)
def test_training_is_described_in_words(label, text):
    assert describe_training(label) == text


@pytest.mark.parametrize(
    "label", ["", "=cmd()", "<b>", "fast,epochs=x", "fast,fade=nan", "fast,a=1", "fast,init=(", "fast,init=(x,y)"]
)
def test_recipe_text_of_unknown_form_is_unchanged(label):
    assert describe_training(label) == label


def test_different_trainings_have_different_descriptions():
    """Data sets of one variant get their full names, only where it is necessary; else the label stands."""
    first, second = "fast,init=(mini-6c0b541bfb76,fast)", "fast,init=(mini-e1b644d2a029,fast)"
    found = describe_trainings([first, second, "fast", CHAIN])
    assert found[first].endswith("started from mini-6c0b541bfb76 10 ep")
    assert found[second].endswith("started from mini-e1b644d2a029 10 ep")
    assert found[CHAIN].endswith("mini 3 ep → mref 4 ep")
    assert describe_trainings(["fast", "fast,epochs=10"])["fast,epochs=10"] == "fast,epochs=10"
    assert describe_trainings([first, first])[first].endswith("started from mini 10 ep")


def test_images_without_a_question_have_none_in_their_table_and_heading():
    rows = [result(variant=name, recipe="fast,questions=all") for name in ("mbg", "mone", "folder-photos")]
    board = build_board(rows).assign(command="bench run")
    text, commands = to_text(board), commands_to_text(board)
    assert text.count("recipe fast: 10 epochs, 50 images a step, all questions; queries one; ") == 1
    assert text.count("recipe fast: 10 epochs, 50 images a step; ") == 2
    assert text.count("queries") == 1
    assert (commands.count(", 50 images a step\n"), commands.count(", 50 images a step, all questions\n")) == (2, 1)
    different = describe_trainings(["fast", "fast,questions=all"], asks=False)
    assert different == {label: label for label in different}  # they would have one description


def test_tables_and_commands_show_the_description_and_the_csv_the_label():
    board = build_board([result(recipe=CHAIN)]).assign(command="bench run")
    text, words = to_text(board), describe_training(CHAIN)
    assert f"recipe {words}; queries" in text
    assert "init=" not in text
    assert f", {words}\n" in commands_to_text(board)
    assert CHAIN in to_csv(board)
