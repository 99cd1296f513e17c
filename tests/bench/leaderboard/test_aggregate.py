"""The rows of a leaderboard: means, intervals, ranks and differences of given results."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.evaluation.columns import COUNTS, MAP_SCORES, SCALES, board_columns
from bench.leaderboard import statistics
from bench.leaderboard.aggregate import build_board
from bench.leaderboard.formatting import from_csv, to_csv, to_text
from bench.leaderboard.statistics import bootstrap_interval, wilson_interval
from mnistref.variants import VARIANTS, change_law
from tests.bench.leaderboard.helpers import failed, of_bins, result, rows, with_answers
from tests.bench.record_strategies import RIGHT

CONTRACT = set(
    "rank variant attn seeds accuracy accuracy_lo accuracy_hi mask_correctness tpr relative_runtime train_step_ms "  # noqa: SIM905
    "infer_ms_per_image params peak_memory_mb published_accuracy published_source delta status recipe queries dataset "
    "device precision bench_version accuracy_scale_0.5_1.0 accuracy_scale_2.5_3.0".split()
)


def test_board_has_the_documented_columns():
    assert set(board_columns()) >= CONTRACT
    assert list(build_board([result()]).columns) == board_columns()
    assert list(build_board([]).columns) == board_columns()


def test_accuracies_of_seeds_are_averaged_with_the_t_interval():
    values = [0.80, 0.82, 0.87]
    (row,) = rows(*(result(accuracy=a, seed=s) for s, a in enumerate(values)))
    assert row["seeds"] == 3
    assert row["accuracy"] == pytest.approx(0.83)
    low, high = stats.t.interval(0.95, 2, loc=0.83, scale=stats.sem(values))
    assert (row["accuracy_lo"], row["accuracy_hi"]) == pytest.approx((low, high))


def test_row_of_one_seed_has_wilsons_interval_over_the_images():
    (row,) = rows(result(accuracy=0.8))
    z, n, p = stats.norm.ppf(0.975), 1000, 0.8
    center, half = (
        (p + z * z / 2 / n) / (1 + z * z / n),
        z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n) / (1 + z * z / n),
    )
    assert (row["accuracy_lo"], row["accuracy_hi"]) == pytest.approx((center - half, center + half))


@pytest.mark.parametrize(
    "change",
    [
        {"spec_id": "ffffffffffff"},
        {"recipe": "fast,epochs=3"},
        {"queries": "all"},
        {"precision": "bf16"},
        {"device": "NVIDIA H200"},
        {"result_format": 2},
        {"variant": "mref"},
    ],
)
def test_runs_that_differ_in_more_than_the_seed_are_never_averaged(change):
    made = rows(result(accuracy=0.5), result(accuracy=0.9, seed=1, **change))
    assert sorted(row["accuracy"] for row in made) == [0.5, 0.9]
    assert all(row["seeds"] == 1 for row in made)


def test_versions_of_one_result_format_share_a_row():
    (row,) = rows(result(), result(seed=1, bench_version="0.2.0", result_format=1))
    assert (row["seeds"], row["bench_version"]) == (2, "0.1.0; 0.2.0")
    (row,) = rows(result(), failed(seed=1, bench_version="0.2.0"))
    assert (row["seeds"], row["bench_version"]) == (1, "0.1.0; 0.2.0")


def test_a_row_names_its_hardware():
    one, other = "AMD EPYC, 1 thread", "AMD EPYC, 2 threads"
    made = rows(*(result(seed=seed, hardware=name) for seed, name in enumerate([other, one, other])), result("pan"))
    assert {row["attn"]: row["hardware"] for row in made} == {"arnn": f"{one}; {other}", "pan": "cpu"}


def test_row_names_its_commits_and_the_text_names_rows_of_different_commits():
    of = {"arnn": ["b2", "a1", None], "pan": ["a1"]}
    found = build_board([result(a, seed=s, commit=c) for a, commits in of.items() for s, c in enumerate(commits)])
    assert dict(zip(found["attn"], found["commits"], strict=True)) == {"arnn": "a1; b2", "pan": "a1"}
    assert re.search(r"2 commits of bench.*: a1, b2$", to_text(found), re.MULTILINE)
    assert "commits of bench" not in to_text(build_board([result(commit="a1"), result("pan")]))
    digits = build_board([result(commit="012345678901")])
    assert from_csv(to_csv(digits))["commits"].tolist() == ["012345678901"]


def test_ranks_are_by_accuracy_within_a_data_set():
    made = rows(
        result("san", 0.6),
        result("arnn", 0.9),
        result("pan", 0.7),
        result("arnn", 0.3, variant="mref", spec_id="b" * 12),
    )
    assert [(r["variant"], r["attn"], r["rank"]) for r in made] == [
        ("mbg", "arnn", 1),
        ("mbg", "pan", 2),
        ("mbg", "san", 3),
        ("mref", "arnn", 1),
    ]


def test_a_run_and_its_copy_are_one_seed():
    (row,) = rows(result(accuracy=0.8), result(accuracy=0.8), result(accuracy=0.6, seed=1))
    assert (row["seeds"], row["accuracy"]) == (2, pytest.approx(0.7))
    assert row["status"] == "ok, 1 of a seed that counts once"


def test_times_are_medians_over_the_seeds():
    (row,) = rows(*(result(seed=k, relative_runtime=r, train_step_ms=100 * r) for k, r in enumerate((4.0, 4.5, 9.0))))
    assert (row["relative_runtime"], row["train_step_ms"]) == (4.5, 450.0)


def test_size_of_the_training_is_a_median_and_may_be_unknown():
    made = rows(*(result(seed=k, questions_seen=n, device_hours=n / 4) for k, n in enumerate((4, 6, 90))))
    assert [(row["questions_seen"], row["device_hours"]) for row in made] == [(6, 1.5)]
    (unknown,) = rows(result())
    assert pd.isna(unknown["questions_seen"])
    assert pd.isna(unknown["device_hours"])


def test_ranks_are_among_rows_of_one_recipe_and_unit_of_queries():
    made = rows(result("arnn", 0.9), result("pan", 0.8, queries="all"), result("san", 0.7, queries="all"))
    assert [(r["attn"], r["rank"]) for r in made] == [("arnn", 1), ("pan", 1), ("san", 2)]


def test_rows_of_a_data_set_are_sorted_by_accuracy_whatever_their_recipe():
    made = rows(
        result("san", 0.5, recipe="fast,epochs=3"),
        result("pan", 0.7, recipe="fast,epochs=20"),
        result("arnn", 0.9, recipe="fast,epochs=3"),
        result("san", 0.6, recipe="fast,epochs=20"),
        result("pan", 0.7, recipe="fast,epochs=3"),
        result("han", 0.95, variant="mref"),
        failed("cbam"),
    )
    order = [(r["variant"], r["attn"], r["recipe"], None if pd.isna(r["rank"]) else r["rank"]) for r in made]
    assert order == [
        ("mbg", "arnn", "fast,epochs=3", 1),
        ("mbg", "pan", "fast,epochs=20", 1),
        ("mbg", "pan", "fast,epochs=3", 2),
        ("mbg", "san", "fast,epochs=20", 2),
        ("mbg", "san", "fast,epochs=3", 3),
        ("mbg", "cbam", "fast", None),
        ("mref", "han", "fast", 1),
    ]


def test_difference_to_published_values_needs_their_digits():
    (theirs,) = rows(result("arnn"))
    assert theirs["delta"] == pytest.approx(theirs["accuracy"] - theirs["published_accuracy"])
    (other,) = rows(result("arnn", dataset={"spec_id": "0", "digits": "mnist5k", "backgrounds": "builtin"}))
    assert math.isnan(other["delta"])


def test_failed_and_diverged_runs_are_counted_but_not_averaged():
    (row,) = rows(result(accuracy=0.8), failed(seed=1), failed(seed=2, status="diverged"), failed(seed=3))
    assert (row["seeds"], row["accuracy"], row["status"]) == (1, 0.8, "1 diverged, 2 failed, 1 ok")
    (row,) = rows(failed())
    assert (row["seeds"], row["status"]) == (0, "1 failed")
    assert math.isnan(row["accuracy"])
    assert pd.isna(row["rank"])


def test_a_changed_law_has_no_published_values():
    note = change_law(VARIANTS["mbg"], scales=(0.5, 1.0)).note
    plain, changed = rows(result(note=note, spec_id="a" * 12), result())
    assert math.isnan(changed["published_accuracy"])
    assert math.isnan(changed["delta"])
    assert pd.isna(changed["published_source"])
    assert plain["published_accuracy"] == 0.8584


def test_board_has_published_values_next_to_measured_values():
    (row,) = rows(result("arnn", 0.80))
    assert (row["published_accuracy"], row["published_source"]) == (0.8584, "ARNN T1")
    assert row["delta"] == pytest.approx(-0.0584)
    (row,) = rows(result("none"))
    assert math.isnan(row["published_accuracy"])


def test_intervals_differences_and_ranks_are_computed_from_answers():
    kinds = {"san": (0.6, 1), "pan": (0.605, 2), "arnn": (0.8, 3)}
    kept = {attn: with_answers(attn, 5, *kind) for attn, kind in kinds.items()}
    by = {row["attn"]: row for row in rows(*(run for runs in kept.values() for run in runs))}
    assert {attn: row["rank"] for attn, row in by.items()} == {"arnn": 1, "pan": 2, "san": 2}
    for attn, row in by.items():
        right = np.stack([run["answers"]["right"] for run in kept[attn]])
        assert (row["accuracy_lo"], row["accuracy_hi"]) == bootstrap_interval(right.astype(float))
        bounds = row["accuracy_scale_1.0_1.5_lo"], row["accuracy_scale_1.0_1.5_hi"]
        assert bounds == bootstrap_interval(right[:, 1::2].astype(float))
        assert math.isnan(row["accuracy_scale_2.5_3.0_lo"])
        assert row["mask_correctness_lo"] < row["mask_correctness_hi"]
        assert math.isnan(row["tpr_lo"])
    assert by["arnn"]["difference"] == pytest.approx(by["arnn"]["accuracy"] - by["san"]["accuracy"])
    assert by["arnn"]["p_value"] == 2 / 32
    assert by["pan"]["difference_lo"] < 0 < by["pan"]["difference_hi"]
    assert math.isnan(by["san"]["difference"])
    assert "rows of a recipe with the same rank" in to_text(
        build_board(with_answers("san", 5, 0.6, 1) + with_answers("pan", 5, 0.6, 2))
    )


def test_differences_use_common_seeds():
    san, arnn = with_answers("san", 2, 0.6, 1), with_answers("arnn", 3, 0.8, 3)
    row = next(row for row in rows(*san, *arnn) if row["attn"] == "arnn")
    differences = [b["accuracy"] - a["accuracy"] for a, b in zip(san, arnn, strict=False)]
    assert row["difference"] == pytest.approx(np.mean(differences))


def test_without_the_baseline_or_answers_there_are_no_differences():
    for made in (rows(*with_answers("pan", 2, 0.6, 1)), rows(result("san", 0.5), result("pan", 0.9))):
        assert all(math.isnan(row["difference"]) and math.isnan(row["p_value"]) for row in made)
    assert [row["baseline"] for row in rows(result("san", 0.5), result("pan", 0.9))] == ["san", "san"]
    both = with_answers("san", 2, 0.6, 1) + with_answers("arnn", 2, 0.8, 3)
    other = next(row for row in rows(*both, baseline="arnn") if row["attn"] == "san")
    assert other["difference"] < 0


def test_board_of_one_variant_has_only_rows_of_this_variant():
    assert [r["variant"] for r in rows(result(), result(variant="mref"), variant="mref")] == ["mref"]


def test_a_bin_with_one_question_has_bounds_only_where_seeds_agree():
    """One question gives no variance over questions, so different answers of seeds have no bounds."""
    bins = [0, 0, 0, 1, 4]
    unlike = [of_bins("san", 0, [1, 0, 1, 1, 0], bins), of_bins("san", 1, [1, 0, 0, 1, 1], bins)]
    (row,) = rows(*unlike)
    assert row["accuracy_scale_2.5_3.0"] == 0.5
    assert math.isnan(row["accuracy_scale_2.5_3.0_lo"])
    assert math.isnan(row["accuracy_scale_2.5_3.0_hi"])
    assert (row["accuracy_scale_1.0_1.5_lo"], row["accuracy_scale_1.0_1.5_hi"]) == wilson_interval(1.0, 1)
    assert 0 <= row["accuracy_scale_0.5_1.0_lo"] <= row["accuracy_scale_0.5_1.0"]
    assert "nan" not in to_text(build_board(unlike))


def test_single_question_gives_no_comparison():
    made = [of_bins(attn, seed, [(seed + k) % 2], [2]) for k, attn in enumerate(("san", "pan")) for seed in (0, 1)]
    for row in rows(*made):
        assert (row["rank"], row["accuracy"]) == (1, 0.5)
        assert math.isnan(row["accuracy_lo"])
    made = [of_bins(attn, 0, [k], [2]) for k, attn in enumerate(("san", "pan"))]
    pan, san = rows(*made)
    assert (pan["difference"], pan["p_value"], pan["rank"], san["rank"]) == (1.0, 1.0, 1, 1)
    assert (pan["difference_lo"], pan["difference_hi"]) == pytest.approx((1 - 2 * wilson_interval(0.0, 1).hi, 1))


def test_answers_with_missing_or_other_bins_bound_only_the_accuracy():
    one, other = of_bins("san", 0, [1, 0, 1], [0, 0, 1]), of_bins("san", 1, [1, 1, 1], [0, 1, 1])
    for made in ([one, other], [one | {"answers": {"right": one["answers"]["right"]}}]):
        (row,) = rows(*made)
        assert not math.isnan(row["accuracy_lo"])
        assert math.isnan(row["accuracy_scale_0.5_1.0_lo"])


def test_measure_missing_for_one_seed_has_no_mean():
    (row,) = rows(result(), result(seed=1, tpr=None), result(seed=2, mask_correctness=0.6))
    assert math.isnan(row["tpr"])
    assert row["mask_correctness"] == pytest.approx(0.4)


def test_rows_with_and_without_counts_share_a_board():
    """Records of an earlier version have no counts."""
    found = {row["attn"]: row for row in rows(result("san", **{COUNTS[0]: 7}), result("pan"))}
    assert found["san"][COUNTS[0]] == 7
    assert pd.isna(found["pan"][COUNTS[0]])


def test_row_of_seeds_with_equal_accuracy_has_wilsons_interval():
    (row,) = rows(*(result(accuracy=0.8, seed=seed) for seed in range(3)))
    assert (row["accuracy_lo"], row["accuracy_hi"]) == pytest.approx(wilson_interval(0.8, 1000))


def test_bounds_contain_the_mean_of_unrounded_values():
    looks = np.full(8, 0.1234567)
    kept = {
        "right": np.ones(8, np.uint8),
        "scale_bin": np.zeros(8, np.int8),
        "mask_correctness": looks.astype(np.float16),
    }
    (row,) = rows(result(accuracy=1.0, n_test=8, mask_correctness=float(looks[0]), answers=kept))
    assert row["mask_correctness_lo"] <= row["mask_correctness"] <= row["mask_correctness_hi"]
    assert row["mask_correctness_hi"] - row["mask_correctness_lo"] < 1e-3


MECHANISMS = ("san", "pan", "pan-ctx", "arnn", "none")


@st.composite
def any_runs(draw) -> list[dict]:
    """Draw results of a data set: any mechanisms, seeds, questions and scale bins, with ties and constant values."""
    questions = draw(st.one_of(st.integers(1, 30), st.integers(31, 300)))
    bins = np.random.default_rng(draw(st.integers(0, 99))).integers(-1, draw(st.integers(0, 5)), questions)
    made = []
    for attn in draw(st.lists(st.sampled_from(MECHANISMS), min_size=1, max_size=4, unique=True)):
        pattern, key = RIGHT[draw(st.sampled_from(sorted(RIGHT)))], draw(st.integers(0, 9))
        stored = draw(st.sampled_from([True, True, True, False]))
        for seed in draw(st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True)):
            right = pattern(np.random.default_rng([seed, key]), questions, seed)
            score = np.random.default_rng([key, seed]).random(questions) * right
            answers = {"right": right.astype(np.uint8), "scale_bin": bins.astype(np.int8)}
            answers |= {name: score.astype(np.float16) for name in MAP_SCORES}
            metrics = {name: float(score.mean()) for name in MAP_SCORES}
            metrics |= {name: float(right[bins == k].mean()) for k, name in enumerate(SCALES) if (bins == k).any()}
            metrics |= {name: None for k, name in enumerate(SCALES) if not (bins == k).any()}
            metrics |= {"n_test": questions, "answers": answers if stored else None}
            made.append(result(attn, float(right.mean()), seed, **metrics))
    return made


PROPERTY = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=False)
def few_resamples():
    """Use few resamples: the properties hold for any number of resamples."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(statistics, "RESAMPLES", 99)
        yield


def same_boards(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    plain = [frame.astype(object).where(frame.notna(), None) for frame in (one, other)]
    pd.testing.assert_frame_equal(*plain, check_dtype=False, rtol=1e-12, atol=1e-12)
    return True


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs(), data=st.data())
def test_the_order_of_runs_does_not_change_a_board(made, data):
    assert same_boards(build_board(data.draw(st.permutations(made))), build_board(made))


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_intervals_contain_means_and_ranks_follow_from_intervals(made):
    board = rows(*made)
    for row in board:
        for name in ("accuracy", *SCALES, *MAP_SCORES, "difference"):
            low, mean, high = row[f"{name}_lo"], row[name], row[f"{name}_hi"]
            assert math.isnan(low) == math.isnan(high)
            assert math.isnan(low) or (-1 if name == "difference" else 0) <= low <= mean <= high <= 1
        assert math.isnan(row["p_value"]) or 0 < row["p_value"] <= 1
        assert row["attn"] != "san" or math.isnan(row["p_value"])
    assert [row["accuracy"] for row in board] == sorted((row["accuracy"] for row in board), reverse=True)
    assert board[0]["rank"] == 1
    for row in board:
        higher = [other for other in board if other["accuracy"] > row["accuracy"]]
        assert 1 <= row["rank"] <= 1 + len(higher)
        if row["attn"] != "san" and row["difference_lo"] > 0:  # significantly better than the baseline
            san = next(other for other in board if other["attn"] == "san")
            assert row["accuracy"] <= san["accuracy"] or san["rank"] > 1


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_a_duplicated_mechanism_ties_with_itself(made):
    """A copy under another name has the same numbers and the same rank, and no difference to the original."""
    copy = [{**run, "attn": "copy"} for run in made if run["attn"] == made[0]["attn"]]
    board = {row["attn"]: row for row in rows(*made, *copy, baseline=made[0]["attn"])}
    original, copied = board[made[0]["attn"]], board["copy"]
    for name in ("rank", "seeds", "accuracy", "accuracy_lo", "accuracy_hi", "mask_correctness_lo"):
        assert original[name] == copied[name] or (pd.isna(original[name]) and pd.isna(copied[name])), name
    if made[0]["answers"] is None:
        assert math.isnan(copied["difference"])
    else:
        assert (copied["difference"], copied["p_value"]) == (0, 1)
        assert copied["difference_lo"] < 0 < copied["difference_hi"]


@pytest.mark.usefixtures("few_resamples")
@PROPERTY
@given(made=any_runs())
def test_runs_of_another_data_set_do_not_change_a_board(made):
    other = [{**run, "dataset": {**run["dataset"], "spec_id": "f" * 12}} for run in made]
    both = build_board([*made, *other])
    for spec_id in ("0123456789ab", "f" * 12):
        part = both[both["dataset"] == f"mbg-{spec_id}"].reset_index(drop=True)
        assert same_boards(part.drop(columns="dataset"), build_board(made).drop(columns="dataset"))
