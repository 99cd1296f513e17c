"""Hypothesis strategies for records of runs, which are written to disk, and checks of the boards made of them."""

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st

from bench.common.safetensors_io import decode, encode
from bench.config import RECIPES, RunConfig
from bench.evaluation.columns import COUNTS, MAP_SCORES, SCALES, board_columns
from bench.leaderboard import snapshot
from bench.leaderboard.aggregate import GROUP_KEY, build_board
from bench.leaderboard.claims import evaluate_claims
from bench.leaderboard.claims_table import claims_to_text
from bench.leaderboard.formatting import commands_to_text, from_csv, to_csv, to_text
from bench.report.page import page
from bench.runs import records
from mnistref.common.errors import UsageProblemError

ATTNS = ("san", "pan", "pan-ctx", "arnn", "arnn-ind", "none", "own|x\ny", "a\\|b`<i>", "=1+1")
VARIANTS = ("mref", "mbg", "mini", "mbginv", "of-my-own")
LENGTHS = st.one_of(st.sampled_from([1, 2, 3, 19, 20, 21, 499, 500, 501, 600]), st.integers(1, 600))
STATUSES = ("ok",) * 8 + ("diverged", "failed", "unfinished", "damaged")
MISSING = ("", "", "", "", "answers", "config", "request", "environment", "history", "maps", "bins", "new", "answers'")
"""Parts that a folder of a run lacks, most often none. "answers'" are answers of another length."""
BINS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "all": lambda rng, n: rng.integers(0, 5, n),
    "of one": lambda rng, n: np.full(n, rng.integers(0, 5)),
    "one question each": lambda rng, n: np.minimum(np.arange(n), 4),
    "one question": lambda rng, n: np.where(np.arange(n) == n // 2, 4, 1),
    "outside": lambda rng, n: rng.integers(-1, 2, n),
}
RIGHT: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "random": lambda rng, n, seed: rng.random(n) < rng.random(),
    "all": lambda rng, n, seed: np.ones(n, bool),
    "none": lambda rng, n, seed: np.zeros(n, bool),
    "by seed": lambda rng, n, seed: np.full(n, seed % 2 == 0),
    "the same": lambda rng, n, seed: np.arange(n) % 3 == 0,
    "one wrong": lambda rng, n, seed: np.arange(n) != 0,
    "in turn": lambda rng, n, seed: (np.arange(n) + seed) % 2 == 0,
}
LOOKS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "random": lambda rng, n: rng.random(n),
    "alike": lambda rng, n: np.full(n, 0.123456789),
    "nowhere": lambda rng, n: np.zeros(n),
    "there": lambda rng, n: np.ones(n),
}


@st.composite
def run_descriptions(draw, most_runs: int = 24) -> list[dict[str, Any]]:
    """Draw descriptions of a few runs, which `write_runs` turns into folders."""
    runs: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 2))):
        shared = {
            "variant": draw(st.sampled_from(VARIANTS)),
            "questions": draw(LENGTHS),
            "bins": draw(st.sampled_from(sorted(BINS))),
            "key": draw(st.integers(0, 99)),
            "epochs": draw(st.sampled_from([1, 10])),
        }
        for attn in draw(st.lists(st.sampled_from(ATTNS), min_size=1, max_size=4, unique=True)):
            row = {
                "right": draw(st.sampled_from(sorted(RIGHT))),
                "looks": draw(st.sampled_from(sorted(LOOKS))),
                "version": draw(st.sampled_from(["0.1.0", "0.1.0", "0.2.0"])),
            }
            for seed in draw(st.lists(st.integers(0, 6), min_size=1, max_size=7, unique=True)):
                one = {"status": draw(st.sampled_from(STATUSES)), "missing": draw(st.sampled_from(MISSING))}
                runs.append({**shared, **row, **one, "attn": attn, "seed": seed})
    return runs[:most_runs]


def write_runs(runs: Path, made: Sequence[dict[str, Any]]) -> None:
    """Write the folders of these runs."""
    for number, run in enumerate(made):
        folder = runs / f"run-{number}"
        folder.mkdir(parents=True)
        config = _config(run)
        aside = {} if run["missing"] == "request" else {records.DATA_REQUEST: _request(run)}
        if run["missing"] != "config":
            (folder / records.CONFIG).write_text(json.dumps(config.as_dict() | aside))
        if run["missing"] != "environment":
            environment = {"bench": run["version"], "device": "cpu", "threads": 1, "git": "0123456789ab"}
            (folder / records.ENVIRONMENT).write_text(json.dumps(environment))
        if run["missing"] != "history":
            lines = [{"epoch": e, "train_accuracy": e / 4, "val_accuracy": [0.2, math.nan][e % 2]} for e in (1, 2, 3)]
            (folder / records.HISTORY).write_text("".join(json.dumps(line) + "\n" for line in lines) + "not JSON\n")
        result = _result(run, config, folder)
        if run["status"] == "damaged":
            (folder / records.RESULT).write_text('{"status": "ok"')
        elif run["status"] != "unfinished":
            (folder / records.RESULT).write_text(json.dumps(result))


def _config(run: dict[str, Any]) -> RunConfig:
    recipe = replace(RECIPES["fast"], epochs=run["epochs"])
    name = f"{run['variant']}-{run['key']:012x}"
    return RunConfig(run["attn"], run["variant"], name, run["seed"], recipe, "one", "fp32", "cpu")


def _request(run: dict[str, Any]) -> dict[str, Any]:
    sizes = {"train": 60, "val": 20, "test": run["questions"]}
    return {
        "variant": run["variant"],
        "seed": 0,
        "sizes": sizes,
        "digits": "mnist",
        "backgrounds": None,
        "pool": "disjoint",
    }


def _result(run: dict[str, Any], config: RunConfig, folder: Path) -> dict[str, Any]:
    """Return the content of result.json of a run, and write the answers of the run."""
    shared = {
        "status": run["status"],
        "attn": run["attn"],
        "variant": run["variant"],
        "seed": run["seed"],
        "recipe": config.training,
        "queries": "one",
        "dataset": {"spec_id": f"{run['key']:012x}", "digits": "mnist", "backgrounds": None},
        "device": "cpu",
        "precision": "fp32",
        "bench_version": run["version"],
    }
    if run["status"] != "ok":
        return {**shared, "reason": "the loss is nan"}
    questions = run["questions"] + (run["missing"] == "answers'")
    rng = np.random.default_rng([run["seed"], run["key"], len(run["attn"])])
    bins = BINS[run["bins"]](np.random.default_rng(run["key"]), questions).astype(np.int8)
    right = RIGHT[run["right"]](rng, questions, run["seed"])
    answers = {"right": right.astype(np.uint8), "answer": np.zeros(questions, np.int16), "scale_bin": bins}
    share = float(right.mean())
    result = {**shared, "accuracy": int(share) if share in (0, 1) and run["seed"] % 2 else share}
    result |= {"n_test": questions, "params": 1000, "train_step_ms": 10, "relative_runtime": 1.5, "peak_memory_mb": 0}
    if run["missing"] != "new":
        for k, (scale, count) in enumerate(zip(SCALES, COUNTS, strict=True)):
            inside = bins == k
            result |= {scale: float(right[inside].mean()) if inside.any() else None, count: int(inside.sum())}
        result["pr_curve"] = {"recall": [0.0, 0.5, math.nan, 1.0], "precision": [0.5, 0.4, 0.3, 2.0]}
    if run["missing"] not in ("maps", "new"):
        looks = LOOKS[run["looks"]](rng, questions)
        answers |= {"mask_correctness": looks.astype(np.float16), "tpr": looks.astype(np.float16)}
        answers |= {"pointing": (looks > 0.5).astype(np.uint8)}
        result |= {name: float((looks if name != "pointing" else looks > 0.5).mean()) for name in MAP_SCORES}
    if run["missing"] == "bins":
        del answers["scale_bin"]
    if run["missing"] != "answers":
        records.write_answers(folder, {name: torch.from_numpy(array) for name, array in answers.items()})
    return result


def check_all_outputs(runs: Path, root: Path, baseline: str = "san") -> pd.DataFrame | None:
    """Make board, claims, page and snapshot of the records, and check them. Return the board; None without runs."""
    try:
        results = records.read_nonempty_results(runs)
    except UsageProblemError:
        return None
    board = build_board(results, baseline=baseline)
    check_board(board)
    check_claims(results)
    check_page(page(runs, root, baseline=baseline))
    kept = root / "kept"
    snapshot.save_snapshot(runs, kept, baseline=baseline)
    assert snapshot.rederive_boards(kept) == [str(kept)]
    pd.testing.assert_frame_equal(comparable(from_csv((kept / "board.csv").read_bytes().decode())), comparable(board))
    return board


def check_board(board: pd.DataFrame) -> None:
    """Check bounds and ranks of a board, and its forms as text and CSV."""
    assert list(board.columns) == board_columns()
    for row in board.to_dict("records"):
        for name in ("accuracy", *SCALES, *MAP_SCORES, "difference"):
            check_bounds(row[name], row[f"{name}_lo"], row[f"{name}_hi"], -1.0 if name == "difference" else 0.0)
        assert math.isnan(row["p_value"]) or 0 <= row["p_value"] <= 1
        assert pd.isna(row["rank"]) == (row["seeds"] == 0)
    for _, rivals in board.groupby(GROUP_KEY):
        assert not rivals["seeds"].any() or rivals["rank"].min() == 1
        finished = rivals[rivals["seeds"] > 0]
        assert not len(finished) or finished.loc[finished["accuracy"].idxmax(), "rank"] == 1
    pd.testing.assert_frame_equal(comparable(from_csv(to_csv(board))), comparable(board))
    check_tables(to_text(board, markdown=True))
    assert "nan" not in to_text(board).replace("the loss is nan", "")
    commands_to_text(board)


def check_bounds(mean: float, low: float, high: float, least: float, most: float = 1.0) -> None:
    """Check that both bounds are unknown, or both are in range and enclose the mean if it is known."""
    assert math.isnan(low) == math.isnan(high)
    if not math.isnan(low):
        assert least <= low <= high <= most, (low, high)
        assert math.isnan(mean) or low <= mean <= high, (mean, low, high)


def check_claims(results: Sequence[dict[str, Any]]) -> None:
    found = evaluate_claims(results)
    for claim in found:
        most = 2.0 if re.search("falls|grows", claim.claim) else 1.0
        assert not math.isnan(claim.difference)
        check_bounds(claim.difference, *claim.bounds, -most - 1e-9, most + 1e-9)
    if found:
        check_tables(claims_to_text(found, markdown=True))
        assert "nan" not in claims_to_text(found)


def check_tables(text: str) -> None:
    """Check that all lines of a table have the same number of cells."""
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    assert tables
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1, table


def check_page(text: str) -> None:
    """Check that no coordinate in a chart is NaN or infinite."""
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        for value in re.findall(r'\s(?:points|d|x|y|cx|cy|viewBox)="([^"]*)"', drawing):
            assert not re.search(r"nan|inf", value, re.IGNORECASE), value
    assert not re.search(r">\s*[+−-]?(nan|inf)\b", text)
    text.encode()


def comparable(board: pd.DataFrame) -> pd.DataFrame:
    """Return a board with plain types and None for missing values, so that boards can be compared."""
    return pd.DataFrame(
        [
            {k: None if pd.isna(v) else v.item() if isinstance(v, np.generic) else v for k, v in row.items()}
            for row in board.to_dict("records")
        ],
        columns=board.columns,
        dtype=object,
    )


ODD = st.one_of(
    st.sampled_from([math.nan, math.inf, -math.inf, -1, 0, 2, 1e300, 10**400, True, False, None]),
    st.sampled_from(["", "NaN", "NA", "None", "007", "\0", "\ud800", "a\r\nb", " a "]),
    st.text(max_size=5),
    st.floats(),
    st.integers(),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
"""Values that a damaged record may have."""


@st.composite
def damages(draw) -> tuple[str, tuple[int, ...], Any]:
    """Draw a file of a run, a place in the file, and a new value."""
    names = [records.RESULT, records.CONFIG, records.ENVIRONMENT, records.HISTORY, "pictures/pictures.json", "answers"]
    return draw(st.sampled_from(names)), tuple(draw(st.lists(st.integers(0, 60), min_size=1, max_size=3))), draw(ODD)


def apply_damage(run: Path, name: str, path: tuple[int, ...], value: Any) -> None:
    """Change one value of a file of a run, or replace its content."""
    if name == "answers":
        _damage_answers(run, path, value)
        return
    file = run / name
    text = file.read_text()
    if name == records.HISTORY:
        lines = text.splitlines()
        lines[path[0] % len(lines)] = json.dumps({"epoch": path[0], "val_accuracy": value, "train_accuracy": value})
        file.write_text("\n".join([*lines, json.dumps(value)]))
    else:
        file.write_text(json.dumps(_changed(json.loads(text), path, value)))


def _changed(content: Any, path: tuple[int, ...], value: Any) -> Any:
    """Return the content with the value at this path changed."""
    if not path or not isinstance(content, dict | list) or not content:
        return value
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))
    key, deeper = keys[path[0] % len(keys)], path[1:] or (() if path[0] % 2 else (0,))
    changed = dict(content) if isinstance(content, dict) else list(content)
    changed[key] = _changed(content[key], deeper, value) if isinstance(content[key], dict | list) else value  # type: ignore[index]
    return changed


def _damage_answers(run: Path, path: tuple[int, ...], value: Any) -> None:
    """Change a value of an array, and often the array's type or shape."""
    answers = decode((run / records.ANSWERS).read_bytes(), "answers")
    name = sorted(answers)[path[0] % len(answers)]
    kinds = [answers[name].dtype, torch.float32, torch.bfloat16, torch.float16, torch.complex64]
    array = answers[name].to(kinds[path[-1] % len(kinds)])
    odd = float(value) if isinstance(value, float | bool) or (isinstance(value, int) and abs(value) < 9) else 7.0
    if array.numel():
        small = odd % 100 if math.isfinite(odd) else 99
        fits = array.is_floating_point() and not 6e4 < abs(odd) < math.inf
        array.view(-1)[path[-1] % array.numel()] = odd if fits else small
    shapes = [array, array, array.flatten()[:, None], array.flatten()[:0], array.sum()]
    encoded = encode({**answers, name: shapes[path[0] % len(shapes)].contiguous()})
    (run / records.ANSWERS).write_bytes(encoded)
