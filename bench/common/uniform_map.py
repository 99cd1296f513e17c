"""How a share on the queried digit compares with chance, by one rule for the table of a run, boards and the report.

Chance is the share of a uniform map, which is the area of the digit. It is also how often a random pixel is on the
digit. Pure.
"""

from enum import Enum

SIMILAR = 0.05
"""A share that differs from chance by less than this factor counts as equal to it."""


class Relation(Enum):
    """The relation of a share to chance."""

    BELOW = "below"
    EQUAL = "equal"
    ABOVE = "above"


def compare_with_chance(share: float, chance: float) -> Relation:
    """Return whether a share is below or above chance, or equal to it within the factor `SIMILAR`.

    Args:
        share: a share in 0 … 1.
        chance: the same of a uniform map, or of a random pixel.
    """
    if abs(share - chance) < SIMILAR * chance or share == chance:
        return Relation.EQUAL
    return Relation.BELOW if share < chance else Relation.ABOVE


def is_below_uniform(share: float | None, uniform: float | None) -> bool:
    """Return whether both shares are known, and the first is below that of a uniform map."""
    return share is not None and uniform is not None and compare_with_chance(share, uniform) is Relation.BELOW
