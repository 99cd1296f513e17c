"""The command `bench test`: parse, import lazily, make one call, print."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.config import DEVICES
from mnistref.common.click_program import FOLDER, Choice, HeadedCommand, headed_option
from mnistref.common.console import emit, emit_json, in_user_spelling
from mnistref.spec import SPLITS

if TYPE_CHECKING:
    from bench.config import RunConfig

_data = partial(headed_option, "Data")
_device = partial(headed_option, "Device")
_output = partial(headed_option, "Output")


@click.command("test", cls=HeadedCommand)
@click.argument("run", type=FOLDER)
@click.argument("more", nargs=-1, metavar="[OTHER]...")
@_data(
    "--data",
    multiple=True,
    required=True,
    metavar="OTHER",
    help="Another data set: its folder, its id, or a variant. Several may follow.",
)
@_data("--split", type=Choice(SPLITS), default="test", show_default=True, help="Split of the other data sets.")
@_data("--images", type=click.IntRange(min=1), metavar="N", help="Only the first N images of each.  [default: all]")
@_data("--root", type=FOLDER, default="data_cache", show_default=True, help="Folder with the data sets.")
@_device("--batch", type=click.IntRange(min=1), default=200, show_default=True, help="Questions per forward pass.")
@_device("--device", type=Choice(DEVICES), default="auto", show_default=True, help="Device.")
@_output("--out", type=FOLDER, metavar="FOLDER", help="Folder of the record.  [default: RUN]")
@_output("--plot", type=FOLDER, metavar="FILE", help="Also draw the measures over the factor: .png, .svg or .pdf.")
@_output("--json", "as_json", is_flag=True, help="Print JSON.")
def test(
    run: Path,
    more: tuple[str, ...],
    data: tuple[str, ...],
    split: str,
    images: int | None,
    root: Path,
    batch: int,
    device: str,
    out: Path | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Test a trained network on other data sets.

    RUN is the folder of a finished run with weights. OTHER may have other digits, photographs, scales, numbers of
    digits or another canvas, or be another variant of the same task. A variant has the seed, sizes and sources of the
    run's data set, and is generated if it is missing. Prints accuracy, mask correctness and pointing, and their
    differences from the run's own test set, which are paired if both sets ask the same questions about the same digits.
    Writes robustness.json into RUN, where earlier tests on other data sets stay.

    \b
    bench test data_cache/runs/mref-san-s0-… --data mdist
    bench test RUN --data data_cache/datasets/mini-… data_cache/datasets/mini-… --plot scales.png
    """
    from bench.compute import resolve_compute
    from bench.leaderboard.robustness_table import build_robustness_table, robustness_table_to_text, select_sets
    from bench.runs.data_folder import read_fitting_manifest
    from bench.runs.network_loading import find_trained_variant, read_config
    from bench.runs.other_sets import find_other_set
    from bench.runs.records import CONFIG, DATA_REQUEST
    from bench.runs.robustness_run import EvaluationOptions, measure_robustness
    from bench.tasks import TaskSpec
    from mnistref.common.errors import UsageProblemError
    from mnistref.common.figure_files import require_figure_name

    if plot:
        require_figure_name(plot)
        from bench.visualization.robustness_plot import save_curve
    computing = resolve_compute(device)
    if not (run / CONFIG).is_file():
        raise UsageProblemError(f"{run}: no run here ({CONFIG} is missing); give a folder made by `bench run`")
    config, info = read_config(run / CONFIG)
    trained, others = find_trained_variant(run), {}
    if isinstance(trained, TaskSpec):
        raise UsageProblemError(
            f"{run}: {trained.name} is not generated, and `bench test` compares generated data sets"
        )
    for folder in (find_other_set(name, root, config.variant, info.get(DATA_REQUEST)) for name in (*data, *more)):
        others[read_fitting_manifest(folder, trained).folder_name] = folder
    own = _find_own_set(run, config, root)
    record = measure_robustness(
        run, own, list(others.values()), EvaluationOptions(split, images, batch), computing=computing, output=out
    )
    board = select_sets(build_robustness_table([(run.resolve().name, record)]), list(others), split)
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(robustness_table_to_text(board))
    if plot:
        save_curve(record, board, plot)
        logging.info("wrote %s", in_user_spelling(plot))


def _find_own_set(run: Path, config: "RunConfig", root: Path) -> Path | None:
    """Return the folder of the data set of a run; None, with a message, if it does not exist here."""
    from bench.runs.data_folder import resolve_data_folder
    from mnistref.common.errors import UsageProblemError

    try:
        return resolve_data_folder(run, config, root)
    except UsageProblemError as error:
        logging.info("no questions count as shared, because the run's data set is missing: %s", error)
        return None
