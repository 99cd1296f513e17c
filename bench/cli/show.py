"""The command `bench show`: parse, import lazily, make one call, print."""

from functools import partial
from pathlib import Path

import click

from mnistref.common.click_program import EXISTING, FOLDER, HeadedCommand, headed_option
from mnistref.common.console import emit, remember_spelling

_output = partial(headed_option, "Output")
_images = partial(headed_option, "Images")
_maps = partial(headed_option, "Maps")
_data = partial(headed_option, "Data")


@click.command("show", cls=HeadedCommand)
@click.argument("runs", type=EXISTING, metavar="RUN...", nargs=-1, required=True)
@_output(
    "-o",
    "--output",
    type=FOLDER,
    help="File to write: .png, .svg or .pdf.  [default: RUN.png; compared.png for several runs]",
)
@_images(
    "--images",
    type=click.IntRange(min=1),
    help="Number of test images, chosen from small to large digits.  [default: 4; 6 for several runs]",
)
@_images("--image", "indices", type=int, multiple=True, help="Index of a test image to show. May be repeated.")
@_maps(
    "--samples",
    type=int,
    default=1,
    show_default=True,
    help="Number of answers to each image, for mechanisms with random maps.",
)
@_maps(
    "--sigma-scale",
    type=float,
    metavar="X",
    help="Multiply the σ of random maps by X.  [default: 1; 3 for several samples]",
)
@_maps(
    "--map",
    "method_name",
    metavar="NAME",
    help="Draw the map of this method for the network's answer, such as cam or gradcam; see `bench saliency`.  "
    "[default: the network's own maps]",
)
@_data(
    "--data",
    type=EXISTING,
    help="Folder of another data set, such as an mbgmulti set for a run on mbg.  [default: the run's]",
)
@_data(
    "--root",
    type=FOLDER,
    default="data_cache",
    show_default=True,
    help="Folder with the data sets of the runs.",
)
@_images(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the choice of images and of the samples.",
)
def show(
    runs: tuple[Path, ...],
    output: Path | None,
    images: int | None,
    indices: tuple[int, ...],
    samples: int,
    sigma_scale: float | None,
    method_name: str | None,
    data: Path | None,
    root: Path,
    seed: int,
) -> None:
    """Draw attention maps on test images.

    RUN is the folder of a run. For one run, the picture has the map of every slot and the answer. For several runs, it
    has the product of each run's maps and the answer, side by side. Prints the name of the file.

    \b
    bench show data_cache/runs/mini-arnn-s0-…
    bench show RUN --map cam
    bench show data_cache/runs/mbg-arnn-sampled-s0-… --samples 5 --data data_cache/datasets/mbgmulti-…
    """
    from bench.attribution.methods import find_method
    from bench.compute import resolve_compute
    from bench.visualization import attention_maps, comparison
    from bench.visualization.examples import ImageChoice

    resolve_compute("cpu")  # raises if BENCH_DIAGONAL_LSTM names an implementation that does not run on a CPU
    if images and indices:
        raise click.UsageError("give --images or --image, not both")
    if len(runs) > 1 and (samples != 1 or sigma_scale is not None):
        raise click.UsageError("--samples and --sigma-scale work with one run only; omit them, or give one run")
    if method_name and (samples != 1 or sigma_scale is not None):
        raise click.UsageError("--samples and --sigma-scale draw the network's own maps; omit them, or --map")
    method = find_method(method_name) if method_name else None
    picture = output or remember_spelling(Path("compared.png" if len(runs) > 1 else f"{runs[0].resolve().name}.png"))
    choice = ImageChoice(images, seed, indices or None)
    if len(runs) > 1:
        comparison.save_comparison(runs, picture, root, data, choice, method=method)
    else:
        maps = attention_maps.MapOptions(samples, sigma_scale, method)
        attention_maps.save_picture(runs[0], picture, root=root, data=data, choice=choice, maps=maps)
    emit(picture)
