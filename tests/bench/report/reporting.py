"""Runs' folders for the tests of the report: copies of a real one with other names and values, pictures beside them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = ("green", "yellow", "white", "red", "blue")


def copy_run(run: Path, runs: Path, name: str, curve: bool = True, **changes: Any) -> Path:
    """A copy of a run below `runs`, its result (and its configuration, where that has the key) changed."""
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
    """A plausible curve that begins with this precision."""
    recall = np.linspace(0, 1, points)
    falling = precision * (1 - 0.9 * recall**1.5)
    area = float(((falling[1:] + falling[:-1]) / 2 * np.diff(recall)).sum())
    return {"pr_area": area, "pr_curve": {"recall": recall.tolist(), "precision": falling.tolist()}}


def draw_pictures(
    run: Path, canvas: int = 48, n: int = 6, seed: int = 0, maps: bool = True, share: float = 0.7, **said: str
) -> None:
    """Pictures as a run keeps them: n squares of noise with a coloured spot, and a map for each with one bright place.

    `said`: entries of every question in place of the plausible ones. The images are the same for all seeds.
    """
    folder = run / "pictures"
    folder.mkdir(exist_ok=True)
    common, own = np.random.default_rng(7), np.random.default_rng(seed)
    y, x = np.mgrid[:canvas, :canvas]
    images, products, questions = [], [], []
    for k in range(n):
        square = common.integers(0, 140, (canvas // 4 + 1, canvas // 4 + 1, 3), dtype=np.uint8)
        square = np.asarray(Image.fromarray(square).resize((canvas, canvas), Image.Resampling.BICUBIC)).copy()
        cy, cx = common.integers(canvas // 5, canvas - canvas // 5, 2)
        radius = canvas * (0.05 + 0.02 * k)
        square[(y - cy) ** 2 + (x - cx) ** 2 < radius**2] = [(16, 166, 81), (255, 241, 78), (224, 224, 224)][k % 3]
        images.append(square)
        py, px = (cy, cx) if own.random() < share else own.integers(0, canvas, 2)
        near = np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * (radius * 1.2) ** 2))
        products.append(np.round(255 * near / near.max()).astype(np.uint8))
        label = COLOURS[k % 3]
        answer = label if own.random() < share else COLOURS[int(own.integers(5))]
        asked = {"question": 10 * k, "query": f"what colour is the {k}?", "label": label, "answer": answer}
        questions.append({**asked, "scale": 0.6 + 0.4 * k, **said})
    Image.fromarray(np.concatenate(images, axis=1)).save(folder / "images.png")
    if maps:
        Image.fromarray(np.concatenate(products, axis=1)).save(folder / "maps.png")
    (folder / "pictures.json").write_text(json.dumps(questions))
