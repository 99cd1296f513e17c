"""`bench attack` on a short run, and what it has in common with `bench swap`."""

import json

import pandas as pd
import pytest

import cli
from bench.attribution.attack_names import METHODS, PGD_STEPS, REGIONS
from bench.leaderboard.attack_table import build_attack_table
from bench.runs import attack_record, swap_record
from tests.bench.bench_command import bench
from tests.commands import call


def test_attack_writes_the_record_and_prints_the_same_numbers(trained, mini, tmp_path):
    plot = tmp_path / "fooling.svg"
    options = ["--data", mini, "--images", 12, "--eps", "1,32", "--batch", 5, "--device", "cpu"]
    code, out, _ = bench("attack", trained, *options, "--json", "--plot", plot)
    assert code == 0
    rows = json.loads(out)
    assert len(rows) == 2 * 4 * 2
    assert [row["region"] for row in rows[:8:2]] == list(REGIONS)
    assert {row["images"] for row in rows} == {12}
    by_key = {(row["method"], row["region"], row["norm"]): row for row in rows}
    for region in REGIONS:
        assert by_key["pgd", region, 32]["fooling_rate"] >= by_key["pgd", region, 1]["fooling_rate"]
    assert all(row["fooling_rate_lo"] <= row["fooling_rate"] <= row["fooling_rate_hi"] for row in rows)
    areas = {region: by_key["fgsm", region, 1]["area"] for region in REGIONS}
    assert areas["all"] == 1
    assert sum(areas.values()) == pytest.approx(2, abs=1e-3)
    assert json.loads((trained / "attack.json").read_text())["norms"] == [1.0, 32.0]
    assert all(name in plot.read_text() for name in ("fgsm", "pgd"))
    code, out, _ = bench("attack", trained, *options, "--method", "pgd", "--where", "target")
    assert code == 0
    assert "answers that change, % (95 %):" in out
    rate = by_key["pgd", "target", 32]["fooling_rate"]
    assert f"pgd     32  {100 * rate:.1f}" in out


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        ("attack", ["--method", "fgms"], "no attack 'fgms': did you mean 'fgsm'?"),
        ("attack", ["--where", "ink"], "no region 'ink'"),
        ("attack", ["--where", "all,all"], "region all is given twice"),
        ("attack", ["--eps", "0"], "norm '0': give numbers above 0, at most 255"),
        ("attack", ["--eps", "1,two"], "norm 'two'"),
        ("attack", ["--eps", "nan"], "norm 'nan'"),
        ("attack", ["--plot", "fooling.txt"], "give a name that ends in"),
        ("attack", ["--images", "0"], "--images"),
        ("attack", ["--device", "tpu"], "--device"),
        ("swap", ["--batch", "0"], "--batch"),
        ("swap", ["--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_options_of_attack_and_swap_are_usage_errors_of_one_line(command, arguments, message, trained):
    done = call(cli.bench, command, trained, *arguments, code=2)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_the_help_of_attack_has_the_number_of_steps_of_pgd():
    assert f"pgd takes {PGD_STEPS}." in " ".join(call(cli.bench, "attack", "--help").stdout.split())
    assert METHODS["pgd"].startswith(f"{PGD_STEPS} steps of ε / 4 along the sign")


@pytest.mark.parametrize("command", ["attack", "swap"])
def test_attack_and_swap_of_a_folder_without_a_run_are_usage_errors(command, tmp_path):
    code, _, error = bench(command, tmp_path)
    assert code == 2
    assert "no run here" in error


def test_a_users_own_function_can_be_attacked_and_asked_twice(mini, tmp_path):
    """The file makes a function whose answers and maps follow the image; `bench evaluate` records it."""
    file = tmp_path / "own.py"
    file.write_text(
        "import torch\n\n\ndef make():\n"
        "    weight = torch.eye(5, 3)\n"
        "    return lambda images, query: (images.mean(dim=(2, 3)) @ weight.T, images.sum(1))\n"
    )
    options = ["--data", mini, "--device", "cpu"]
    code, run, _ = bench("evaluate", f"{file}:make", *options, "--name", "own", "--runs", tmp_path / "runs")
    assert code == 0
    code, out, error = bench("attack", run, *options, "--images", 6, "--eps", "64", "--method", "fgsm", "--json")
    assert code == 0, error
    assert max(row["fooling_rate"] for row in json.loads(out)) > 0
    code, out, _ = bench("swap", run, *options, "--images", 6)
    assert code == 0
    assert out.splitlines()[-1].startswith("the map does not depend on the question")


@pytest.fixture(scope="module")
def saved(trained, mini, tmp_path_factory):
    """A board whose run has an attack record and a swap record."""
    board = tmp_path_factory.mktemp("saved") / "board"
    options = ["--data", mini, "--images", 4, "--device", "cpu"]
    assert bench("attack", trained, *options, "--eps", "8", "--method", "fgsm")[0] == 0
    assert bench("swap", trained, *options)[0] == 0
    assert bench("leaderboard", "--runs", trained.parent, "--save", board)[0] == 0
    return board


def test_a_stored_board_keeps_the_records(saved, trained):
    stored = saved / "runs" / trained.name
    for kind in (attack_record.RECORD, swap_record.RECORD):
        assert (stored / kind.packed_file).is_file()
        before, after = kind.read(trained), kind.read(stored)
        assert after.settings == before.settings
        assert all((after.right[key] == values).all() for key, values in before.right.items())


def test_a_stored_board_has_the_tables_of_attacks_and_swaps(saved, trained):
    attacks, swaps = (pd.read_csv(saved / name) for name in ("attacks.csv", "swaps.csv"))
    expected = build_attack_table([(trained.name, attack_record.RECORD.read(trained))])
    pd.testing.assert_frame_equal(attacks, expected, check_exact=False)
    assert len(attacks) == len(REGIONS)
    assert swaps["run"].tolist() == [trained.name]
    assert f"| fgsm | 8 | {100 * attacks['fooling_rate'][0]:.1f}" in (saved / "attacks.md").read_text()
    assert swaps["verdict"][0] in (saved / "swaps.md").read_text()
    assert not (saved / "maps.csv").exists()
    assert bench("leaderboard", "--check", saved)[0] == 0
