"""Environments, cards and records of questions of a page: the first that exists is read, damaged ones are skipped."""

import pytest

from bench.report import load
from bench.runs import swap_record
from bench.runs.records import ENVIRONMENT
from tests.bench.runs.question_cases import write_swap


def test_environment_is_read_and_a_missing_one_is_empty(tmp_path):
    assert load.environment(tmp_path) == {}
    (tmp_path / ENVIRONMENT).write_text('{"device": "cpu", "threads": 2}')
    assert load.environment(tmp_path) == {"device": "cpu", "threads": 2}


@pytest.mark.parametrize(("text", "is_json"), [("{", False), ("[1]", True), ('"cpu"', True), ("\x00", False)])
def test_damaged_environment_is_empty_and_a_warning_names_the_reason(text, is_json, tmp_path, caplog):
    (tmp_path / ENVIRONMENT).write_text(text)
    assert load.environment(tmp_path) == {}
    assert ("skipped a record that is not JSON" in caplog.text) != is_json


def test_card_is_read_from_the_first_place_that_has_it(tmp_path):
    places = [tmp_path / name for name in ("one", "two", "three")]
    for place, text in zip(places[1:], ("# two", "# three"), strict=True):
        (place / "datasets" / "mini-0123").mkdir(parents=True)
        (place / "datasets" / "mini-0123" / load.CARD).write_text(text)
    assert load.card(places, "mini-0123") == "# two"
    (places[1] / "datasets" / "mini-0123" / load.CARD).unlink()
    assert load.card(places, "mini-0123") == "# three"
    assert load.card(places, "mini-4567") is None


def test_card_that_is_too_large_is_left_out(tmp_path, monkeypatch):
    (tmp_path / "datasets" / "mini-0123").mkdir(parents=True)
    (tmp_path / "datasets" / "mini-0123" / load.CARD).write_text("# mini")
    monkeypatch.setattr(load, "MAX_CARD_BYTES", 5)
    assert load.card([tmp_path], "mini-0123") is None


def test_damaged_and_missing_records_of_questions_are_skipped(tmp_path, caplog):
    for name in ("b", "c", "without"):
        (tmp_path / name).mkdir()
    record = write_swap(tmp_path / "b")
    write_swap(tmp_path / "c")
    (tmp_path / "c" / "swap.json").write_text("{}")
    ((name, found),) = load.read_question_records(tmp_path, ["b", "c", "without", "missing"], swap_record.RECORD)
    assert (name, found.settings) == ("b", record.settings)
    assert "swap.json: damaged" in caplog.text
