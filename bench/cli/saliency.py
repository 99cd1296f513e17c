"""`bench saliency`: post-hoc maps, scored with the same measures as attention maps."""

import logging
from pathlib import Path

import click

from bench.attribution.map_method import EXPLAINED, PREDICTION
from bench.attribution.methods import DEFAULT_METHODS, METHODS, find_methods
from bench.config import DEVICES
from mnistref.common.click_program import EXISTING, FOLDER, Choice
from mnistref.common.console import emit, emit_json, in_user_spelling

_SLOW_METHODS = [name for name in METHODS if name not in DEFAULT_METHODS]


@click.command("saliency")
@click.argument("run", type=EXISTING)
@click.option(
    "--map",
    "names",
    default=",".join(DEFAULT_METHODS),
    show_default=True,
    metavar="NAMES",
    help=f"Map methods, separated by commas; all adds {' and '.join(_SLOW_METHODS)}, which take minutes.",
)
@click.option("--images", type=click.IntRange(min=1), default=400, show_default=True, help="Number of test questions.")
@click.option(
    "--explain",
    "explained",
    type=Choice(list(EXPLAINED)),
    default=PREDICTION,
    show_default=True,
    help="Explain the score of the network's answer, or of the right answer.",
)
@click.option("--no-curves", is_flag=True, help="Omit deletion and insertion, which take 22 forward passes per map.")
@click.option(
    "--randomize",
    is_flag=True,
    help="Instead, randomise the weights layer by layer, and print how much each map still resembles the original.",
)
@click.option("--batch", type=click.IntRange(min=1), default=50, show_default=True, help="Questions per forward pass.")
@click.option("--data", type=EXISTING, help="Folder of the data set.  [default: the run's]")
@click.option(
    "--root", type=FOLDER, default="data_cache", show_default=True, help="Folder with the data sets of the runs."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of noise and masks.")
@click.option("--device", type=Choice(DEVICES), default="auto", show_default=True, help="Device.")
@click.option("-o", "--output", type=FOLDER, help="Also draw the maps to this file: .png, .svg or .pdf.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def saliency(
    run: Path,
    names: str,
    images: int,
    explained: str,
    no_curves: bool,
    randomize: bool,
    batch: int,
    data: Path | None,
    root: Path,
    seed: int,
    device: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure post-hoc maps and the network's own map.

    RUN is the folder of a finished run with weights. The maps of each method are compared with the masks of the queried
    digits, by the measures of attention maps. Writes saliency.json into RUN and prints the table.

    \b
    bench saliency data_cache/runs/mbg-arnn-s0-… -o maps.png
    bench saliency RUN --map attention,gradcam,rise --images 100
    bench saliency RUN --randomize
    """
    from bench.attribution.explain import ExplanationOptions
    from bench.compute import resolve_compute
    from bench.leaderboard.map_table import build_map_table, map_table_to_text, randomization_to_text
    from bench.runs.data_folder import resolve_fitting_folder
    from bench.runs.saliency_run import explain_run, randomize_run
    from mnistref.common.figure_files import require_figure_name

    if output:
        require_figure_name(output)
    methods, computing = find_methods(names), resolve_compute(device)
    folder = resolve_fitting_folder(run, data, root)
    options = ExplanationOptions(explained, batch, seed, curves=not no_curves)
    if randomize:
        rows = randomize_run(run, folder, methods=methods, images=images, options=options, computing=computing)
        return emit_json(rows) if as_json else emit(randomization_to_text(rows))
    record = explain_run(run, folder, methods=methods, images=images, options=options, computing=computing)
    board = build_map_table([(run.resolve().name, record)])
    if as_json:
        emit_json(board.astype(object).where(board.notna(), None).to_dict("records"))
    else:
        emit(map_table_to_text(board))
    if output:
        from bench.visualization.map_comparison import save_map_comparison

        save_map_comparison(run, folder, methods, options, output)
        logging.info("wrote %s", in_user_spelling(output))
    return None
