"""The pictures of maps in the documentation show the stored runs that their captions name."""

import importlib.util
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.helpers import TOP

pytest.importorskip("matplotlib")
_SPEC = importlib.util.spec_from_file_location("map_strips", TOP / "docs" / "map_strips.py")
map_strips = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(map_strips)
PAGE = (TOP / "docs" / "mechanisms.md").read_text(encoding="utf-8")
FIGURE = re.compile(
    r"!\[.+\]\(static/maps/([\w-]+)\.webp\)\n\n"
    r"\*`([\w,-]+)`.*: ([\d.]+) % of .*\s([\d.]+) % of the images; run\s`(.+)`\.\*"
)
FIGURES = {name: rest for name, *rest in FIGURE.findall(PAGE)}


def test_every_strip_is_on_the_page():
    assert {*map_strips.RUNS} == {*FIGURES} == {path.stem for path in map_strips.STRIPS.iterdir()}


@pytest.mark.parametrize("name", map_strips.RUNS)
def test_a_strip_and_its_caption_are_those_of_the_run(name):
    attn, share, peak, run = FIGURES[name]
    folder = map_strips.RESULTS / "fast" / "runs" / run
    result = json.loads((folder / "result.json").read_text())
    assert (run, attn) == (map_strips.RUNS[name], result["attn"])
    assert (share, peak) == (f"{100 * result['mask_correctness']:.1f}", f"{100 * result['pointing']:.1f}")
    path = map_strips.STRIPS / f"{name}.webp"
    assert path.stat().st_size <= 40_000
    drawn = map_strips.strip(folder / "pictures")
    with Image.open(path) as stored:
        assert stored.size == drawn.size
        difference = np.abs(np.asarray(stored.convert("RGB"), float) - np.asarray(drawn, float))
    assert difference.mean() < 8  # WebP is lossy
