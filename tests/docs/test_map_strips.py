"""The pictures of maps in the documentation show the runs that their captions name."""

import importlib.util
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from bench.config import PRESETS, RunConfig
from tests.helpers import TOP

mpl = pytest.importorskip("matplotlib")
_SPEC = importlib.util.spec_from_file_location("map_strips", TOP / "docs" / "map_strips.py")
map_strips = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(map_strips)
PAGE = (TOP / "docs" / "mechanisms.md").read_text(encoding="utf-8")
FIGURE = re.compile(
    r"!\[.+\]\(static/maps/([\w-]+)\.webp\)\n\n"
    r"\*`([\w,-]+)`.*: ([\d.]+) % of .*\s([\d.]+) % of the images; run\s`(.+)`\.\*"
)
FIGURES = {name: rest for name, *rest in FIGURE.findall(PAGE)}
SHORT_FIGURE = re.compile(
    r"!\[.+\]\(static/maps/([\w-]+)\.webp\)\n\n"
    r"\*`([\w-]+)`, short run on `mini`: ([\d.]+) % right, ([\d.]+) % of .*\s([\d.]+) % of the\simages; run\s`(.+)`\.\*"
)
SHORT_FIGURES = {name: rest for name, *rest in SHORT_FIGURE.findall(PAGE)}
TRAINED = {"unet2": ("mini-fbf0ca10136f", 1)}
QUICK = ("mini-cddf720f74d7", 2)
"""Data set and epochs of the short runs: those of `--preset quick --epochs 2`, unless `TRAINED` has others."""


def test_every_strip_is_on_the_page():
    strips = {path.stem for path in map_strips.STRIPS.iterdir()}
    assert {*map_strips.RUNS} == {*FIGURES}
    assert {*map_strips.SHORT_RUNS} == {*SHORT_FIGURES}
    assert {*FIGURES, *SHORT_FIGURES} == strips


@pytest.mark.parametrize("name", map_strips.SHORT_RUNS)
def test_the_caption_of_a_short_run_names_the_run_of_the_command(name):
    attn, *shares, run = SHORT_FIGURES[name]
    data_set, epochs = TRAINED.get(name, QUICK)
    recipe = replace(PRESETS["quick"].recipe, epochs=epochs)
    config = RunConfig(attn, "mini", data_set, 0, recipe, queries="one", precision="fp32", device="cpu")
    assert (name, run) == (attn, map_strips.SHORT_RUNS[name]) == (name, config.run_id)
    assert all(0 <= float(share) <= 100 for share in shares)
    path = map_strips.STRIPS / f"{name}.webp"
    assert path.stat().st_size <= 40_000
    with Image.open(path) as stored:
        assert stored.size == (8 * (96 + map_strips.GAP) - map_strips.GAP, 2 * 96 + map_strips.GAP)


def test_small_images_are_enlarged_and_outlined(tmp_path):
    digit = np.zeros((48, 96), np.uint8)
    digit[10:20, 10:20] = digit[10:20, 70:80] = 255
    Image.new("RGB", (96, 48), (0, 0, 255)).save(tmp_path / "images.png")
    Image.fromarray(np.full((48, 96), 255, np.uint8)).save(tmp_path / "maps.png")
    Image.fromarray(digit).save(tmp_path / "targets.png")
    page = np.asarray(map_strips.strip(tmp_path))
    assert page.shape == (2 * 96 + map_strips.GAP, 2 * 96 + map_strips.GAP, 3)
    assert page[0, 0].tolist() == page[30, 30].tolist() == [0, 0, 255]
    assert page[18, 18].tolist() == page[19, 40].tolist() == [255, 0, 255]  # the outline is around the digit
    yellow = np.array(mpl.colormaps["viridis"](255)[:3])
    expected = 255 * (0.65 * yellow + 0.35 * np.array([0, 0, 1]))
    np.testing.assert_allclose(page[96 + map_strips.GAP + 30, 30], expected, atol=1)


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
