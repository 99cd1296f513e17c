"""Batch sizes of 'bench run' and 'bench sweep' that the data set does not allow."""

import pytest
from click.testing import CliRunner

import cli


@pytest.fixture
def few(make):
    return make("mini", sizes={"train": 20, "val": 10, "test": 10})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--batch", "1"], "1 is not in the range x>=2"),
        (["--batch", "21", "--questions", "one"], "has 20 training questions; give 20 or fewer"),
        (["--batch", "21", "--queries", "author"], "training images; give "),
        (["--batch", "999", "--queries", "all", "--questions", "one"], "training questions; give "),
    ],
)
@pytest.mark.parametrize("command", ["run", "sweep"])
def test_impossible_batch_size_is_refused_before_training(command, options, words, few, tmp_path):
    arguments = [command, "--attn", "se", "--data", str(few), "--runs", str(tmp_path / "runs"), *options]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 2, done.output
    assert words in done.stderr
    assert not (tmp_path / "runs").exists()


def test_data_set_with_one_training_question_is_refused(make, tmp_path):
    tiny = make("mini", sizes={"train": 1, "val": 1, "test": 1})
    done = CliRunner().invoke(cli.bench, ["run", "--attn", "se", "--data", str(tiny), "--batch", "2"])
    assert done.exit_code == 2
    assert "has 1 training image; make a larger data set: a step needs 2" in done.stderr


def test_a_batch_larger_than_the_data_set_reports_the_size_of_a_step(few, tmp_path):
    arguments = ["run", "--attn", "none", "--data", str(few), "--runs", str(tmp_path), "--epochs", "1"]
    done = CliRunner().invoke(cli.bench, arguments)
    assert done.exit_code == 0, done.output
    assert "the batch is 20 images instead of 32, because the data set has no more" in done.stderr
