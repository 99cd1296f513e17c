"""The command `bench swap`: parse, import lazily, make one call, print."""

from pathlib import Path

import click

from bench.cli.question_options import add_question_options
from mnistref.common.console import emit, emit_json


@click.command("swap")
@add_question_options()
def swap(run: Path, images: int, batch: int, data: Path | None, root: Path, device: str, as_json: bool) -> None:
    """Measure whether the attention map follows the question.

    RUN is the folder of a finished run with weights. Each test image is asked its question and its next question with
    another query. Compares the two maps: the share on each of the two digits, and how much changes. Writes swap.json
    into RUN and prints the table and a verdict.

    \b
    bench swap data_cache/runs/mbg-arnn-s0-…
    bench swap RUN --images 100 --json
    """
    from bench.compute import resolve_compute
    from bench.leaderboard.swap_table import build_swap_table, swap_table_to_text
    from bench.runs.data_folder import resolve_fitting_folder
    from bench.runs.swap_run import swap_run

    computing, folder = resolve_compute(device), resolve_fitting_folder(run, data, root)
    record = swap_run(run, folder, images, batch, computing)
    board = build_swap_table([(run.resolve().name, record)])
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(swap_table_to_text(board))
