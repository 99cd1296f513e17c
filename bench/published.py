"""The papers' own numbers, for setting beside measured ones. From `published.csv`: accuracies there are in percent."""

import csv
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files


@dataclass(frozen=True)
class Published:
    """One printed value: accuracies as fractions in 0 … 1."""

    value: float
    source: str


@lru_cache(maxsize=1)
def _table() -> dict[tuple[str, str, str], Published]:
    """(variant, attn, measure) → value. Where both papers print one, ARNN's, which has every mechanism in one table."""
    rows = csv.DictReader(files("bench").joinpath("published.csv").read_text(encoding="utf-8").splitlines())
    table = {}
    for row in sorted(rows, key=lambda row: row["source"].startswith("ARNN")):
        percent = row["measure"].startswith("accuracy") or row["measure"] == "tpr"
        value = float(row["value"]) / 100 if percent else float(row["value"])
        table[row["variant"], row["attn"], row["measure"]] = Published(round(value, 6), row["source"])
    return table


def published(variant: str, attn: str, measure: str = "accuracy") -> Published | None:
    """What the papers print of a mechanism on a variant, or None."""
    return _table().get((variant, attn, measure))
