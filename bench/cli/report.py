"""The command `bench report`: parse, import lazily, make one call, print."""

from pathlib import Path

import click

from bench.cli.options import BoardOptions, board_options
from mnistref.common.click_program import FOLDER
from mnistref.common.console import emit


@click.command("report")
@board_options
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Where data are kept.")
@click.option("-o", "--out", type=FOLDER, default="report.html", show_default=True, help="The page's name.")
def print_report(compared: BoardOptions, root: Path, out: Path) -> None:
    """Write leaderboard, curves, pictures of attention and cards as one HTML file; print its name.

    It needs no network, and the same records give the same bytes.

    \b
    bench report --out report.html
    bench report --variant mref --runs data_cache/runs -o mref.html
    """
    from bench.report.page import page
    from mnistref.common.atomic_files import write_whole

    write_whole(out, page(compared.runs, root, compared.chosen_variant, compared.chosen_baseline).encode())
    emit(out)
