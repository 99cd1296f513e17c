"""Records of earlier versions whose names have another meaning now: an old `ltpa-pc` had the tanh."""

import json

import pytest
import torch

from bench.leaderboard.aggregate import build_board
from bench.runs import experiment, records
from bench.runs.network_loading import load_config, load_model
from bench.runs.reproduce import resolve_config_file
from tests.bench.runs.helpers import configured


@pytest.fixture(scope="module")
def old(mini, tmp_path_factory):
    """A run as an earlier version recorded it: its files name ltpa-pc without the option."""
    run = experiment.run(configured(mini, "ltpa-pc:linear=false"), mini, tmp_path_factory.mktemp("old"))
    for name in ("config.json", "result.json"):
        content = json.loads((run / name).read_text())
        assert content["attn"] == "ltpa-pc:linear=false"
        (run / name).write_text(json.dumps({**content, "attn": "ltpa-pc"}))
    return run.rename(run.with_name("mini-ltpa-pc-s0-0123456789ab"))


def test_an_old_record_is_read_as_the_network_that_it_trained(old):
    assert load_config(old).attn == "ltpa-pc:linear=false"
    assert records.read_result(old)["attn"] == "ltpa-pc:linear=false"
    assert records.is_finished(old)
    config, network = load_model(old)
    assert config.attn == "ltpa-pc:linear=false"
    images = torch.rand(1, 3, 48, 48).repeat(2, 1, 1, 1)
    first, second = network(images, torch.tensor([1, 2])).masks[-1]
    assert not torch.equal(first, second)


def test_old_and_new_runs_share_no_row_of_a_board(old, mini):
    new = experiment.run(configured(mini, "ltpa-pc:linear=true", seed=1), mini, old.parent)
    board = build_board(records.read_results(old.parent))
    assert sorted(board["attn"]) == ["ltpa-pc:linear=false", "ltpa-pc:linear=true"]
    assert all("--attn ltpa-pc:linear=" in command for command in board["command"])
    assert new.name.startswith("mini-ltpa-pc-linear=true-s1-")


def test_an_old_configuration_is_repeated_with_the_tanh(old, mini):
    resolved = resolve_config_file(old / "config.json", mini.parent.parent, data=mini)
    assert resolved.config.attn == resolved.network.spec.name == "ltpa-pc:linear=false"


def test_a_model_that_was_only_tested_keeps_its_own_name(old, tmp_path):
    content = json.loads((old / "result.json").read_text()) | {"recipe": "evaluated"}
    (tmp_path / "result.json").write_text(json.dumps(content))
    assert records.read_result(tmp_path)["attn"] == "ltpa-pc"
