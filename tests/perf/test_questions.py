"""The benchmark of steps with several questions: its numbers agree with each other."""

import sys

import pytest

from mnistref.variants import get_variant
from tests.perf import questions

VARIANT = get_variant("mini")


def test_speed_and_time_of_a_step_agree():
    found = questions.speeds("none", VARIANT, 4, 4, 1)
    _, asked = questions.stepping("none", VARIANT, 4, True)
    assert found.several * found.step == pytest.approx(asked)
    assert found.ratio == pytest.approx(found.several / found.one)


def test_the_parts_of_a_step_sum_to_one():
    shares, flops = questions.parts("san", VARIANT, 4)
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["convolutions"] > 0
    assert flops > 1e6


def test_an_unknown_mechanism_ends_with_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["questions", "--attn", "saan"])
    with pytest.raises(SystemExit):
        questions.main()
    assert "did you mean 'san'" in capsys.readouterr().err.splitlines()[-1]
