"""Hostile content of records is shown as text; damaged or missing content is left out."""

import json
import os
import re
import shutil

import pytest

from bench.report.page import page
from tests.bench.report.helpers import copy_run, draw_pictures, edit, one, read

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
FORMULA = "=cmd|'/c calc'!A1"
HOSTILE = (SCRIPT, IMAGE, FORMULA, "</style><b>", "{{ 7 * 7 }}", "' onmouseover='x", "</title></svg><i>")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name, runs, root):
    data = {"spec_id": name, "digits": name, "backgrounds": name}
    plain = {"attn": name, "variant": name, "note": name, "dataset": data, "device": name, "recipe": name}
    copy_run(one(runs), runs, "a", **plain)
    copy_run(one(runs), runs, "b", status="failed", reason=name, seed=3, **plain)
    draw_pictures(runs / "a", query=name, label=name, answer=name)
    (runs / "a" / "environment.json").write_text(json.dumps({"processor": name, name: name}))
    text = page(runs, root)
    reader = read(text)
    known = read(page(runs, root, "mini")).elements
    assert {tag for tag, _ in reader.elements} <= {tag for tag, _ in known} | {"b", "i"}
    assert sum(tag == "script" for tag, _ in reader.elements) == 1
    assert not any(attribute.startswith("on") for _, attrs in reader.elements for attribute in attrs)
    assert all((attrs.get("src") or "").startswith("data:") for tag, attrs in reader.elements if tag == "img")
    assert reader.text.count(" ".join(name.split())) > 10
    if "<" in name:
        assert name not in text


def test_data_card_cannot_inject_html(runs, tmp_path):
    dataset = f"mini-{json.loads((one(runs) / 'result.json').read_text())['dataset']['spec_id']}"
    folder = tmp_path / "elsewhere" / "datasets" / dataset
    folder.mkdir(parents=True)
    lines = [f"# {SCRIPT}", f"text {IMAGE} `{SCRIPT}` **{SCRIPT}**", f"- {SCRIPT}", "", f"| {SCRIPT} |", "| --- |"]
    (folder / "README.md").write_text("\n".join([*lines, "", "```", SCRIPT, "```", "[x](javascript:alert(1))"]))
    reader = read(page(runs, tmp_path / "elsewhere"))
    assert sum(tag == "script" for tag, _ in reader.elements) == 1
    assert reader.text.count(SCRIPT) >= 5
    assert not any((attrs.get("href") or "").startswith("javascript") for _, attrs in reader.elements)


@pytest.mark.parametrize("spec_id", ["../../secret", "..", "/etc", "x\0y"])
def test_data_set_names_cannot_leave_the_data_folder(spec_id, runs, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "README.md").write_text("# secret\n\nhidden words\n")
    for run in runs.iterdir():
        edit(run, variant="mini", dataset={"spec_id": f"x/../../../{spec_id}", "digits": "mnist"})
    (tmp_path / "datasets" / "mini-x").mkdir(parents=True)
    assert "hidden words" not in page(runs, tmp_path)


def test_missing_and_damaged_parts_are_left_out(runs, root):
    run = one(runs)
    (run / "history.jsonl").write_text('{"epoch": 1, "val_accuracy": NaN}\n{"epoch": "x"}\n[1]\nnot json\n')
    (run / "environment.json").write_text("[]")
    (run / "pictures" / "maps.png").write_bytes(b"no png")
    edit(run, pr_curve={"recall": [0, 1], "precision": ["x"]}, pointing=None, relative_runtime=None)
    assert "No maps are stored." in read(page(runs, root)).text
    (run / "pictures" / "pictures.json").write_text('{"a": 1}')
    shutil.rmtree(one(runs, "none"))
    text = read(page(runs, root)).text
    assert "Images and attention maps" not in text
    assert "Learning curves" not in text
    assert "Not recorded." in text


def test_an_environment_with_odd_values_is_shown(runs, root):
    odd = '{"a": NaN, "b": {"c": Infinity, "d": [NaN, 1, {"f": null, "g": "h"}]}, "e": "\\u0041"}'
    (one(runs) / "environment.json").write_text(odd)
    assert re.search("a ?– ?c ?– ?d ?–, 1, f –, g h ?e ?A", read(page(runs, root)).text)
    for damaged in ('{"device": "\\ud800"}', '{"device": ' + "[" * 400 + "]" * 400 + "}"):
        (one(runs) / "environment.json").write_text(damaged)
        assert "Not recorded." in read(page(runs, root)).text


def test_folder_with_an_undecodable_name_is_shown(runs, root):
    os.rename(one(runs), os.fsencode(runs) + b"/mini-\xff")
    page(runs, root).encode()
