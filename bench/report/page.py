"""The HTML page of a report. The same records give the same bytes."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypedDict

from bench.config import DEFAULT_BASELINE
from bench.evaluation.columns import BACKGROUNDS, DATASET, DIGITS, NOTE, SEEDS, STATUS, VARIANT
from bench.evaluation.record_keys import DAMAGED, OK, REASON, UNFINISHED
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.missing_differences import explain_missing_differences
from bench.leaderboard.row_key import row_key
from bench.leaderboard.statistics import MIN_RELIABLE_SEEDS
from bench.report import accuracy_charts, curve_charts
from bench.report.attacks import attack_charts
from bench.report.chart_types import Figure
from bench.report.galleries import Gallery, galleries
from bench.report.load import card, environment, read_question_records
from bench.report.markdown import Block, blocks
from bench.report.saliency import saliency_tables
from bench.report.sections import BoardSection, board_sections, missing, number, rows_of
from bench.report.swaps import swap_texts
from bench.report.table import MISSING, NOT_SORTABLE, hyphenate, table
from bench.runs import attack_record, records, swap_record
from bench.runs.record_types import HistoryEntry, RunRecord
from mnistref.common.errors import UsageProblemError
from mnistref.common.version import VERSION

try:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise UsageProblemError("bench report needs jinja2: pip install jinja2") from error

_WHY_UNFINISHED = "no result yet: the run is active, or it was interrupted; the same command resumes it"
_WHY_DAMAGED = "its record cannot be read; run the same command again"


@dataclass(frozen=True)
class Charts:
    """The figures of a section. A figure is None if no run has its data."""

    section: BoardSection
    runtime: Figure | None
    scales: Figure | None
    recall: Figure | None
    learning: Figure | None


@dataclass(frozen=True)
class Card:
    """The description of a data set.

    Attributes:
        dataset: name of the data set.
        lead: blocks of its card before the first section.
        rest: all other blocks of its card.
        facts: (name, value) from the results, if the card is missing.
    """

    dataset: str
    lead: list[Block]
    rest: list[Block]
    facts: list[tuple[str, str]]


class SharedEnvironment(TypedDict):
    """An environment as (name, value), and the names of its runs."""

    facts: list[tuple[str, str]]
    runs: list[str]


def page(runs: Path, root: Path, variant: str | None = None, baseline: str = DEFAULT_BASELINE) -> str:
    """Return the page about all runs below a folder.

    Args:
        runs: the folder.
        root: a folder with datasets/, for the cards.
        variant: only include runs on this variant.
        baseline: the mechanism that others are compared with.

    Raises:
        UsageProblemError: there are no such runs.
    """
    runs = records.resolve_runs_folder(runs)
    results = records.read_nonempty_results(runs, variant)
    board = build_board(results, None, baseline)
    sections = board_sections(board, results)
    rows = rows_of(board)
    places = [root, runs.resolve().parent]
    names = [str(result["run"]) for result in results]
    histories = {result["run"]: records.read_history(runs / result["run"]) for result in results}
    return _filled(
        version=VERSION,
        results=results,
        board=table(sections),
        fixed=NOT_SORTABLE,
        variants=sorted({result[VARIANT] for result in results}),
        datasets=list(dict.fromkeys(section.dataset for section in sections)),
        one_seed=any(row[SEEDS] == 1 for row in rows),
        few=MIN_RELIABLE_SEEDS if any((number(row[SEEDS]) or 0) < MIN_RELIABLE_SEEDS for row in rows) else 0,
        no_differences=explain_missing_differences(board, baseline),
        is_tied=any(entry.rank.endswith("=") for section in sections for entry in section.entries),
        notes={row[VARIANT]: row[NOTE] for row in rows if row.get(NOTE)},
        charts=[_charts(section, histories) for section in sections],
        galleries=galleries(sections, runs, places),
        saliency=saliency_tables(runs, names),
        attacks=attack_charts(read_question_records(runs, names, attack_record.RECORD)),
        swaps=swap_texts(read_question_records(runs, names, swap_record.RECORD)),
        cards=_cards(sections, places),
        unfinished=[{**r, DATASET: row_key(r)[DATASET], "why": _why(r)} for r in results if r[STATUS] != OK],
        environments=_environments(runs, results),
    )


def _charts(section: BoardSection, histories: dict[str, list[HistoryEntry]]) -> Charts:
    return Charts(
        section,
        accuracy_charts.runtime(section),
        accuracy_charts.scales(section),
        curve_charts.precision_recall(section),
        curve_charts.learning(section, histories),
    )


def _cards(sections: Iterable[BoardSection], places: Sequence[Path]) -> list[Card]:
    """Return the card of each data set."""
    rows = {section.dataset: section.entries[0].row for section in sections}
    cards = []
    for dataset, row in rows.items():
        text = card(places, dataset)
        facts = [(name, str(row.get(name) or "none")) for name in (VARIANT, DIGITS, BACKGROUNDS)]
        facts.append(("fingerprint", dataset.removeprefix(f"{row[VARIANT]}-")))
        facts += [(NOTE, str(row[NOTE]))] if row.get(NOTE) else []
        found = blocks(text)[1:] if text else []  # skip the title, which the page already has
        headings = [k for k, block in enumerate(found) if block.kind == "heading"] or [len(found)]
        cards.append(Card(dataset, found[: headings[0]], found[headings[0] :], facts))
    return cards


def _why(result: RunRecord) -> str:
    return str(
        result.get(REASON) or {UNFINISHED: _WHY_UNFINISHED, DAMAGED: _WHY_DAMAGED}.get(result["status"], "not recorded")
    )


def _environments(runs: Path, results: Iterable[RunRecord]) -> list[SharedEnvironment]:
    """Return each environment, the most frequent first."""
    found: dict[str, list[str]] = {}
    for result in results:
        facts = {key: value for key, value in environment(runs / result["run"]).items() if key != "processes"}
        found.setdefault(json.dumps(facts, sort_keys=True), []).append(result["run"])
    listed = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
    return [{"facts": _facts(json.loads(text)), "runs": names} for text, names in listed]


def _facts(environment: dict[str, object]) -> list[tuple[str, str]]:
    """Return the entries of an environment as text, flattened by one level."""
    facts = []
    for key, value in sorted(environment.items()):
        inner = sorted(value.items()) if isinstance(value, dict) else [(key, value)]
        facts += [(str(name), _as_text(known)) for name, known in inner]
    return facts


def _as_text(value: object) -> str:
    """Return a value of a record as text; a dash if it is missing or not finite."""
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {_as_text(inner)}" for name, inner in value.items())
    return MISSING if missing(value) else str(value)


def _filled(**values: Any) -> str:
    """Return the template, filled in. The content security policy of the page allows only its own style and script."""
    shown: list[Gallery] = [gallery for gallery in values["galleries"] if gallery.images]
    styles = [_part("report.css").strip(), *(_style(k, gallery) for k, gallery in enumerate(shown))]
    script = _part("report.js").strip()
    policy = "; ".join(
        [
            "default-src 'none'",
            "img-src data:",
            f"style-src {' '.join(map(_digest, styles))}",
            f"script-src {_digest(script)}",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    trusted = {"styles": [Markup(style) for style in styles], "script": Markup(script), "policy": policy}
    text = _rendering().get_template("report.html").render(**values, **trusted)
    return text.encode("utf-8", "backslashreplace").decode()  # names of folders may contain invalid UTF-8


@cache
def _rendering() -> Environment:
    """Return the template engine. It caches compiled templates."""
    environment = Environment(
        loader=FunctionLoader(_part),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["hyphenate"] = hyphenate
    return environment


def _style(k: int, gallery: Gallery) -> str:
    """Return the style of a gallery with images: its number of columns, and its images."""
    n = len(gallery.questions)
    return (
        f".gallery-{k} .tiles{{grid-template-columns:repeat({n},minmax(0,1fr))}}"
        f".gallery-{k} .strip{{min-width:{5.5 * n}rem;max-width:{14 * n}rem}}"
        f".gallery-{k} .picture::after{{background:repeating-linear-gradient(to right,var(--paper) 0 1.5px,"
        f"transparent 0 calc(100%/{n} - 1.5px),var(--paper) 0 calc(100%/{n}))}}"
        f".gallery-{k} .picture{{aspect-ratio:{n};background-image:url({gallery.images})}}"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _part(name: str) -> str:
    return files("bench.report").joinpath(name).read_text(encoding="utf-8")
