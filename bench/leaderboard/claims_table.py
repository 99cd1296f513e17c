"""Evaluated claims as text: tables with all numbers, and the verdicts on one screen. Pure."""

from collections import Counter
from collections.abc import Sequence

from bench.common.number_format import amount, more, percent, points
from bench.evaluation.columns import COLUMN_BY_NAME
from bench.leaderboard.claim_result import ClaimResult, Place
from bench.leaderboard.formatting import BOUNDS_HEADING, FEW_SEEDS, escape_markup, format_value, variant_notes
from bench.leaderboard.question_columns import ATTACK_COLUMNS, MAP_COLUMNS
from bench.leaderboard.recipe_text import describe_trainings
from bench.leaderboard.statistics import MIN_RELIABLE_SEEDS
from bench.tasks.variant_names import has_questions
from mnistref.common.text_table import table
from mnistref.variants import VARIANTS

_CLAIM_COLUMNS = {column.name: column for column in (*ATTACK_COLUMNS, *MAP_COLUMNS)} | COLUMN_BY_NAME
"""The measures of claims."""
_MULTIPLICATIONS = "multiplications, millions"


def claims_to_text(results: Sequence[ClaimResult], markdown: bool = False) -> str:
    """Return the evaluated claims as tables, one per comparison group."""
    headings = ["claim", "source", "compared", "metric", "seeds", "difference", BOUNDS_HEADING, "published", "verdict"]
    parts = []
    for group in dict.fromkeys(result.group for result in results):
        of_group = [result for result in results if result.group == group]
        lines = [headings, *map(_claim_cells, of_group)]
        if any(result.multiplications for result in of_group):
            counts = [_MULTIPLICATIONS, *(_compare_counts(result.multiplications) for result in of_group)]
            lines = [[*line[:-1], count, line[-1]] for line, count in zip(lines, counts, strict=True)]
        lines = [[escape_markup(cell, markdown) for cell in line] for line in lines]
        parts.append(f"{'### ' * markdown}{escape_markup(group, markdown)}\n\n{table(lines, markdown)}")
    return "\n\n".join([*parts, "\n".join(_notes(results))])


def verdicts_to_text(results: Sequence[ClaimResult], markdown: bool = False) -> str:
    """Return the verdicts as a table for each recipe, with a row for each claim and a column for each data set.

    A claim about two data sets is in the column of the one with clutter.
    """
    parts = []
    for settings in dict.fromkeys(result.place.group.settings for result in results):
        alike = [result for result in results if result.place.group.settings == settings]
        places = sorted({_column(result.place) for result in alike}, key=_order)
        names = [name for name, _ in places]
        headings = [name if names.count(name) == 1 else dataset for name, dataset in places]
        rows: dict[tuple[str, str, str], dict[tuple[str, str], str]] = {}
        for result in alike:
            claim = (result.claim, result.compared, result.metric)
            rows.setdefault(claim, {})[_column(result.place)] = _verdict_cell(result, markdown)
        lines = [["claim", "compared", *headings]]
        measures = Counter(claim for claim, _ in {(claim, metric) for claim, _, metric in rows})
        for (claim_text, compared, metric), cells in rows.items():
            label = claim_text if measures[claim_text] == 1 else f"{claim_text}: {metric.replace('_', ' ')}"
            lines.append([label, compared, *(cells.get(place, "") for place in places)])
        lines = [[escape_markup(cell, markdown) for cell in line] for line in lines]
        asks = any(has_questions(result.place.group.variant) for result in alike)
        group = alike[0].place.group
        in_words = describe_trainings([group.recipe], asks)[group.recipe]
        title = escape_markup(group._replace(recipe=in_words).settings, markdown)
        parts.append(f"{'### ' * markdown}{title}\n\n{table(lines, markdown)}")
    return "\n\n".join([*parts, "\n".join(_notes(results))])


def _column(place: Place) -> tuple[str, str]:
    """Return the short and the full name of the images that a claim is about."""
    images = place.tested or place.group.dataset
    return images.rpartition("-")[0] or images, images


def _order(column: tuple[str, str]) -> tuple[int, str]:
    """Return the position of a column: variants in the order of their list, and then others by name."""
    names = list(VARIANTS)
    return (names.index(column[0]) if column[0] in names else len(names)), column[1]


def _verdict_cell(result: ClaimResult, markdown: bool) -> str:
    """Return verdict and difference; in Markdown, with its interval."""
    *_, difference, bounds, _, verdict = _claim_cells(result)
    if result.missing or not difference:
        return verdict
    return f"{verdict}, {difference}" + (f" ({bounds})" if markdown and bounds else "")


def _notes(results: Sequence[ClaimResult]) -> list[str]:
    """Return the notes that are necessary to interpret claims."""
    unit = "questions" if any(has_questions(result.place.group.variant) for result in results) else "images"
    notes = [f"differences of accuracy are in points, those of mask correctness in shares; 95 %: over seeds and {unit}"]
    notes += [FEW_SEEDS] * any(result.seeds < MIN_RELIABLE_SEEDS for result in results if not result.missing)
    notes += variant_notes(dict.fromkeys(result.place.group.variant for result in results))
    return notes + list(dict.fromkeys(result.note for result in results if result.note))


def _claim_cells(result: ClaimResult) -> list[str]:
    number_format = points if _CLAIM_COLUMNS[result.metric].number_format is percent else more
    difference, low, high, published = (
        format_value(number, number_format) for number in (result.difference, *result.bounds, result.published)
    )
    bounds = f"{low} … {high}" if low else ""
    words = [result.claim, result.source, result.compared, result.metric.replace("_", " "), str(result.seeds)]
    verdict = f"{result.verdict}: {result.missing}" if result.missing else result.verdict
    return [*words, difference, bounds, published, verdict]


def _compare_counts(counts: tuple[int | None, ...]) -> str:
    """Return the multiplications of two networks in millions, and their ratio; "" if one is not known."""
    first, second = counts or (None, None)
    return f"{amount(first / 1e6)} / {amount(second / 1e6)} = {first / second:.1f} ×" if first and second else ""
