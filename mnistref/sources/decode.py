"""One photo file → 8-bit RGB, or a data error that names it; and which of many files give such an error."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

from mnistref.errors import DataProblemError
from mnistref.files import write_whole

LEAST_SIDE, MOST_ASPECT = 16, 10
"""Photos with fewer pixels on a side, or longer than so many times their width, are refused."""
RULES = f"1 {PIL.__version__}"
"""What a verdict on a file depends on beside the file."""


def read_photo(path: Path) -> Image.Image:
    """Decode to 8-bit RGB, upright, the first frame; transparency lies on black. What cannot serve is a data error."""
    try:
        with Image.open(path) as image:
            photo = _rgb(ImageOps.exif_transpose(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataProblemError(f"{path}: cannot be read as an image ({reason}); mend or remove it") from error
    if min(photo.size) < LEAST_SIDE or max(photo.size) > MOST_ASPECT * min(photo.size):
        pixels = f"{photo.width} × {photo.height} pixels"
        raise DataProblemError(f"{path}: {pixels} are too few or too narrow for a background; remove it")
    return photo


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16 bits and more: Pillow would clip them
        values = np.asarray(image, np.float64)
        top = 65535 if image.mode.startswith("I") else max(values.max(), 1e-12)
        image = Image.fromarray((np.clip(values / top, 0, 1) * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    return image.convert("RGB")


def bad_digests(paths: Mapping[str, Path], raw: Path) -> set[str]:
    """The digests of those files that `read_photo` refuses. Verdicts are kept in `raw/refused.json`, by digest."""
    cache = raw / "refused.json"
    known = _verdicts(cache)
    unknown = [sha256 for sha256 in paths if sha256 not in known]
    if unknown:
        with ThreadPoolExecutor() as pool:
            known |= dict(zip(unknown, pool.map(_is_bad, (paths[s] for s in unknown)), strict=True))
        text = json.dumps({"rules": RULES, "refused": known}, indent=0, sort_keys=True)
        write_whole(cache, text.encode())
    return {sha256 for sha256 in paths if known[sha256]}


def _verdicts(cache: Path) -> dict[str, bool]:
    """What is known of files, digest → refused; nothing where that was by other rules, or the file is damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return dict(kept["refused"]) if kept["rules"] == RULES else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_bad(path: Path) -> bool:
    try:
        read_photo(path)
    except DataProblemError:
        return True
    return False
