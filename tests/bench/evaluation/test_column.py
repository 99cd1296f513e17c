"""Columns and their bounds."""

from bench.evaluation.column import reorder, with_suffixes
from bench.evaluation.columns import COLUMN_BY_NAME


def test_reorder_moves_columns_in_front_of_others():
    columns = [COLUMN_BY_NAME[name] for name in ("rank", "attn", "seeds")]
    assert [c.name for c in reorder(columns, {"seeds": "rank"})] == ["seeds", "rank", "attn"]
    assert with_suffixes(["a", "b"], ("_x",)) == ["a", "a_x", "b", "b_x"]
