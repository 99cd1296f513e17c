"""Types of the values of command-line options."""

import click
import pytest

from bench.cli.values import Number, QuestionCount, Shard
from mnistref.spec import MAX_DIGITS


@pytest.mark.parametrize(("text", "value"), [("one", "one"), ("all", "all"), ("1", 1), (MAX_DIGITS, MAX_DIGITS)])
def test_questions_are_one_all_or_a_number(text, value):
    assert QuestionCount().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "two", str(MAX_DIGITS + 1)])
def test_other_numbers_of_questions_are_usage_errors(text):
    with pytest.raises(click.BadParameter, match=f"give all, one, or a number from 1 to {MAX_DIGITS}"):
        QuestionCount().convert(text, None, None)


def test_shard_is_a_part_and_the_number_of_parts():
    assert Shard().convert("2/8", None, None) == (2, 8)
    assert Shard().convert("1/1", None, None) == (1, 1)


@pytest.mark.parametrize("text", ["", "2", "0/2", "3/2", "1/2/3", "-1/2", "a/b"])
def test_invalid_shards_are_usage_errors(text):
    with pytest.raises(click.BadParameter, match="give I/N with 1 ≤ I ≤ N"):
        Shard().convert(text, None, None)


def test_number_must_be_in_range_and_not_nan():
    number = Number(min=0, max=1)
    assert number.convert("0.5", None, None) == 0.5
    for text in ("nan", "-0.1", "1.1", "x"):
        with pytest.raises(click.BadParameter):
            number.convert(text, None, None)
