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


def test_the_same_records_give_the_same_bytes(real, runs, root):
    assert page(real, root) == page(runs, root)


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


def test_a_missing_jinja_is_a_usage_error(real, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "bench.report.page")
    with pytest.raises(SystemExit) as ended:
        cli.bench.main(["report", "--runs", str(real), "--out", str(tmp_path / "r.html")])
    assert ended.value.code == 2
    assert "pip install jinja2" in capsys.readouterr().err


def test_failed_rows_are_not_tied(runs, root):
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
