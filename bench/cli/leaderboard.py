"""The command of `bench` that compares: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from bench.cli.options import BoardOptions, board_options
from mnistref.common.click_program import EXISTING, FOLDER
from mnistref.common.console import as_given, emit


@click.command("leaderboard")
@board_options
@click.option("-o", "--output", type=FOLDER, help="Write CSV to this file and print its name.")
@click.option("--markdown", is_flag=True, help="Print it as Markdown tables.")
@click.option("--commands", "as_commands", is_flag=True, help="Print the command that repeats each row.")
@click.option("--claims", "as_claims", is_flag=True, help="Print what the papers claim, and what these runs say of it.")
@click.option("--save", type=FOLDER, metavar="FOLDER", help="Keep the board with its records, to be snapshot.")
@click.option("--weights", is_flag=True, help="With --save: keep the networks' weights, too.")
@click.option(
    "--check", type=EXISTING, metavar="FOLDER", help="Derive the boards kept there again; exit 4 if one errs."
)
def print_leaderboard(
    compared: BoardOptions,
    output: Path | None,
    markdown: bool,
    as_commands: bool,
    as_claims: bool,
    save: Path | None,
    weights: bool,
    check: Path | None,
) -> None:
    """One row for each mechanism and data set, with intervals, and published numbers beside measured ones.

    \b
    bench leaderboard --variant mref --baseline pan
    bench leaderboard --runs results/cpu-curriculum/runs --claims
    bench leaderboard --save results/mref && bench leaderboard --check results
    """
    from bench.leaderboard import formatting, snapshot
    from bench.leaderboard.aggregate import build_board
    from bench.leaderboard.claims import evaluate_claims
    from bench.runs.records import runs_of, wanted_results
    from mnistref.common.atomic_files import write_whole
    from mnistref.common.errors import UsageProblemError

    if sum(map(bool, (check, save, output, as_commands, as_claims))) > 1:
        raise UsageProblemError("give one of --check, --save, --output, --commands and --claims")
    if weights and not save:
        raise UsageProblemError("--weights goes with --save")
    if check:
        checked = snapshot.check_snapshot(check)
        logging.info("every number follows from the records beside it, on each of these boards:")
        return emit("\n".join(str(as_given(Path(board))) for board in checked))
    runs, variant, baseline = runs_of(compared.runs), compared.chosen_variant, compared.chosen_baseline
    if save:
        board = snapshot.save_snapshot(runs, save, variant, baseline, weights)
        logging.info("%s", formatting.to_text(board))
        return emit(save)
    results = wanted_results(runs, variant)
    if as_claims:
        found = evaluate_claims(results)
        if not found:
            raise UsageProblemError(f"{runs}: no two finished runs here of which a paper claims something")
        return emit(formatting.claims_to_text(found, markdown))
    board = build_board(results, baseline=baseline)
    if output:
        write_whole(output, formatting.to_csv(board).encode())
        logging.info("%s", formatting.to_text(board))
        return emit(output)
    return emit(formatting.commands_to_text(board) if as_commands else formatting.to_text(board, markdown))
