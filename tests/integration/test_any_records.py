"""Boards, claims and pages of arbitrary runs are made without an unexpected error, and all values are in range."""

import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.leaderboard import statistics
from tests.bench import record_strategies
from tests.bench.report import helpers

SETTINGS = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}


@pytest.fixture
def few_resamples(monkeypatch):
    """Use few resamples: these tests do not check the accuracy of intervals."""
    monkeypatch.setattr(statistics, "RESAMPLES", 99)
    monkeypatch.setattr(statistics, "_BLOCKS", 20)


def with_records(made, check) -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        record_strategies.write_runs(folder / "runs", made)
        check(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.usefixtures("few_resamples")
def test_boards_of_arbitrary_runs_are_consistent(rounds):
    @settings(max_examples=3 * rounds, **SETTINGS)
    @given(made=record_strategies.run_descriptions())
    def check_board(made):
        with_records(made, lambda folder: record_strategies.check_all_outputs(folder / "runs", folder))

    check_board()


@pytest.mark.usefixtures("few_resamples")
def test_damaged_records_are_left_out_or_shown_in_range(rounds):
    """A damaged record is left out, counted as damaged, or shown with values in range."""
    sound = {"variant": "mref", "questions": 12, "bins": "all", "key": 1, "epochs": 10, "right": "random"}
    sound |= {"looks": "random", "version": "0.1.0", "status": "ok", "missing": ""}
    made = [{**sound, "attn": attn, "seed": seed} for attn in ("san", "pan") for seed in (0, 1)]

    @settings(max_examples=3 * rounds, **SETTINGS)
    @given(harms=st.lists(record_strategies.damages(), min_size=1, max_size=3))
    @example(harms=[("config.json", (34,), math.nan)])
    def check_damaged(harms):
        def check(folder: Path) -> None:
            run = folder / "runs" / "run-2"
            helpers.draw_pictures(run, n=2)
            for harm in harms:
                record_strategies.apply_damage(run, *harm)
            board = record_strategies.check_all_outputs(folder / "runs", folder)
            assert board is not None
            assert board["seeds"].sum() >= 3

        with_records(made, check)

    check_damaged()
