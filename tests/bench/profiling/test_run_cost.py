"""The number of rounds in which a run is timed."""

import pytest

from bench.profiling import run_cost


@pytest.mark.parametrize(("asked", "rounds"), [(None, 7), ("", 7), ("2", 2)])
def test_timing_rounds_are_seven_or_the_value_of_the_variable(asked, rounds, monkeypatch):
    monkeypatch.delenv(run_cost.ROUNDS_VARIABLE)
    if asked is not None:
        monkeypatch.setenv(run_cost.ROUNDS_VARIABLE, asked)
    assert run_cost.timing_rounds() == rounds
