"""The command `bench evaluate`."""

import logging
from functools import partial
from pathlib import Path

import click

from bench.cli.values import DataSetName
from bench.config import DEVICES
from mnistref.common.click_program import FOLDER, Choice, HeadedCommand, headed_option
from mnistref.common.console import emit, in_user_spelling
from mnistref.spec import UNITS

_data = partial(headed_option, "Data")
_record = partial(headed_option, "Record")
_device = partial(headed_option, "Device")


@click.command("evaluate", cls=HeadedCommand)
@click.argument("model", metavar="FILE:FUNCTION")
@_data(
    "--data",
    type=DataSetName(),
    required=True,
    metavar="SET",
    help="Folder, variant or task, as in bench.evaluate; its test split is used.",
)
@_data(
    "--canvas",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Side of the images of a task.  [default: the task's]",
)
@_data("--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of data sets and sources.")
@_record("--name", help="Name of the model on boards.  [default: FILE:FUNCTION]")
@_record(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Seed that the model was trained with. Boards average over seeds.",
)
@_data(
    "--queries",
    type=Choice(UNITS),
    default="one",
    show_default=True,
    help="Which questions about each image are asked, as in `bench run`.",
)
@_device("--device", type=Choice(DEVICES), default="auto", show_default=True, help="Where the model runs.")
@_device("--batch", type=click.IntRange(min=1), default=200, show_default=True, help="Questions per call.")
@_record("--runs", type=FOLDER, help="Folder to save the record in.  [default: ROOT/runs]")
def evaluate(
    model: str,
    data: str,
    canvas: int | None,
    root: Path,
    name: str | None,
    seed: int,
    queries: str,
    device: str,
    batch: int,
    runs: Path | None,
) -> None:
    """Test a model that was trained elsewhere.

    FUNCTION takes no arguments and returns a module, or a function of (images, query): images f32 (B, 3, H, W) in 0 … 1
    and query i64 (B,). That returns logits (B, classes), (logits, map) or (logits, [maps]), maps (B, h, w) or
    (B, 1, h, w) each. Writes the record of a run, which `bench leaderboard`, `bench show` and `bench report` accept.
    Prints its folder. The data set of a variant is generated, and a task is prepared, if it is missing.

    \b
    bench evaluate my_model.py:make_model --data mini
    bench evaluate my_model.py:make_model --data data_cache/datasets/mbg-… --name my-model
    """
    from bench.compute import resolve_compute
    from bench.data.evaluation_data import find_data_set
    from bench.runs.evaluated import TrainedElsewhere, evaluate_file
    from bench.runs.summary import describe_run, suggest_commands
    from bench.runs.user_models import require_model_file

    require_model_file(model)  # before a data set is generated
    elsewhere, computing = TrainedElsewhere(model, name, seed), resolve_compute(device)
    place = find_data_set(data, root, canvas).absolute()  # user code may change the working directory
    folder = evaluate_file(elsewhere, place, runs or root / "runs", computing, queries=queries, batch=batch)
    logging.info("\n%s\n", describe_run(folder, place))
    logging.info("%s", suggest_commands(in_user_spelling(folder), None))
    emit(folder)
