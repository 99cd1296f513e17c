"""The commands `bench attack` and `bench swap`: parse, import lazily, make one call, print."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench.attribution.attack_names import DEFAULT_NORMS, METHODS, REGIONS
from bench.config import DEVICES
from mnistref.common.click_program import EXISTING, FOLDER, Command
from mnistref.common.console import emit, emit_json, in_user_spelling


def _add_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Return a decorator that adds the argument RUN, these options, and those that both commands share."""
    shared: Sequence[Callable[[Command], Command]] = (
        click.option(
            "--images", type=click.IntRange(min=1), default=400, show_default=True, help="Number of test images."
        ),
        click.option(
            "--batch", type=click.IntRange(min=1), default=50, show_default=True, help="Images per forward pass."
        ),
        click.option("--data", type=EXISTING, help="Folder of the data set.  [default: the run's]"),
        click.option(
            "--root",
            type=FOLDER,
            default="data_cache",
            show_default=True,
            help="Folder with the data sets of the runs.",
        ),
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Device."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )

    def decorate(command: Command) -> Command:
        decorated = command
        for option in reversed((*options, *shared)):
            decorated = option(decorated)
        return click.argument("run", type=FOLDER)(decorated)

    return decorate


def _find_data(run: Path, data: Path | None, root: Path) -> Path:
    """Return the folder of the data set, whose numbers of queries and classes fit the run."""
    from bench.runs.network_loading import load_config
    from bench.visualization.examples import find_data_set, read_fitting_manifest

    config = load_config(run)
    folder = data or find_data_set(run, config, root)
    read_fitting_manifest(folder, config)
    return folder


@click.command("attack")
@_add_options(
    click.option(
        "--eps",
        default=",".join(f"{norm:g}" for norm in DEFAULT_NORMS),
        show_default=True,
        metavar="NUMBERS",
        help="Largest changes of a pixel in 1/255, separated by commas.",
    ),
    click.option(
        "--where",
        default=",".join(REGIONS),
        show_default=True,
        metavar="NAMES",
        help="Pixels that may change: all, the ink of the queried digit or of the others, the rest.",
    ),
    click.option(
        "--method",
        default=",".join(METHODS),
        show_default=True,
        metavar="NAMES",
        help="Attacks: fgsm takes one step along the sign of the gradient, pgd takes 10.",
    ),
    click.option("--plot", type=FOLDER, help="Also draw the fooling rates to this file: .png, .svg or .pdf."),
)
def attack(
    run: Path,
    eps: str,
    where: str,
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
    from bench.attribution.attack import find_names, parse_norms
    from bench.attribution.fooling import AttackPlan
    from bench.compute import resolve_compute
    from bench.leaderboard.attack_table import attack_table_to_text, build_attack_table
    from bench.runs.attacked_run import attack_run
    from mnistref.common.figure_files import require_figure_name

    if plot:
        require_figure_name(plot)
        from bench.visualization.attack_plot import save_fooling_rates
    plan = AttackPlan(find_names(method, METHODS, "attack"), find_names(where, REGIONS, "region"), parse_norms(eps))
    computing, folder = resolve_compute(device), _find_data(run, data, root)
    record = attack_run(run, folder, plan, images, batch, computing)
    board = build_attack_table([(run.resolve().name, record)])
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(attack_table_to_text(board))
    if plot:
        save_fooling_rates(board, plot)
        logging.info("wrote %s", in_user_spelling(plot))


@click.command("swap")
@_add_options()
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
    from bench.runs.swapped_run import swap_run

    computing, folder = resolve_compute(device), _find_data(run, data, root)
    record = swap_run(run, folder, images, batch, computing)
    board = build_swap_table([(run.resolve().name, record)])
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(swap_table_to_text(board))
