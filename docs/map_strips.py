"""Draw the attention maps of runs for the page on mechanisms.

    python docs/map_strips.py           # those of stored runs
    python docs/map_strips.py FOLDER    # those of short runs in this folder

The upper row has the test images with the queried digit outlined, the lower row the product of the network's maps. The
short runs are not stored; the page has the commands that repeat them.
"""

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image, ImageFilter

RESULTS = Path(__file__).parent.parent / "results"
STRIPS = Path(__file__).parent / "static" / "maps"
RUNS = {
    "san": "mref-san-s0-664469a86fa0",
    "pan": "mref-pan-s0-ee7d0479a734",
    "pan-ctx": "mref-pan-ctx-s0-069d8ceb593f",
    "han": "mref-han-s0-8afcdb423d27",
    "stn-m": "mref-stn-m-s0-57f4a274c76f",
    "arnn": "mref-arnn-s0-760cab3d9796",
    "brnn2-arnn": "mbg-brnn2+arnn-s0-cd6bfe6b3157",
    "cbam": "mref-cbam-s0-714f8d05471a",
    "ltpa-dp": "mref-ltpa-dp-s0-0c0d60730465",
}
"""Name of the file → run of the board `fast`."""
SHORT_RUNS = {
    "stn-s": "mini-stn-s-s0-0f9d127539c4",
    "unet2": "mini-unet2-s0-b74fe50bd8f8",
    "coord": "mini-coord-s0-95ab7c5d2432",
    "self": "mini-self-s0-c4d2ce7ad7b0",
}
"""Name of the file → short run."""
GAP = 4
MIN_SIDE = 96
"""Minimal side of an image in the picture, in pixels. Smaller images are enlarged by a whole factor."""


def strip(pictures: Path) -> Image.Image:
    """Return the two rows of a run's pictures, 1 image below the other."""
    with _open(pictures, "images") as images, _open(pictures, "maps") as maps:
        pixels, heat = np.asarray(images.convert("RGB")) / 255, np.asarray(maps.convert("L"))
    with _open(pictures, "targets") as targets:
        digit = targets.convert("L").point(lambda value: 255 * (value > 127))
    outline = np.asarray(digit.filter(ImageFilter.MaxFilter(3))) > np.asarray(digit)
    framed = np.where(outline[..., None], (1, 0, 1), pixels)
    coloured = mpl.colormaps["viridis"](heat)[..., :3]
    covered = np.where(outline[..., None], (1, 0, 1), 0.35 * pixels + 0.65 * coloured)
    zoom = -(-MIN_SIDE // len(pixels))
    side = len(pixels) * zoom
    enlarged = [np.kron(row, np.ones((zoom, zoom, 1))) for row in (framed, covered)]
    rows = [np.split(row, row.shape[1] // side, axis=1) for row in enlarged]
    width = len(rows[0]) * (side + GAP) - GAP
    page = Image.new("RGB", (width, 2 * side + GAP), "white")
    for k, row in enumerate(rows):
        for n, tile in enumerate(row):
            page.paste(Image.fromarray((255 * tile).round().astype(np.uint8)), (n * (side + GAP), k * (side + GAP)))
    return page


def _open(pictures: Path, name: str) -> Image.Image:
    """Open a picture of a run, or the small copy of it that a board has."""
    small = pictures / f"{name}.webp"
    return Image.open(small if small.is_file() else pictures / f"{name}.png")


def main(folder: Path | None = None) -> None:
    """Draw the pictures of the stored runs, or those of the short runs in a folder."""
    STRIPS.mkdir(exist_ok=True)
    runs, runs_folder = (SHORT_RUNS, folder) if folder else (RUNS, RESULTS / "fast" / "runs")
    for name, run in runs.items():
        strip(runs_folder / run / "pictures").save(STRIPS / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else None)
