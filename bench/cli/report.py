"""The command `bench report`: parse, import lazily, make one call, print."""

from pathlib import Path

import click

from bench.cli.option_values import BoardOptions
from bench.cli.options import add_board_options
from mnistref.common.click_program import FOLDER
from mnistref.common.console import emit


@click.command("report")
@add_board_options
@click.option(
    "--root", type=FOLDER, default="data_cache", show_default=True, help="Folder with the data sets of the runs."
)
@click.option("-o", "--out", type=FOLDER, default="report.html", show_default=True, help="HTML file to write.")
def print_report(board_options: BoardOptions, root: Path, out: Path) -> None:
    """Write the results as one HTML file.

    The page has the leaderboard, learning curves, attention maps and the cards of the data sets. It loads nothing from
    the network, and the same records give the same bytes. Prints the name of the file.

    \b
    bench report --out report.html
    bench report --variant mref --runs data_cache/runs -o mref.html
    """
    from bench.report.page import page
    from mnistref.common.atomic_files import write_whole

    html = page(board_options.runs, root, board_options.variant_name, board_options.baseline_name)
    write_whole(out, html.encode())
    emit(out)
