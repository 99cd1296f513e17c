"""The command of `bench` that compares: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from mnistref.program import EXISTING, FOLDER


@click.command("leaderboard")
@click.option("--runs", type=FOLDER, default="data_cache/runs", show_default=True, help="Where runs are kept.")
@click.option("--variant", metavar="NAME", help="Only this variant.")
@click.option("--baseline", default="san", show_default=True, metavar="NAME", help="Differences are to this network.")
@click.option("-o", "--output", type=FOLDER, help="Write CSV to this file and print its name.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--commands", "as_commands", is_flag=True, help="Print the command that repeats each row.")
@click.option("--save", type=FOLDER, metavar="FOLDER", help="Keep the board with its records, to be committed.")
@click.option(
    "--check", type=EXISTING, metavar="FOLDER", help="Derive the boards kept there again; exit 4 if one errs."
)
def print_leaderboard(
    runs: Path,
    variant: str | None,
    baseline: str,
    output: Path | None,
    markdown: bool,
    as_commands: bool,
    save: Path | None,
    check: Path | None,
) -> None:
    """One row for each mechanism and data set, with intervals, and published numbers beside measured ones.

    \b
    bench leaderboard --variant mref --baseline pan
    bench leaderboard --save results/mref && bench leaderboard --check results
    """
    from bench import boards, committed
    from bench.attention import canonical_name
    from bench.leaderboard import leaderboard
    from bench.records import results
    from mnistref.errors import UsageProblemError
    from mnistref.files import write_whole
    from mnistref.variants import get_variant

    if check:
        return click.echo("\n".join(committed.check(check)))
    base, only = canonical_name(baseline), get_variant(variant).name if variant else None
    if save:
        board = committed.save(runs, save, only, base)
        logging.info("%s", boards.to_text(board))
        return click.echo(save)
    board = leaderboard(results(runs), only, base)
    if board.empty:
        raise UsageProblemError(f"{runs}: no runs here; make one with `bench run`, or give --runs")
    if output:
        write_whole(output, boards.to_csv(board).encode())
        logging.info("%s", boards.to_text(board))
        return click.echo(output)
    return click.echo(boards.commands(board) if as_commands else boards.to_text(board, markdown))
