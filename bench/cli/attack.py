"""The command `bench attack`: parse, import lazily, make one call, print."""

import logging
from pathlib import Path

import click

from bench.attribution.attack_names import ALL, DEFAULT_NORMS, METHODS, PGD_STEPS, REGIONS
from bench.cli.question_options import add_question_options
from mnistref.common.click_program import FOLDER
from mnistref.common.console import emit, emit_json, in_user_spelling


@click.command("attack")
@add_question_options(
    click.option(
        "--eps",
        default=",".join(f"{norm:g}" for norm in DEFAULT_NORMS),
        show_default=True,
        metavar="NUMBERS",
        help="Largest changes of a pixel in 1/255, separated by commas.",
    ),
    click.option(
        "--where",
        metavar="NAMES",
        help="Pixels that may change: all, the ink of the queried digit or of the others, the rest.  "
        f"[default: {','.join(REGIONS)}; of images without masks: {ALL}]",
    ),
    click.option(
        "--method",
        default=",".join(METHODS),
        show_default=True,
        metavar="NAMES",
        help=f"Attacks: fgsm takes one step along the sign of the gradient, pgd takes {PGD_STEPS}.",
    ),
    click.option("--plot", type=FOLDER, help="Also draw the fooling rates to this file: .png, .svg or .pdf."),
)
def attack(
    run: Path,
    eps: str,
    where: str | None,
    method: str,
    plot: Path | None,
    images: int,
    batch: int,
    data: Path | None,
    root: Path,
    device: str,
    as_json: bool,
) -> None:
    """Measure how many answers change under adversarial attacks.

    RUN is the folder of a finished run with weights. An attack raises the cross-entropy of the network's own answer.
    The fooling rate is the share of the questions whose answer changes. Writes attack.json into RUN and prints the
    table.

    \b
    bench attack data_cache/runs/mbg-arnn-s0-… --plot fooling.png
    bench attack RUN --eps 1,4 --where target,background --method pgd --images 100
    """
    from bench.attribution.attack import find_names, find_regions, parse_norms
    from bench.attribution.fooling import AttackPlan
    from bench.compute import resolve_compute
    from bench.data.sets import has_masks, read_manifest
    from bench.leaderboard.attack_table import attack_table_to_text, build_attack_table
    from bench.runs.attack_run import attack_run
    from bench.runs.data_folder import resolve_fitting_folder
    from mnistref.common.figure_files import require_figure_name

    if plot:
        require_figure_name(plot)
        from bench.visualization.attack_plot import save_fooling_rates
    methods, norms = find_names(method, METHODS, "attack"), parse_norms(eps)
    find_regions(where, has_question=True)  # raises for an unknown name before the data set is read
    computing, folder = resolve_compute(device), resolve_fitting_folder(run, data, root)
    regions = find_regions(where, read_manifest(folder).variant.asks, has_masks(folder))
    plan = AttackPlan(methods, regions, norms)
    record = attack_run(run, folder, plan=plan, images=images, batch=batch, computing=computing)
    board = build_attack_table([(run.resolve().name, record)])
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(attack_table_to_text(board))
    if plot:
        save_fooling_rates(board, plot)
        logging.info("wrote %s", in_user_spelling(plot))
