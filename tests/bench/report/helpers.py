"""Helpers for the tests of the report: runs with other names and values, their pictures, and a parser of pages."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.leaderboard.aggregate import build_board
from bench.report.sections import BoardEntry, BoardSection, board_sections
from bench.runs import records

EMPTY = {"meta", "link", "input", "img", "br", "hr"}
"""HTML elements without a closing tag."""
COLOURS = ("green", "yellow", "white", "red", "blue")


def copy_run(run: Path, runs: Path, name: str, curve: bool = True, **changes: Any) -> Path:
    """Copy a run below `runs` and change its result, and its configuration if that has the key."""
    folder = runs / name
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoint", "weights.safetensors"))
    if curve:
        changes = curve_of(0.3) | changes
    for file in ("config.json", "result.json"):
        content = json.loads((folder / file).read_text())
        known = changes if file == "result.json" else {k: v for k, v in changes.items() if k in ("attn", "seed")}
        (folder / file).write_text(json.dumps(content | known))
    return folder


def curve_of(precision: float, points: int = 50) -> dict[str, Any]:
    """Return a plausible curve that begins with this precision."""
    recall = np.linspace(0, 1, points)
    falling = precision * (1 - 0.9 * recall**1.5)
    area = float(((falling[1:] + falling[:-1]) / 2 * np.diff(recall)).sum())
    return {"pr_area": area, "pr_curve": {"recall": recall.tolist(), "precision": falling.tolist()}}


def draw_pictures(
    run: Path,
    canvas: int = 48,
    n: int = 6,
    seed: int = 0,
    maps: bool = True,
    share: float = 0.7,
    targets: bool = True,
    **said: Any,
) -> None:
    """Write pictures as a run does: n squares of noise with a coloured spot, and a map for each with one bright place.

    Args:
        run: the folder of the run.
        canvas: side of a square in pixels.
        n: number of squares.
        seed: seed of the maps and answers. The images are the same for all seeds.
        maps: whether there are maps.
        share: probability of a right answer, and of a map on the spot.
        targets: whether the pixels of the spot are stored.
        said: entries that replace the plausible ones of every question.
    """
    folder = run / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    common, own = np.random.default_rng(7), np.random.default_rng(seed)
    y, x = np.mgrid[:canvas, :canvas]
    images, products, spots, questions = [], [], [], []
    for k in range(n):
        square = common.integers(0, 140, (canvas // 4 + 1, canvas // 4 + 1, 3), dtype=np.uint8)
        square = np.asarray(Image.fromarray(square).resize((canvas, canvas), Image.Resampling.BICUBIC)).copy()
        cy, cx = common.integers(canvas // 5, canvas - canvas // 5, 2)
        radius = canvas * (0.05 + 0.02 * k)
        spots.append((y - cy) ** 2 + (x - cx) ** 2 < radius**2)
        square[spots[-1]] = [(16, 166, 81), (255, 241, 78), (224, 224, 224)][k % 3]
        images.append(square)
        py, px = (cy, cx) if own.random() < share else own.integers(0, canvas, 2)
        near = np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * (radius * 1.2) ** 2))
        products.append(np.round(255 * near / near.max()).astype(np.uint8))
        label = COLOURS[k % 3]
        answer = label if own.random() < share else COLOURS[int(own.integers(5))]
        asked = {"question": 10 * k, "query": f"what colour is the {k}?", "label": label, "answer": answer}
        shares = {"share": float(near[spots[-1]].sum() / near.sum())} if maps else {}
        shares |= {"uniform": float(spots[-1].mean())}
        questions.append({**asked, "scale": 0.6 + 0.4 * k, **(shares if targets else {}), **said})
    Image.fromarray(np.concatenate(images, axis=1)).save(folder / "images.png")
    if maps:
        Image.fromarray(np.concatenate(products, axis=1)).save(folder / "maps.png")
    if targets:
        Image.fromarray(np.concatenate(spots, axis=1)).save(folder / "targets.png")
    (folder / "pictures.json").write_text(json.dumps(questions))


def one(runs: Path, attn: str = "pan") -> Path:
    """Return the folder of the only run of a mechanism."""
    (run,) = runs.glob(f"mini-{attn}-s0-*")
    return run


def edit(run: Path, **changes: Any) -> None:
    """Change result.json of a run."""
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def sections_of(runs: Path) -> list[BoardSection]:
    """Return the sections of runs."""
    found = list(records.read_results(runs))
    return board_sections(build_board(found), found)


def entry_of(runs: Path, attn: str = "pan") -> tuple[BoardSection, BoardEntry]:
    """Return the only section of runs, and the first entry of a mechanism."""
    (section,) = sections_of(runs)
    return section, next(entry for entry in section.entries if entry.row["attn"] == attn)


class Reader(HTMLParser):
    """The content of a page: its elements with their attributes, and its text. Closing tags must be in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        """The text, with single spaces."""
        return " ".join("".join(self.words).split())


def read(text: str) -> Reader:
    """Return the content of a page, all of whose elements are closed."""
    reader = Reader(text)
    assert not reader.open
    return reader
