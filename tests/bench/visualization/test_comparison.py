"""Networks side by side: each cell equals the picture of one network; runs that cannot be compared."""

import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

import cli
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.runs import experiment
from bench.runs.network_loading import load_config
from bench.visualization import comparison, drawing
from bench.visualization.attention_maps import save_picture
from bench.visualization.examples import ImageChoice
from mnistref.common.errors import UsageProblemError

pytest.importorskip("matplotlib")
SHORT = Recipe("fast", "adam", lr=0.003, batch=50, epochs=1, schedule="onecycle")


@pytest.fixture(scope="module")
def trained(mini, tmp_path_factory):
    """Return trained(attn, seed, …), which returns the folder of a run."""
    runs = tmp_path_factory.mktemp("runs")

    def trained(attn: str, seed: int = 0, recipe: Recipe = SHORT, data=mini):
        config = experiment.configure(
            data, attn, seed, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
        )
        return experiment.run(config, data, runs)

    return trained


def show(*arguments) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli.bench, ["show", *map(str, arguments)])
    return done.exit_code, done.stdout.strip(), done.stderr.strip()


@pytest.mark.long_form
def test_each_cell_equals_the_picture_of_the_network_alone(trained, root, tmp_path):
    runs = [trained("pan"), trained("none"), trained("stn-s")]
    picture = tmp_path / "all.png"
    rows = comparison.save_comparison(runs, picture, root, choice=ImageChoice(3))
    assert picture.stat().st_size > 10_000
    for run, row in zip(runs, rows, strict=True):
        alone = save_picture(run, tmp_path / "one.png", root, choice=ImageChoice(3))
        for cell, panels in zip(row, alone, strict=True):
            assert (cell.index, cell.prediction, cell.probability) == (
                panels.index,
                panels.prediction,
                panels.probability,
            )
            assert cell.correctness == panels.correctness
    assert [panels.index for panels in rows[0]] == [panels.index for panels in rows[1]]
    assert rows[1][0].product is None
    again = tmp_path / "again.png"
    comparison.save_comparison(runs, again, root, choice=ImageChoice(3))
    assert again.read_bytes() == picture.read_bytes()


def test_networks_of_one_name_have_different_labels(trained, root, tmp_path):
    runs = [trained("pan"), trained("pan", 1), trained("none"), trained("none", 0, replace(SHORT, lr=0.001))]
    configs = [load_config(run) for run in runs]
    names = comparison._names(configs)
    assert names[:2] == ["pan, seed 0", "pan, seed 1"]
    assert names[2] != names[3]
    assert all(run.name.endswith(name.split(", ")[1]) for run, name in zip(runs[2:], names[2:], strict=True))


def test_show_command_draws_one_or_several_runs(trained, root, tmp_path):
    first, second = trained("pan"), trained("none")
    code, said, error = show(first, second, "--root", root, "--image", 0, "--image", 2, "-o", tmp_path / "two.svg")
    assert (code, said) == (0, str(tmp_path / "two.svg"))
    assert "of 2 answers right" in error
    assert (tmp_path / "two.svg").read_text().startswith("<?xml")
    assert show(first, second, "--samples", 3)[0] == 2
    assert show("--root", root)[0] == 2


def test_runs_that_cannot_be_compared_are_refused(trained, make, root, tmp_path):
    other = make("mini", sizes={"train": 40, "val": 10, "test": 10})
    runs = [trained("none"), trained("none", data=other)]
    with pytest.raises(UsageProblemError, match=r"different data sets .* choose one with --data"):
        comparison.save_comparison(runs, tmp_path / "p.png", root)
    assert len(comparison.save_comparison(runs, tmp_path / "p.png", root, data=other, choice=ImageChoice(2))) == 2
    with pytest.raises(UsageProblemError, match="200 answers at most"):
        comparison.save_comparison([runs[0]] * 30, tmp_path / "q.png", root, choice=ImageChoice(10))
    unfinished = tmp_path / runs[0].name
    shutil.copytree(runs[0], unfinished)
    (unfinished / "result.json").unlink()
    code, _, error = show(runs[1], unfinished, "--data", other, "-o", tmp_path / "q.png")
    assert code == 3
    assert "the run is not finished" in error
    assert not (tmp_path / "q.png").exists()


def test_long_names_and_texts_do_not_overlap_pictures(trained, root, tmp_path):
    """This holds for names and texts of any length."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    rows = comparison.save_comparison(
        [trained("pan"), trained("none")], tmp_path / "p.png", root, choice=ImageChoice(2)
    )
    heads = [
        ("bench/examples/own_attention.py:Compare#0123456789ab, seed 11", "1.0 %"),
        ("unet3-arnn, seed 0", "99.9 %"),
    ]
    many = [[replace(panels, truth=("green", "yellow", "white")) for panels in row] for row in rows]
    page = drawing.comparison_figure(many, heads, ["title"], ["notes"])
    renderer = FigureCanvasAgg(page).get_renderer()
    pictures = [axes.get_window_extent(renderer) for axes in page.axes]
    for text in page.texts:
        box = text.get_window_extent(renderer)
        assert not any(box.overlaps(picture) for picture in pictures), text.get_text()
    for axes, picture in zip(page.axes, pictures, strict=True):
        following = min((other.x0 for other in pictures if other.x0 > picture.x0), default=page.bbox.x1)
        assert all(text.get_window_extent(renderer).x1 <= following for text in axes.texts)
