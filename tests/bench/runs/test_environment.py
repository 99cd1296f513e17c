"""The recorded environment of a run."""

import pytest

from bench.runs import experiment
from bench.runs.environment import COMMIT_VARIABLE, get_commit
from mnistref.common.errors import UsageProblemError
from tests.bench.runs.helpers import configured


def test_commit_without_git_is_the_value_of_the_variable(monkeypatch, tmp_path):
    monkeypatch.delenv(COMMIT_VARIABLE, raising=False)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert get_commit() is None
    for said, expected in (
        ("A" * 40, "a" * 12),
        ("0123456", "0123456"),
        ("0123456789abcdef-dirty", "0123456789ab-dirty"),
    ):
        monkeypatch.setenv(COMMIT_VARIABLE, said)
        assert get_commit() == expected
    for wrong in ("main", "123456", "0123456-dirty-dirty", "0123456\nx"):
        monkeypatch.setenv(COMMIT_VARIABLE, wrong)
        with pytest.raises(UsageProblemError, match=r"^BENCH_COMMIT=.*: use a commit, 7 to 64 digits"):
            get_commit()


def test_invalid_commit_is_refused_before_training(mini, tmp_path, monkeypatch):
    monkeypatch.setenv(COMMIT_VARIABLE, "main")
    with pytest.raises(UsageProblemError, match="BENCH_COMMIT='main'"):
        experiment.run(configured(mini), mini, tmp_path)
    assert not list(tmp_path.iterdir())
