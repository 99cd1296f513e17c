"""The command `bench leaderboard`: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from bench.cli.option_values import BoardOptions
from bench.cli.options import add_board_options
from mnistref.common.click_program import EXISTING, FOLDER
from mnistref.common.console import emit, in_user_spelling


@click.command("leaderboard")
@add_board_options
@click.option("-o", "--output", type=FOLDER, help="Write the board to this CSV file, and print the file's name.")
@click.option("--markdown", is_flag=True, help="Print Markdown tables.")
@click.option("--commands", "as_commands", is_flag=True, help="Print the command that reproduces each row.")
@click.option("--claims", "as_claims", is_flag=True, help="Print the papers' claims, and whether these runs agree.")
@click.option("--verdicts", "as_verdicts", is_flag=True, help="Print the verdicts on these claims as one table.")
@click.option("--save", type=FOLDER, metavar="FOLDER", help="Save the board and the records that it is derived from.")
@click.option("--weights", is_flag=True, help="With --save: save the weights of the networks too.")
@click.option(
    "--check",
    type=EXISTING,
    metavar="FOLDER",
    help="Derive the saved boards in this folder again from their records; exit with 4 if a number differs.",
)
def print_leaderboard(
    board_options: BoardOptions,
    output: Path | None,
    markdown: bool,
    as_commands: bool,
    as_claims: bool,
    as_verdicts: bool,
    save: Path | None,
    weights: bool,
    check: Path | None,
) -> None:
    """Compare the mechanisms of finished runs.

    Prints one row per mechanism and data set, with confidence intervals and the published numbers.

    \b
    bench leaderboard --variant mref --baseline pan
    bench leaderboard --runs results/fast --claims
    bench leaderboard --save results/mref && bench leaderboard --check results
    """
    from bench.leaderboard import claims_table, formatting, snapshot
    from bench.leaderboard.aggregate import build_board
    from bench.leaderboard.claims import evaluate_claims
    from bench.leaderboard.figure_claims import evaluate_attack_claims, evaluate_map_claims
    from bench.leaderboard.network_claims import evaluate_network_claims
    from bench.leaderboard.transfer_claims import evaluate_transfer_claims
    from bench.runs import attack_record, saliency_record, transfer_record
    from bench.runs.records import read_nonempty_results, resolve_runs_folder
    from mnistref.common.atomic_files import write_whole
    from mnistref.common.errors import UsageProblemError

    if sum(map(bool, (check, save, output, as_commands, as_claims, as_verdicts))) > 1:
        raise UsageProblemError("give only one of --check, --save, --output, --commands, --claims and --verdicts")
    if weights and not save:
        raise UsageProblemError("--weights needs --save")
    if check:
        checked = snapshot.rederive_boards(check)
        logging.info("every number of these boards follows from the saved records:")
        return emit("\n".join(str(in_user_spelling(Path(board))) for board in checked))
    runs, variant, baseline = (
        resolve_runs_folder(board_options.runs),
        board_options.variant_name,
        board_options.baseline_name,
    )
    if save:
        board = snapshot.save_snapshot(runs, save, variant, baseline, weights)
        logging.info("%s", formatting.to_text(board, baseline=baseline))
        return emit(save)
    results = read_nonempty_results(runs, variant)
    if as_claims or as_verdicts:
        claim_results = [*evaluate_claims(results), *evaluate_network_claims(results)]
        claim_results += evaluate_transfer_claims(results, transfer_record.RECORD.read_all(runs))
        claim_results += evaluate_attack_claims(results, attack_record.RECORD.read_all(runs))
        claim_results += evaluate_map_claims(results, saliency_record.RECORD.read_all(runs))
        if not claim_results:
            raise UsageProblemError(f"{runs}: no claim of the papers compares two finished runs in this folder")
        show = claims_table.verdicts_to_text if as_verdicts else claims_table.claims_to_text
        return emit(show(claim_results, markdown))
    board = build_board(results, baseline=baseline)
    if output:
        write_whole(output, formatting.to_csv(board).encode())
        logging.info("%s", formatting.to_text(board, baseline=baseline))
        return emit(output)
    return emit(formatting.commands_to_text(board) if as_commands else formatting.to_text(board, markdown, baseline))
