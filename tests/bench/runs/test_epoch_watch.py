"""Lines about the epochs of runs in other processes."""

import json
import logging

import pytest

from bench.runs.epoch_watch import EpochWatch


def line(epoch: int) -> str:
    return json.dumps({"epoch": epoch, "val_accuracy": 0.25 * epoch, "seconds": 7.2}) + "\n"


@pytest.fixture
def messages(caplog):
    """Call report() of a watch, and return the lines that it logs."""

    def messages(watch: EpochWatch) -> list[str]:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            watch.report()
        return [record.getMessage() for record in caplog.records]

    return messages


def test_each_new_epoch_is_logged_once(tmp_path, messages):
    """Epochs before the start and runs that have not begun are not logged."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "history.jsonl").write_text(line(1))
    watch = EpochWatch({tmp_path / "a": "san seed 0", tmp_path / "b": "pan seed 0"})
    assert messages(watch) == []
    (tmp_path / "a" / "history.jsonl").write_text(line(1) + line(2) + line(3))
    (tmp_path / "b" / "history.jsonl").write_text(line(1))
    assert messages(watch) == [
        "san seed 0: epoch 2, val 0.500",
        "san seed 0: epoch 3, val 0.750",
        "pan seed 0: epoch 1, val 0.250",
    ]
    assert messages(watch) == []


def test_incomplete_and_damaged_lines_are_not_logged(tmp_path, messages):
    watch = EpochWatch({tmp_path: "san seed 0"})
    (tmp_path / "history.jsonl").write_text(line(1)[:-9])
    assert messages(watch) == []
    (tmp_path / "history.jsonl").write_text(line(1) + "{]\n" + line(3))
    assert messages(watch) == ["san seed 0: epoch 1, val 0.250", "san seed 0: epoch 3, val 0.750"]


def test_a_history_that_starts_again_is_logged_again(tmp_path, messages):
    (tmp_path / "history.jsonl").write_text(line(1) + line(2))
    watch = EpochWatch({tmp_path: "san seed 0"})
    (tmp_path / "history.jsonl").write_text("")
    assert messages(watch) == []
    (tmp_path / "history.jsonl").write_text(line(1))
    assert messages(watch) == ["san seed 0: epoch 1, val 0.250"]
