"""The command `bench transfer`: parse, import lazily, make one call, print."""

from dataclasses import asdict
from pathlib import Path

import click

from bench.cli.values import TaskName
from bench.config import DEVICES
from mnistref.common.click_program import EXISTING, FOLDER, Choice
from mnistref.common.console import emit, emit_json


@click.command("transfer")
@click.argument("run", type=EXISTING)
@click.option("--to", "task", type=TaskName(), required=True, help="Other images.")
@click.option(
    "--canvas", type=click.IntRange(min=1), metavar="PIXELS", help="Side of the images.  [default: the run's]"
)
@click.option("--batch", type=click.IntRange(min=1), default=100, show_default=True, help="Images per forward pass.")
@click.option("--root", type=FOLDER, default="data_cache", show_default=True, help="Folder of the prepared images.")
@click.option("--device", type=Choice(DEVICES), default="auto", show_default=True, help="Device.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def transfer(run: Path, task: str, canvas: int | None, batch: int, root: Path, device: str, as_json: bool) -> None:
    """Classify other images by the features of a run.

    RUN is the folder of a finished run on images without a question. The features are the input of its last linear
    layer. A linear support vector machine (C = 1) is trained on them, with 5 folds. Prints the accuracy and the width
    of the features: wider features are easier to separate. Writes transfer.json into RUN.

    \b
    bench transfer data_cache/runs/cifar10-cbam-s0-… --to folder:photos
    bench transfer RUN --to stl10 --json
    """
    from bench.common.number_format import percent
    from bench.compute import resolve_compute
    from bench.runs.transfer_run import transfer_run
    from mnistref.common.text_table import table

    found = transfer_run(run, task, root, resolve_compute(device), batch=batch, canvas=canvas)
    if as_json:
        return emit_json({**asdict(found), "accuracies": list(found.accuracies), "mean": found.mean})
    rows = [
        ["images", f"{found.images:,} of {found.classes} classes, {found.dataset}"],
        ["width of the features", str(found.features)],
        ["accuracy, %", f"{percent(found.mean)} (s.d. over the folds {percent(found.deviation)})"],
        ["of each fold, %", "  ".join(map(percent, found.accuracies))],
    ]
    return emit(table(rows))
