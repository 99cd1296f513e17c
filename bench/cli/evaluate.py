"""The command `bench evaluate`."""

import logging
from functools import partial
from pathlib import Path

import click

from bench.config import DEVICES
from mnistref.common.click_program import EXISTING, FOLDER, HeadedCommand, headed_option
from mnistref.common.console import emit, in_user_spelling
from mnistref.spec import UNITS

_data = partial(headed_option, "Data")
_record = partial(headed_option, "Record")
_device = partial(headed_option, "Device")


@click.command("evaluate", cls=HeadedCommand)
@click.argument("model", metavar="FILE:FUNCTION")
@_data("--data", type=EXISTING, required=True, help="Folder of the data set; its test split is used.")
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
    type=click.Choice(UNITS),
    default="one",
    show_default=True,
    help="Which questions about each image are asked, as in `bench run`.",
)
@_device("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where the model runs.")
@_device("--batch", type=click.IntRange(min=1), default=200, show_default=True, help="Questions per call.")
@_record("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Folder to save the record in.")
def evaluate(
    model: str, data: Path, name: str | None, seed: int, queries: str, device: str, batch: int, runs: Path
) -> None:
    """Test a model that was trained elsewhere.

    FUNCTION takes no arguments and returns a module, or a function of (images, query): images f32 (B, 3, H, W) in 0 … 1
    and query i64 (B,). That returns logits (B, classes), (logits, map) or (logits, [maps]), maps (B, h, w) or
    (B, 1, h, w) each. Writes the record of a run, which `bench leaderboard`, `bench show` and `bench report` accept.
    Prints its folder.

    \b
    bench evaluate my_model.py:make_model --data data_cache/datasets/mbg-… --name my-model
    """
    from bench.compute import resolve_compute
    from bench.runs.evaluated import TrainedElsewhere, evaluate_file
    from bench.runs.summary import describe_run, suggest_commands

    elsewhere = TrainedElsewhere(model, name, seed)
    folder = evaluate_file(elsewhere, data, runs, resolve_compute(device), queries=queries, batch=batch)
    logging.info("\n%s\n", describe_run(folder, data))
    logging.info("%s", suggest_commands(in_user_spelling(folder), None))
    emit(folder)
