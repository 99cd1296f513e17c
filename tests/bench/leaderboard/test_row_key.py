"""The key of a row: the name of the data set, and values that early versions omit."""

from bench.evaluation.columns import board_columns
from bench.leaderboard.row_key import ROW_KEY, computing_text, format_of, row_key
from tests.bench.leaderboard.helpers import result


def test_the_key_of_a_row_has_the_folder_name_of_the_data_set_and_early_results_ran_eagerly():
    assert (
        row_key(result("pan", seed=3, capture=None))
        == row_key(result("pan", 0.1))
        == {
            "variant": "mbg",
            "dataset": "mbg-0123456789ab",
            "attn": "pan",
            "recipe": "fast",
            "queries": "one",
            "precision": "fp32",
            "capture": "eager",
            "device": "cpu",
        }
    )
    assert row_key(result(capture="graph"))["capture"] == "graph"
    assert set(ROW_KEY) <= set(board_columns())


def test_results_of_early_versions_have_format_1():
    assert [format_of(result()), format_of(result(result_format=1)), format_of(result(result_format=7))] == [1, 1, 7]


def test_computing_is_named_if_it_is_not_fp32_without_capture_on_a_cpu():
    assert computing_text(result()) == computing_text(result(capture=None)) == ""
    on_gpu = result(precision="bf16", capture="graph", device="cuda", result_format=7)
    assert computing_text(on_gpu) == "bf16, graph, cuda, result format 7"
