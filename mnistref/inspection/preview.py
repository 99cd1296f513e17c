"""Contact sheet of a data set: images with question, answer and the outline of the mask."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnistref.common.atomic_files import write_whole
from mnistref.common.errors import UsageProblemError
from mnistref.dataset import MnistRef, read_split
from mnistref.dataset.torch_dataset import Sample
from mnistref.spec import COLORS, VariantSpec
from mnistref.storage.manifest import read_manifest

OUTLINE, BOX = (255, 0, 255), (0, 255, 255)
_PAPER, _INK, _FAINT = (250, 250, 250), (30, 30, 30), (100, 100, 100)
_GAP_PIXELS, _LINE_PIXELS, _SWATCH_PIXELS = 14, 20, 11
_CAPTION_PIXELS = 2 * _LINE_PIXELS
_MIN_WIDTH_PIXELS = 640  # room for the heading over few images


def contact_sheet(
    folder: Path, split: str | None = None, images: int = 24, boxes: bool = False, columns: int = 6
) -> Image.Image:
    """Draw the first images of a split, magnified to about 200 px, with the outline of the queried digit's mask.

    If several digits are right answers, as in mbgmulti, each of them is outlined.

    Args:
        folder: the data set.
        split: train, val or test; by default the last split.
        images: maximum number of images.
        boxes: also draw the box of every digit.
        columns: images in a row.
    """
    dataset = MnistRef(folder, split or list(read_manifest(folder).splits)[-1])
    zoom = max(1, 200 // dataset.variant.canvas)
    side = dataset.variant.canvas * zoom
    shown = min(images, len(dataset))
    columns = min(columns, shown)
    width = max(columns * (side + _GAP_PIXELS) + _GAP_PIXELS, _MIN_WIDTH_PIXELS)
    heading = _heading(dataset, shown, boxes, width)
    cell = _GAP_PIXELS + side + _CAPTION_PIXELS
    sheet = Image.new("RGB", (width, heading.height + -(-shown // columns) * cell + _GAP_PIXELS), _PAPER)
    sheet.paste(heading)
    draw = ImageDraw.Draw(sheet)
    every = MnistRef(folder, dataset.split, "all") if _has_several_answers(dataset.variant) else None
    box = read_split(folder, dataset.split, "digit_box")["digit_box"] if boxes else None
    for k in range(shown):
        sample = dataset[k]
        x, y = _GAP_PIXELS + k % columns * (side + _GAP_PIXELS), heading.height + _GAP_PIXELS + k // columns * cell
        mask = np.asarray(sample["mask"]) if every is None else _mask_of_answers(every, k, sample["query"])
        picture = _picture(sample, mask, zoom, None if box is None else box[k])
        sheet.paste(picture, (x, y))
        _caption(draw, (x, y + side + 3), side, dataset.variant, sample)
    return sheet


def _has_several_answers(variant: VariantSpec) -> bool:
    """Return whether several digits of an image are right answers to its query."""
    return variant.repeats[1] > 1


def _mask_of_answers(every: MnistRef, image: int, query: int) -> np.ndarray:
    """Return the pixels of all digits that are right answers to a query about an image, bool (H, W).

    Args:
        every: all questions of the split.
        image: index of the image.
        query: the query.
    """
    answers = np.flatnonzero((every.triples.image == image) & (every.triples.query == query)).tolist()
    mask: np.ndarray = np.any([np.asarray(every[k]["mask"]) for k in answers], axis=0)
    return mask


def _picture(sample: Sample, mask: np.ndarray, zoom: int, boxes: np.ndarray | None) -> Image.Image:
    """Return one image with the outline of a mask, magnified.

    Args:
        sample: the image.
        mask: bool (H, W).
        zoom: factor of the magnification.
        boxes: i2 (9, 4): y0, x0, y1, x1, half-open, 0 for an empty slot; None to draw no boxes.
    """
    pixels = np.asarray(sample["image"].permute(1, 2, 0)).repeat(zoom, 0).repeat(zoom, 1)
    picture = Image.fromarray(pixels)
    draw = ImageDraw.Draw(picture)
    for y0, x0, y1, x1 in () if boxes is None else (boxes[boxes.any(axis=1)] * zoom).tolist():
        draw.rectangle((x0, y0, x1 - 1, y1 - 1), outline=BOX)
    edge = _outline(mask.repeat(zoom, 0).repeat(zoom, 1))
    picture.paste(OUTLINE, mask=Image.fromarray(edge))
    return picture


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return the pixels just outside a mask, bool (H, W)."""
    grown = np.pad(mask, 1)
    grown = grown[:-2, 1:-1] | grown[2:, 1:-1] | grown[1:-1, :-2] | grown[1:-1, 2:]
    edge: np.ndarray = grown & ~mask
    return edge


def _heading(dataset: MnistRef, shown: int, boxes: bool, width: int) -> Image.Image:
    """Draw the heading: data set, split, question, and the legend."""
    variant = dataset.variant
    note = f"{variant.name} is {variant.note}." if variant.note else ""
    which = f"{dataset.manifest.folder_name}, split {dataset.split}, images 0–{shown - 1} of {len(dataset):,}"
    text = [line for paragraph in (variant.description, note) for line in _wrapped(paragraph, width - 2 * _GAP_PIXELS)]
    sheet = Image.new("RGB", (width, _GAP_PIXELS + 24 + _LINE_PIXELS * (len(text) + 1)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP_PIXELS, _GAP_PIXELS), _printable(which), _INK, _font(17))
    for k, line in enumerate(text):
        draw.text((_GAP_PIXELS, _GAP_PIXELS + 26 + k * _LINE_PIXELS), line, _FAINT, _font(14))
    x, y = _GAP_PIXELS, _GAP_PIXELS + 26 + len(text) * _LINE_PIXELS
    several = _has_several_answers(variant)
    outline = "outlines of all right digits' masks" if several else "outline of the queried digit's mask"
    outline = outline if variant.asks else "outline of the digit's mask"
    for color, what in [(OUTLINE, outline), *[(BOX, "box of each digit")] * boxes]:
        draw.rectangle((x, y + 4, x + _SWATCH_PIXELS, y + 4 + _SWATCH_PIXELS), color, _FAINT)
        draw.text((x + _SWATCH_PIXELS + 6, y), what, _FAINT, _font(14))
        x += _SWATCH_PIXELS + 30 + int(_font(14).getlength(what))
    return sheet


def _caption(
    draw: ImageDraw.ImageDraw, position: tuple[int, int], side: int, variant: VariantSpec, sample: Sample
) -> None:
    """Draw query, label and scale, with a swatch for each colour."""
    (x, y), font = position, _font(13)
    right = [sample["label"]] if "labels" not in sample else sample["labels"].nonzero().flatten().tolist()
    labels = [variant.label_names[label] for label in right]
    lines = [("query", [variant.query_names[sample["query"]]])] if variant.asks else []
    scale = f"scale {sample['scale']:.2f}"
    draw.text((x + side - font.getlength(scale), y), scale, _FAINT, font)
    for line, (word, names) in enumerate([*lines, ("label", labels)]):
        draw.text((x, y + line * (_LINE_PIXELS - 3)), f"{word} {'/'.join(names)}", _INK, font)
        left = x + int(font.getlength(f"{word} {'/'.join(names)}")) + 8
        for k, name in enumerate(name for name in names if name in COLORS):
            place = left + k * (_SWATCH_PIXELS + 3), y + line * (_LINE_PIXELS - 3) + 3
            draw.rectangle((*place, place[0] + _SWATCH_PIXELS, place[1] + _SWATCH_PIXELS), COLORS[name], _FAINT)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _printable(text: str) -> str:
    """Return text without en dashes, which Pillow's font lacks."""
    return text.replace("–", "-")


def _wrapped(text: str, width: int) -> list[str]:
    """Return lines of words, each at most `width` pixels wide."""
    lines: list[str] = []
    for word in _printable(text).split():
        if lines and _font(14).getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def save_sheet(folder: Path, path: Path, split: str | None = None, images: int = 24, boxes: bool = False) -> None:
    """Save the contact sheet as PNG. The folder is created if it does not exist."""
    if path.suffix.lower() != ".png":
        raise UsageProblemError(f"{path}: the sheet is a PNG; give a name that ends in .png")
    file = io.BytesIO()
    contact_sheet(folder, split, images, boxes).save(file, format="PNG")
    write_whole(path, file.getvalue())
