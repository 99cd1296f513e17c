"""A contact sheet of a data set: images with their question, answer and the outline of the mask."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnistref.dataset import MnistRef
from mnistref.errors import UsageProblemError
from mnistref.manifest import read_manifest
from mnistref.spec import COLORS, VariantSpec

_PAPER, _INK, _FAINT = (250, 250, 250), (30, 30, 30), (110, 110, 110)
_OUTLINE = (255, 0, 255)
_GAP, _LINE = 14, 18


def contact_sheet(folder: Path, split: str | None = None, images: int = 24, columns: int = 6) -> Image.Image:
    """The first images of a split (by default the last one there is), magnified to about 200 px, six in a row."""
    dataset = MnistRef(folder, split or list(read_manifest(folder).splits)[-1])
    variant = dataset.variant
    zoom = max(1, 200 // variant.canvas)
    side = variant.canvas * zoom
    shown = min(images, len(dataset))
    columns = min(columns, shown)
    rows = -(-shown // columns)
    header, cell = 3 * _LINE + _GAP, side + _LINE + _GAP
    width = max(columns * (side + _GAP) + _GAP, 620)
    sheet = Image.new("RGB", (width, header + rows * cell + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _heading(draw, dataset)
    for k in range(shown):
        sample = dataset[k]
        x, y = _GAP + k % columns * (side + _GAP), header + _GAP + k // columns * cell
        picture = np.asarray(sample["image"].permute(1, 2, 0)).repeat(zoom, 0).repeat(zoom, 1).copy()
        picture[_outline(np.asarray(sample["mask"]).repeat(zoom, 0).repeat(zoom, 1))] = _OUTLINE
        sheet.paste(Image.fromarray(picture), (x, y))
        _caption(draw, (x, y + side + 2), variant, sample)
    return sheet


def _heading(draw: ImageDraw.ImageDraw, dataset: MnistRef) -> None:
    variant = dataset.variant
    asks = "which colour has the digit?" if variant.query == "class" else "which digit has the colour?"
    note = f"  ({variant.note})" if variant.note else ""
    font = ImageFont.load_default(14)
    draw.text((_GAP, _GAP), f"{dataset.manifest.folder_name}, {dataset.split}", _INK, ImageFont.load_default(16))
    summary = f"{variant.summary}{note}".replace("–", "-")  # Pillow's own font has no dash, arrow or times sign
    draw.text((_GAP, _GAP + 20), summary, _FAINT, font)
    draw.text((_GAP, _GAP + 38), f"query: label ({asks}); magenta: outline of the queried digit's mask", _FAINT, font)


def _caption(draw: ImageDraw.ImageDraw, at: tuple[int, int], variant: VariantSpec, sample: dict) -> None:
    query, label = variant.query_names[sample["query"]], variant.label_names[sample["label"]]
    if "labels" in sample:
        label = "/".join(
            name for name, right in zip(variant.label_names, sample["labels"].tolist(), strict=True) if right
        )
    color = COLORS.get(label) or COLORS.get(query) or _FAINT
    x, y = at
    draw.rectangle((x, y + 3, x + 11, y + 14), color, _FAINT)
    draw.text((x + 17, y), f"{query}: {label}   scale {sample['scale']:.2f}", _INK, ImageFont.load_default(13))


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels just outside a mask: bool (H, W)."""
    grown = np.pad(mask, 1)
    grown = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
    return grown & ~mask


def save_sheet(folder: Path, path: Path, split: str | None = None, images: int = 24) -> None:
    """Write the contact sheet as PNG."""
    if path.suffix.lower() != ".png":
        raise UsageProblemError(f"{path}: the sheet is a PNG; give a name that ends in .png")
    contact_sheet(folder, split, images).save(path)
