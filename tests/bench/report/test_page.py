"""The page of `bench report`, without a browser: its parts, texts and size, and usage errors."""

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

import cli
from bench.report.page import page
from bench.runs import records, validation
from mnistref.common.errors import UsageProblemError
from tests.bench.report.helpers import copy_run, curve_of, draw_pictures, edit, one, read
from tests.bench.runs.measured_questions import write_attack, write_swap


def test_the_page_has_every_part(real, root):
    text = page(real, root)
    reader = read(text)
    headings = [tag for tag, _ in reader.elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings.count("h1") == 1
    assert all(int(b[1]) <= int(a[1]) + 1 for a, b in pairwise(headings))
    for part in (
        "Leaderboard",
        "Where the networks look",
        "Accuracy and time",
        "Precision and recall",
        "Learning curves",
    ):
        assert part in reader.text
    assert "what colour is the 0? green" in reader.text
    assert "content_sha256" not in reader.text
    assert "mnistref generate --variant mini" in reader.text  # of the card
    assert "torchvision" in reader.text  # of the environment
    assert "† The row has one seed." in reader.text
    assert ("html", {"lang": "en"}) in reader.elements
    ids = [attrs["id"] for _, attrs in reader.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    named = {i for _, attrs in reader.elements for i in (attrs.get("aria-labelledby") or "").split()}
    named |= {attrs["href"][1:] for _, attrs in reader.elements if (attrs.get("href") or "").startswith("#")}
    assert named <= set(ids)


def test_page_refers_to_nothing_outside(real, root):
    """The page has no external reference, and its content security policy allows none."""
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


def test_the_same_records_give_the_same_page(real, runs, root):
    assert page(real, root) == page(runs, root)


@pytest.mark.long_form
def test_page_has_the_same_bytes_in_another_process(real, root, tmp_path):
    call = [sys.executable, "cli.py", "bench", "report", "--runs", real, "--root", root, "--out", tmp_path / "r.html"]
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    top = Path(cli.__file__).parent
    done = subprocess.run(call, cwd=top, env=environment, capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == str(tmp_path / "r.html")
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page(real, root)


def test_page_shows_every_status_with_its_reason(runs, root):
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


def test_page_of_failed_runs_only(runs, root):
    for run in runs.iterdir():
        shutil.rmtree(run / "pictures")
        (run / "history.jsonl").unlink()
        result = json.loads((run / "result.json").read_text())
        kept = {key: result[key] for key in validation.REQUIRED_FIELDS if key in result}
        (run / "result.json").write_text(json.dumps({**kept, "status": "failed", "reason": "?"}))
    text = read(page(runs, root)).text
    assert "1 failed" in text
    assert "Learning curves" not in text


def test_page_of_one_variant(real, root):
    with pytest.raises(UsageProblemError):
        page(real, root, "mref")
    assert "mini" in page(real, root, "mini")


def test_page_says_why_there_are_no_differences(real, root):
    assert "The table has no differences: there is no finished run of san on this data set" in page(real, root)
    assert "The table has no differences" not in page(real, root, baseline="none")


def test_a_missing_jinja_is_a_usage_error(real, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "bench.report.page")
    with pytest.raises(SystemExit) as ended:
        cli.bench.main(["report", "--runs", str(real), "--out", str(tmp_path / "r.html")])
    assert ended.value.code == 2
    assert "pip install jinja2" in capsys.readouterr().err


def test_failed_rows_of_the_page_are_not_tied(runs, root):
    for run in runs.iterdir():
        edit(run, status="failed", reason="?")
    text = page(runs, root)
    assert "marks a rank" not in read(text).text.partition("What the columns mean")[0]


def test_page_of_a_hundred_runs_is_below_ten_megabytes(rounds, runs, root):
    """A hundred mechanisms of 300 epochs, with eight pictures of 224 pixels each; a quarter of them without
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


def test_reading_many_runs_is_announced(runs, caplog, monkeypatch):
    caplog.set_level("INFO")
    for many, said in ((3, False), (2, True)):
        monkeypatch.setattr(records, "MANY_RUNS", many)
        assert len(list(records.read_results(runs))) == 2
        assert ("reading 2 runs, which" in caplog.text) == said


def test_every_chart_has_a_title_and_its_numbers(real, root):
    elements = read(page(real, root)).elements
    charts = [attrs for tag, attrs in elements if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 4
    assert sum(tag == "title" for tag, _ in elements) > len(charts)
    assert sum(attrs.get("class") == "numbers" for tag, attrs in elements if tag == "details") == 3


def test_charts_with_one_point_and_their_links_are_left_out(runs, root):
    """`mini` has one scale bin; with one epoch or one mechanism, there is no curve and nothing to compare."""
    text = page(runs, root)
    assert 'id="scales"' not in text
    assert "#scales" not in text
    for part in ("runtime", "learning"):
        assert f'<h2 id="{part}">' in text
        assert f'href="#{part}"' in text
    for run in runs.glob("mini-*"):
        path = run / "history.jsonl"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    edit(one(runs, "none"), status="failed", reason="?")
    text = page(runs, root)
    for part in ("runtime", "learning"):
        assert f'id="{part}"' not in text
        assert f"#{part}" not in text
    assert '<h2 id="recall">' in text


SCRIPT = "<script>alert(1)</script>"
IMAGE = '"><img src=x onerror=alert(1)>'
FORMULA = "=cmd|'/c calc'!A1"
HOSTILE = (SCRIPT, IMAGE, FORMULA, "</style><b>", "{{ 7 * 7 }}", "' onmouseover='x", "</title></svg><i>")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text_in_the_page(name, runs, root):
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


def test_missing_and_damaged_parts_of_runs_are_left_out_of_the_page(runs, root):
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


def test_page_has_sections_of_attacks_and_swaps_and_skips_damaged_records(runs, root, caplog):
    kept = one(runs)
    for name in ("b", "c"):
        copy_run(kept, runs, name, seed=ord(name))
    assert "attacks" not in ids(page(runs, root))
    for name in ("b", "c"):
        write_attack(runs / name)
        write_swap(runs / name)
    (runs / "c" / "attack.safetensors").write_bytes(b"no arrays")
    (runs / "c" / "swap.json").write_text("{}")
    text = page(runs, root)
    assert {"attacks", "swaps", "attacks-1-axes"} <= ids(text)
    assert text.count('class="group attacks') == 1
    assert "target (the ink of the queried digit): 0." in read(text).text
    assert "attack.safetensors" in caplog.text
    assert "swap.json" in caplog.text


def ids(text: str) -> set[str]:
    return {attrs["id"] for _, attrs in read(text).elements if "id" in attrs}
