"""Galleries of attention in the report: pictures, outlines and shares of attention."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from bench.report import galleries
from bench.report.outline import outline
from bench.report.page import page
from mnistref.dataset import MnistRef
from tests.bench.report.helpers import copy_run, draw_pictures, edit, one, read, sections_of


def test_maps_beyond_the_budget_are_left_out(runs, root, monkeypatch):
    monkeypatch.setattr(galleries, "MAPS_BUDGET_CHARACTERS", 100)
    reader = read(page(runs, root))
    assert "The maps are omitted to limit the size of the page." in reader.text
    assert not any(tag == "img" for tag, _ in reader.elements)


def test_images_are_embedded_once(runs, root):
    for k in range(3):
        copy_run(one(runs), runs, f"more{k}", attn=f"more{k}")
    text = page(runs, root)
    assert text.count("background-image:url(") == 1
    assert len(re.findall(r'<img src="data:image/png', text)) == 4


def test_other_questions_are_not_shown_below_the_images(runs, root):
    folder = copy_run(one(runs), runs, "aaa", attn="aaa") / "pictures"
    asked = json.loads((folder / "pictures.json").read_text())
    (folder / "pictures.json").write_text(json.dumps([{**one, "question": one["question"] + 1} for one in asked]))
    text = page(runs, root).partition('<h2 id="pictures">')[2].partition("Rows without stored pictures")[0]
    assert "<b>aaa</b>" not in text
    assert "<b>pan</b>" in text


def test_gallery_shows_the_lowest_finished_seed_of_a_row(runs):
    for seed in (2, 1):
        copy_run(one(runs), runs, f"zz-s{seed}", attn="zz", seed=seed)
    copy_run(one(runs), runs, "zz-s0", attn="zz", seed=0, status="diverged", reason="?")
    (gallery,) = galleries.galleries(sections_of(runs), runs)
    assert [answers.run for answers in gallery.answers if answers.name == "zz"] == ["zz-s1"]


def test_map_is_drawn_as_a_heat_map(real):
    uri = galleries._maps(one(real) / "pictures", 6)
    assert uri.startswith("data:image/png;base64,")
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))
    grey = np.asarray(Image.open(one(real) / "pictures" / "maps.png"))
    assert heat.shape == (48, 6 * 48, 4)
    assert heat[grey == 255].tolist() == [[255, 235, 90, 217]] * int((grey == 255).sum())
    assert not heat[grey == 0][:, 3].any()


def test_gallery_is_between_leaderboard_and_charts(runs, root):
    headings = re.findall(r'<h2 id="(\w+)"', page(runs, root))
    assert headings[:2] == ["board", "pictures"]


def test_the_queried_digit_is_outlined_in_the_images_and_in_each_map(runs, root):
    text = page(runs, root)
    assert text.count('<path id="outline-0" d="M') == 1
    assert text.count('href="#outline-0"') == 2  # the images, and the maps of pan
    assert "have no outline" not in text
    for run in runs.glob("mini-*"):
        (run / "pictures" / "targets.png").unlink()
    text = page(runs, root)
    assert "outline-0" not in text
    assert "the digits have no outline" in text


def test_each_image_shows_the_shares_of_its_map_and_of_a_uniform_map(runs, root):
    draw_pictures(one(runs), share=0.0)
    words = one(runs) / "pictures" / "pictures.json"
    said = json.loads(words.read_text())
    said[0] |= {"share": 0.25, "uniform": 0.05}
    said[1] |= {"share": 0.01, "uniform": 0.05}
    said[2] |= {"share": "x", "uniform": 7}
    words.write_text(json.dumps(said))
    text = read(page(runs, root)).text
    assert "25.0 % on the digit, uniform 5.0 %" in text
    assert "1.0 % on the digit, uniform 5.0 %, below uniform" in text
    (gallery,) = galleries.galleries(sections_of(runs), runs)
    (pan,) = [answers for answers in gallery.answers if answers.name == "pan"]
    assert [answer.attention.is_below for answer in pan.answers][:3] == [False, True, False]
    assert pan.answers[2].attention == galleries.Attention(None, None)


@pytest.mark.parametrize(
    ("share", "uniform", "comparison"),
    [
        (0.1, 0.05, "2.00 × uniform"),
        (0.04, 0.05, "below uniform"),
        (0.0376, 0.0384, ""),
        (0.0392, 0.0384, ""),
        (None, 0.05, ""),
        (0.1, 0.0, ""),
        (0.1, None, ""),
    ],
)
def test_a_share_is_compared_with_that_of_a_uniform_map(share, uniform, comparison):
    assert galleries.Attention(share, uniform).comparison.replace("\u00a0", " ") == comparison


def test_rows_without_pictures_have_their_shares(runs, root):
    """Boards of earlier versions stored no pictures."""
    edit(one(runs), mask_correctness=0.012, mask_correctness_uniform=0.048, answers=None)
    for run in runs.glob("mini-*"):
        for path in (run / "pictures").iterdir():
            path.unlink()
        (run / "answers.safetensors").unlink()
    text = page(runs, root)
    assert '<h2 id="pictures">' in text
    row = read(text).text.partition("comparisonrecipe")[2]
    assert re.search(r"pan[\d.]+ %1\.2 %4\.8 %below uniform", row)
    assert "background-image" not in text


def test_runs_that_stored_no_ink_take_it_from_their_data_set(runs, mini, root):
    """Only if the pictures are those of the data set."""
    asked = [3, 5]
    dataset = MnistRef(mini, "test")
    folder = one(runs) / "pictures"
    for path in folder.iterdir():
        path.unlink()
    images = np.concatenate([np.asarray(dataset[k]["image"].permute(1, 2, 0)) for k in asked], axis=1)
    Image.fromarray(images).save(folder / "images.png")
    words = [{"question": k, "query": "?", "label": "red", "answer": "red"} for k in asked]
    (folder / "pictures.json").write_text(json.dumps(words))
    (one(runs, "none") / "pictures" / "pictures.json").unlink()
    (gallery,) = galleries.galleries(sections_of(runs), runs, [mini.parent.parent])
    ink = np.concatenate([np.asarray(dataset[k]["mask"]) for k in asked], axis=1)
    assert gallery.outline == outline(ink, 2) != ""
    words[0]["question"] = 4
    (folder / "pictures.json").write_text(json.dumps(words))
    (gallery,) = galleries.galleries(sections_of(runs), runs, [mini.parent.parent])
    assert gallery.outline == ""
