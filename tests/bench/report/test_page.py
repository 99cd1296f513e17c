"""The page of `bench report`, without a browser: what it says, what it escapes, how large it is."""

import base64
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import cli
from bench.compute import ComputeConfig
from bench.config import Recipe
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.statistics import wilson_interval
from bench.report import accuracy_charts, galleries
from bench.report.groups import comparison_groups
from bench.report.intervals import at_scale
from bench.report.markdown import blocks
from bench.report.page import page
from bench.report.svg_layout import Frame, place, powers, shares, whole
from bench.report.table import REPORT_COLUMNS, table
from bench.runs import experiment, records, validation
from mnistref.common.errors import UsageProblemError
from tests.bench.report.reporting import copy_run, curve_of, draw_pictures

SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
FORMULA = "=cmd|'/c calc'!A1"
HOSTILE = (SCRIPT, IMAGE, FORMULA, "</style><b>", "{{ 7 * 7 }}", "' onmouseover='x", "</title></svg><i>")
EMPTY = {"meta", "link", "input", "img", "br", "hr"}


@pytest.fixture(scope="session")
def real(mini, tmp_path_factory) -> Path:
    """A folder of two real short runs, with pictures beside one of them."""
    runs = tmp_path_factory.mktemp("data") / "runs"
    for attn in ("pan", "none"):
        recipe = Recipe("fast", "adam", lr=0.003, batch=50, epochs=2, schedule="onecycle")
        config = experiment.configure(
            mini, attn, 0, experiment.RunSettings(recipe, "one", ComputeConfig(torch.device("cpu")))
        )
        draw_pictures(experiment.run(config, mini, runs), maps=attn == "pan")
    return runs


@pytest.fixture
def runs(real, tmp_path) -> Path:
    """A copy of it that a test may change."""
    shutil.copytree(real, tmp_path / "runs", ignore=shutil.ignore_patterns(".locks", "checkpoint", "weights.*"))
    return tmp_path / "runs"


def one(runs: Path, attn: str = "pan") -> Path:
    (run,) = runs.glob(f"mini-{attn}-s0-*")
    return run


def edit(run: Path, **changes) -> None:
    """Change result.json."""
    path = run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


class Reader(HTMLParser):
    """What a page holds: its elements with their attributes, its text, and whether they are closed in order."""

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
        return " ".join("".join(self.words).split())


def read(text: str) -> Reader:
    reader = Reader(text)
    assert not reader.open
    return reader


def test_the_page_has_every_part(real, root):
    text = page(real, root)
    reader = read(text)
    headings = [tag for tag, _ in reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert all(int(b[1]) <= int(a[1]) + 1 for a, b in pairwise(headings))
    for part in ("Leaderboard", "Accuracy against runtime", "Accuracy per scale", "Learning curves", "Where they look"):
        assert part in reader.text
    assert "what colour is the 0? green" in reader.text
    assert "content_sha256" not in reader.text
    assert "mnistref generate --variant mini" in reader.text  # of the card
    assert "torchvision" in reader.text  # of the environment
    assert "† One seed" in reader.text
    assert ("html", {"lang": "en"}) in reader.elements
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {i for _, attrs in reader.elements for i in (attrs.get("aria-labelledby") or "").split()}
    named |= {attrs["href"][1:] for _, attrs in reader.elements if (attrs.get("href") or "").startswith("#")}
    assert named <= set(ids)


def test_every_chart_has_a_title_and_its_numbers(real, root):
    elements = read(page(real, root)).elements
    charts = [attrs for tag, attrs in elements if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) >= 5
    assert sum(tag == "title" for tag, _ in elements) > len(charts)
    assert sum(attrs.get("class") == "numbers" for tag, attrs in elements if tag == "details") == 4


def test_it_loads_nothing(real, root):
    """No reference leads out of the page, and its policy would let none."""
    text = page(real, root)
    for tag, attrs in read(text).elements:
        for name in ("src", "href", "action", "srcset", "data", "poster"):
            value = attrs.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value[:50])
        assert not any(name.startswith("on") or name == "style" for name in attrs), (tag, attrs)
    styles = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in styles
    assert all(target.startswith("data:image/png;base64,") for target in re.findall(r"url\(([^)]*)", styles))
    policy = next(a["content"] for t, a in read(text).elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_same_records_give_the_same_bytes(real, runs, root):
    assert page(real, root) == page(runs, root)


def test_a_process_of_its_own_gives_the_same_bytes(real, root, tmp_path):
    call = [sys.executable, "cli.py", "bench", "report", "--runs", real, "--root", root, "--out", tmp_path / "r.html"]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    top = Path(cli.__file__).parent
    done = subprocess.run(call, cwd=top, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page(real, root)


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


def test_a_card_cannot_inject(runs, tmp_path):
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
def test_no_name_leads_out_of_the_folder_of_data_sets(spec_id, runs, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "README.md").write_text("# secret\n\nhidden words\n")
    for run in runs.iterdir():
        edit(run, variant="mini", dataset={"spec_id": f"x/../../../{spec_id}", "digits": "mnist"})
    (tmp_path / "datasets" / "mini-x").mkdir(parents=True)
    assert "hidden words" not in page(runs, tmp_path)


def test_every_status_is_told_with_its_reason(runs, root):
    run = one(runs)
    copy_run(run, runs, "d", status="diverged", reason="the loss is nan", seed=1)
    copy_run(run, runs, "f", status="failed", reason="out of memory", attn="arnn")
    (copy_run(run, runs, "u", seed=4) / "result.json").unlink()
    (copy_run(run, runs, "x", seed=5) / "result.json").write_text("{")
    text = read(page(runs, root)).text
    for words in ("the loss is nan", "out of memory", "no result yet", "its record cannot be read"):
        assert words in text
    assert "1 damaged, 1 diverged, 1 ok, 1 unfinished" in text
    assert "1 failed" in text


def test_only_runs_that_failed(runs, root):
    for run in runs.iterdir():
        shutil.rmtree(run / "pictures")
        (run / "history.jsonl").unlink()
        result = json.loads((run / "result.json").read_text())
        kept = {key: result[key] for key in validation.REQUIRED_FIELDS if key in result}
        (run / "result.json").write_text(json.dumps({**kept, "status": "failed", "reason": "?"}))
    text = read(page(runs, root)).text
    assert "1 failed" in text
    assert "Learning curves" not in text


def test_no_runs_are_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.bench.main(["report", "--runs", str(tmp_path), "--out", str(tmp_path / "r.html")])
    assert ended.value.code == 2
    assert "no runs here" in capsys.readouterr().err
    assert not (tmp_path / "r.html").exists()


def test_only_one_variant(real, root):
    with pytest.raises(UsageProblemError):
        page(real, root, "mref")
    assert "mini" in page(real, root, "mini")


def test_a_missing_jinja_is_a_usage_error(real, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "bench.report.page")
    with pytest.raises(SystemExit) as ended:
        cli.bench.main(["report", "--runs", str(real), "--out", str(tmp_path / "r.html")])
    assert ended.value.code == 2
    assert "pip install jinja2" in capsys.readouterr().err


def test_missing_and_damaged_parts_are_left_out(runs, root):
    run = one(runs)
    (run / "history.jsonl").write_text('{"epoch": 1, "val_accuracy": NaN}\n{"epoch": "x"}\n[1]\nnot json\n')
    (run / "environment.json").write_text("[]")
    (run / "pictures" / "maps.png").write_bytes(b"no png")
    edit(run, pr_curve={"recall": [0, 1], "precision": ["x"]}, pointing=None, relative_runtime=None)
    assert "it has no maps" in read(page(runs, root)).text
    (run / "pictures" / "pictures.json").write_text('{"a": 1}')
    shutil.rmtree(one(runs, "none"))
    text = read(page(runs, root)).text
    assert "Where they look" not in text
    assert "Learning curves" not in text
    assert "Not recorded." in text


def test_what_is_no_fraction_is_counted_and_not_drawn(runs, root):
    run = one(runs)
    lines = [{"epoch": e, "val_accuracy": value} for e, value in enumerate((0.5, math.nan, 7, -1, True, "x", None), 1)]
    (run / "history.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": ' + "9" * 400 + "}\n"
    )
    edit(run, pr_curve={"recall": [0, 0.5, math.inf, 1], "precision": [0.5, math.nan, 0.2, 0.1]})
    text = page(runs, root)
    assert "Not drawn: 5 accuracies that are no numbers in 0–1." in text
    assert "Not drawn: 2 points that are no numbers in 0–1." in text
    assert not re.search(r'(points|d)="[^"]*(nan|inf)', text)


def test_a_scale_with_one_question_has_no_interval_where_seeds_differ(runs):
    """Though Wilson's would be one over the answers of all seeds."""
    copy_run(one(runs), runs, "s1", seed=1)
    _, entry = entry_of(runs)
    name = "accuracy_scale_0.5_1.0"
    entry.row.update({f"{name}_lo": math.nan, f"{name}_hi": math.nan})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (None, None)


def test_an_environment_with_odd_values_is_shown(runs, root):
    odd = '{"a": NaN, "b": {"c": Infinity, "d": [NaN, 1, {"f": null, "g": "h"}]}, "e": "\\u0041"}'
    (one(runs) / "environment.json").write_text(odd)
    assert re.search("a ?– ?c ?– ?d ?–, 1, f –, g h ?e ?A", read(page(runs, root)).text)
    for damaged in ('{"device": "\\ud800"}', '{"device": ' + "[" * 400 + "]" * 400 + "}"):
        (one(runs) / "environment.json").write_text(damaged)
        assert "Not recorded." in read(page(runs, root)).text


def test_a_folder_whose_name_is_no_text_is_shown(runs, root):
    os.rename(one(runs), os.fsencode(runs) + b"/mini-\xff")
    page(runs, root).encode()


def test_failed_rows_are_not_tied(runs, root):
    for run in runs.iterdir():
        edit(run, status="failed", reason="?")
    assert "Rows of one rank" not in page(runs, root)


def test_a_hundred_runs_are_below_ten_megabytes(rounds, runs, root):
    """A hundred mechanisms of 300 epochs, each with pictures of eight images of 224 pixels; a quarter of them but for
    `--rounds 200`."""
    part = 1 if rounds >= 200 else 4
    run = one(runs)
    draw_pictures(run, canvas=224, n=8)
    line = json.loads((run / "history.jsonl").read_text().splitlines()[0])
    lines = [json.dumps(line | {"epoch": e, "val_accuracy": 1 - 1 / (e + 1)}) for e in range(1, 301)]
    (run / "history.jsonl").write_text("\n".join(lines) + "\n")
    for k in range(100 // part - 1):
        copy_run(run, runs, f"mini-other{k}-s0", attn=f"other{k}", **curve_of(0.2 + k / 200, 500))
    text = page(runs, root)
    assert 1_000_000 / part < len(text.encode()) < 10_000_000 / part
    assert text.count('<img src="data:image/png;base64,') >= 90 / part


def test_maps_beyond_the_budget_are_left_out(runs, root, monkeypatch):
    monkeypatch.setattr(galleries, "MAPS_BUDGET_CHARACTERS", 100)
    reader = read(page(runs, root))
    assert "its maps are left out to keep the page small" in reader.text
    assert not any(tag == "img" for tag, _ in reader.elements)


def test_the_images_stand_once_in_the_page(runs, root):
    for k in range(3):
        copy_run(one(runs), runs, f"more{k}", attn=f"more{k}")
    text = page(runs, root)
    assert text.count("background-image:url(") == 1
    assert len(re.findall(r'<img src="data:image/png', text)) == 4


def test_other_questions_are_not_shown_below_the_images(runs, root):
    folder = copy_run(one(runs), runs, "aaa", attn="aaa") / "pictures"
    asked = json.loads((folder / "pictures.json").read_text())
    (folder / "pictures.json").write_text(json.dumps([{**one, "question": one["question"] + 1} for one in asked]))
    text = page(runs, root).partition('<h2 id="pictures">')[2]
    assert "<b>aaa</b>" not in text
    assert "<b>pan</b>" in text


def test_of_a_row_the_lowest_finished_seed_is_shown(runs):
    for seed in (2, 1):
        copy_run(one(runs), runs, f"zz-s{seed}", attn="zz", seed=seed)
    copy_run(one(runs), runs, "zz-s0", attn="zz", seed=0, status="diverged", reason="?")
    found = list(records.read_results(runs))
    (gallery,) = galleries.galleries(comparison_groups(build_board(found), found), runs)
    assert [answers.run for answers in gallery.answers if answers.name == "zz"] == ["zz-s1"]


def test_a_map_becomes_heat(real):
    uri = galleries._maps(one(real) / "pictures", 6)
    assert uri.startswith("data:image/png;base64,")
    heat = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))
    grey = np.asarray(Image.open(one(real) / "pictures" / "maps.png"))
    assert heat.shape == (48, 6 * 48, 4)
    assert heat[grey == 255].tolist() == [[255, 235, 90, 217]] * int((grey == 255).sum())
    assert not heat[grey == 0][:, 3].any()


def entry_of(runs: Path, attn: str = "pan"):
    found = list(records.read_results(runs))
    (group,) = comparison_groups(build_board(found), found)
    return group, next(entry for entry in group.entries if entry.row["attn"] == attn)


def test_that_many_runs_take_a_while_is_said(runs, caplog, monkeypatch):
    caplog.set_level("INFO")
    for many, said in ((3, False), (2, True)):
        monkeypatch.setattr(records, "MANY_RUNS", many)
        assert len(list(records.read_results(runs))) == 2
        assert ("reading 2 runs, which" in caplog.text) == said


def test_contests_on_one_set_are_named_by_what_their_rows_share(runs):
    after = "fast,epochs=4,fade=0.5,init=(mref-b,fast,epochs=4,init=(mini-a,fast))"
    copy_run(one(runs), runs, "after", recipe=after)
    copy_run(one(runs), runs, "asked", queries="all", recipe="pan,batch=20")
    found = list(records.read_results(runs))
    titles = {group.title.partition(": ")[2] for group in comparison_groups(build_board(found), found)}
    begun = "fast, epochs=4, fade=0.5; after mref-b: fast, epochs=4; after mini-a: fast"
    assert titles == {"fast, epochs=2", begun, "pan, batch=20; queries all"}


def test_each_run_belongs_to_one_row(runs):
    copy_run(one(runs), runs, "s1", seed=1)
    copy_run(one(runs), runs, "gpu", device="another")
    group, entry = entry_of(runs, "none")
    assert entry.label.startswith("none, ")
    assert sorted(len(entry.runs) for entry in group.entries) == [1, 1, 2]


def test_intervals_per_scale_are_the_boards_or_pooled_over_seeds(runs):
    (copy_run(one(runs), runs, "s1", seed=1) / "answers.safetensors").unlink()
    name, (_, entry) = "accuracy_scale_0.5_1.0", entry_of(runs)
    images = 2 * entry.finished[0]["n_scale_0.5_1.0"]
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == pytest.approx(wilson_interval(rate.value, images))
    entry.row.update({f"{name}_lo": 0.1, f"{name}_hi": 0.9})
    rate = at_scale(entry, name)
    assert (rate.low, rate.high) == (0.1, 0.9)


def test_published_curves_stand_beside_measured_ones(runs):
    for run in runs.iterdir():
        edit(run, variant="mbg")
    group, _ = entry_of(runs)
    panel = next(panel for panel in accuracy_charts.scales(group).panels if panel.name == "pan")
    assert {line.kind for line in panel.lines} == {"measured", "published"}
    assert sum(mark.kind == "published" for mark in panel.marks) == 1  # the scales of mini: one bin
    row = next(row for row in accuracy_charts.scales(group).rows if row[0] == "pan, published")
    assert row[1] == "68.2"


def test_columns_that_are_not_there_are_not_shown():
    assert [c.name for c in table([{"attn": "a", "rank": None}, {"attn": "b", "rank": 1}]).columns] == ["rank", "attn"]
    new = {"attn": "a", "seeds": 2, "pr_area": 0.3, "mask_correctness": 0.2, "mask_correctness_lo": 0.1}
    made = table([{**new, "mask_correctness_hi": 0.3, "p_value": 0.0004, "command": "bench run", "unknown": 1}])
    cells = {cell.name: cell for cell in made.rows[0]}
    assert cells["mask_correctness"].extra == "0.100–0.300"
    assert (cells["pr_area"].text, cells["pr_area"].value) == ("0.300", "0.3")
    assert (cells["p_value"].text, cells["p_value"].value) == ("< 0.001", "0.0004")
    assert cells["command"].text == "bench run"
    assert "unknown" not in cells


def test_what_all_rows_share_is_said_once():
    made = table([{"attn": name, "recipe": "fast", "device": name} for name in ("a", "b")])
    assert [(column.name, value) for column, value in made.shared] == [("recipe", "fast")]
    assert [column.name for column in made.columns] == ["attn", "device"]


def test_every_column_is_explained():
    assert all(column.report_heading and column.doc.endswith(".") for column in REPORT_COLUMNS)


@pytest.mark.parametrize("values", [[], [0.5], [0, 1], [0.123, 0.124], [0.98, 1.0], [0.0]])
def test_an_axis_of_shares_holds_its_values(values):
    axis = shares(values, "")
    assert axis.low < axis.high
    assert all(axis.low - 1e-9 <= value <= axis.high + 1e-9 for value in values)
    assert 2 <= len(axis.ticks) <= 7
    assert len({words for _, words in axis.ticks}) == len(axis.ticks)


@pytest.mark.parametrize("most", [1, 2, 3, 7, 10, 64, 300, 12345])
def test_an_axis_of_epochs_begins_at_one(most):
    axis = whole(most, "")
    assert axis.ticks[0][0] == 1
    assert len(axis.ticks) <= 8
    assert axis.low <= 1 <= most <= axis.high


@pytest.mark.parametrize("values", [[1.0], [0.9, 4.9], [0.001, 1000.0], [3.0, 3.1]])
def test_a_logarithmic_axis_has_ticks(values):
    axis = powers(values, "")
    assert 1 <= len(axis.ticks) <= 9
    assert all(0 < axis.part(value) < 1 for value in values)


def test_names_in_a_chart_do_not_cover_each_other():
    frame = Frame(shares([0, 1], ""), shares([0, 1], ""), 680, 360)
    names = [(frame.at(0.5 + 0.001 * k, 0.5 + math.sin(k) / 50), f"name{k}") for k in range(12)]
    words = place(names, frame, ())
    assert 2 <= len(words) < 12
    boxes = [(w.x - {"start": 0, "middle": 18, "end": 36}[w.anchor], w.y) for w in words]
    for k, (x, y) in enumerate(boxes):
        for u, v in boxes[:k]:
            assert abs(x - u) >= 30 or abs(y - v) >= 11


def test_markdown_of_a_card():
    parts = [
        "# T",
        "first\nsecond `x`",
        "| a | b |\n| --- | --- |\n| 1 | **2** |",
        "- one\n- two",
        "```sh\n# code\n```",
    ]
    found = blocks("\n\n".join(parts))
    assert [block.kind for block in found] == ["heading", "text", "table", "list", "code"]
    assert found[1].lines == [[[("text", "first second "), ("code", "x")]]]
    assert found[2].lines[1] == [[("text", "1")], [("strong", "2")]]
    assert found[4].lines == [[[("text", "# code")]]]
    assert blocks("```\nunended") == blocks("```\nunended\n```")


def test_words_where_a_number_belongs_are_shown_as_they_are():
    assert table([]).rows == []
    assert table([{"attn": "a", "tpr": "x"}]).rows[0][1].value == ""
