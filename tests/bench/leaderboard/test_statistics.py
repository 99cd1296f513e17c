"""Intervals, tests and ranks compared with SciPy, with values worked by hand, and with simulations."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, Philox
from scipy import stats

from bench.leaderboard import statistics
from bench.leaderboard.statistics import (
    RESAMPLES,
    bootstrap_interval,
    difference_interval,
    rank_rows,
    sign_flip_p_value,
    student_interval,
    wilson_interval,
)


def answers(seeds: int, questions: int, share: float = 0.8, spread: float = 0.0, key: int = 0) -> np.ndarray:
    """Return right answers, 0 or 1, f8 (S, T); `spread` is the standard deviation of the seeds' shares."""
    rng = np.random.default_rng(key)
    shares = share + spread * rng.standard_normal((seeds, 1))
    return (rng.random((seeds, questions)) < shares).astype(float)


@pytest.mark.parametrize("questions", [37, 500])
def test_interval_of_one_seed_equals_scipy_over_questions(questions):
    values = answers(1, questions)
    theirs = stats.bootstrap((values[0],), np.mean, method="BCa", n_resamples=RESAMPLES, rng=np.random.default_rng(1))
    near = max(1.01 / questions, 0.15 / np.sqrt(questions))  # the mean of few questions has few possible values
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs.confidence_interval), abs=near)


def test_interval_of_scipys_samples_is_that_of_scipy():
    """Every question is its own block, so the samples of questions are those that SciPy draws."""
    values, draws = answers(1, 200), {"n_resamples": RESAMPLES, "rng": Generator(Philox(statistics._SEED))}
    theirs = stats.bootstrap((values[0],), np.mean, method="BCa", **draws)
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


@pytest.mark.parametrize("seeds", [2, 5, 9])
def test_interval_of_several_seeds_equals_scipy_over_seeds_and_questions(seeds):
    """Seeds and questions are crossed: the mean is over the drawn seeds' answers to the drawn questions."""
    values = answers(seeds, 61, spread=0.1)

    def mean(drawn, asked):
        return values[np.ix_(drawn, asked)].mean()

    parts = np.arange(seeds), np.arange(61)
    theirs = stats.bootstrap(
        parts, mean, vectorized=False, method="BCa", n_resamples=RESAMPLES, rng=np.random.default_rng(1)
    )
    low, high = theirs.confidence_interval
    assert bootstrap_interval(values) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_blocks_of_questions_change_an_interval_little():
    """10,000 questions in 500 blocks are compared with the normal interval over the questions of one seed."""
    values = answers(1, 10_000)
    half = 1.96 * values.std() / 100
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_questions_of_one_image_count_as_one():
    """8,000 questions in groups of four equal ones count as 2,000: the interval is twice as wide."""
    once = answers(1, 2_000)
    widths = [np.diff(bootstrap_interval(values))[0] for values in (once, np.repeat(once, 4, axis=1))]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


@pytest.mark.parametrize(("images", "per_image"), [(60, 7), (499, 2), (900, 3)])
def test_equal_answers_to_all_questions_of_an_image_count_once(images, per_image):
    values, image = answers(2, images, spread=0.1), np.arange(images)
    repeated, of_question = np.repeat(values, per_image, axis=1), np.repeat(image, per_image)
    assert bootstrap_interval(repeated, images=of_question) == pytest.approx(bootstrap_interval(values), abs=1e-12)
    assert bootstrap_interval(values, images=image) == bootstrap_interval(values)
    p_values = [sign_flip_p_value(v[:1], 1 - v[1:], i) for v, i in ((values, None), (repeated, of_question))]
    assert p_values[0] == pytest.approx(p_values[1], abs=1e-12)
    assert bootstrap_interval(np.ones((1, 420)), images=np.repeat(np.arange(60), 7)) == wilson_interval(1.0, 60)


def test_an_interval_over_images_with_different_numbers_of_questions_is_that_of_scipy():
    """The mean of the questions is a ratio of two sums over images."""
    rng = np.random.default_rng(2)
    counts = rng.integers(1, 10, 80)
    images = np.repeat(np.arange(80), counts) * 3  # some images have no questions
    right = (rng.random(len(images)) < np.repeat(rng.random(80), counts)).astype(float)
    sums = np.add.reduceat(right, np.cumsum(counts) - counts)
    theirs = stats.bootstrap(
        (sums, counts),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        method="BCa",
        n_resamples=RESAMPLES,
        rng=np.random.default_rng(1),
    )
    low, high = theirs.confidence_interval
    found = bootstrap_interval(right[None], images=images)
    assert found == pytest.approx((low, high), abs=0.1 * (high - low))
    assert np.diff(found)[0] > 1.3 * np.diff(bootstrap_interval(right[None]))[0]


def test_the_interval_of_one_image_with_different_answers_is_unknown():
    assert np.isnan(bootstrap_interval(np.array([[1.0, 0.0, 1.0]]), images=np.zeros(3, int))).all()
    assert sign_flip_p_value(np.array([[1.0, 1.0]]), np.zeros((1, 2)), np.zeros(2, int)) == 1


@pytest.mark.parametrize(("seeds", "least"), [(1, 0.9), (20, 0.88)])
def test_bootstrap_interval_has_nominal_coverage(seeds, least):
    """About 95 % of 150 intervals contain the true value; a larger share would be too wide."""
    spread = 0.0 if seeds == 1 else 0.02
    found = [bootstrap_interval(answers(seeds, 300, 0.7, spread, key)) for key in range(150)]
    held = np.mean([low <= 0.7 <= high for low, high in found])
    assert least <= held < 1


def test_constant_values_have_a_point_or_wilson_interval():
    assert bootstrap_interval(np.ones((3, 100))) == wilson_interval(1.0, 100)
    assert bootstrap_interval(np.zeros((1, 50))) == wilson_interval(0.0, 50)
    assert wilson_interval(1.0, 100).hi == 1
    assert 0.95 < wilson_interval(1.0, 100).lo < 0.97
    assert bootstrap_interval(np.full((2, 30), 0.25)) == (0.25, 0.25)
    assert bootstrap_interval(np.tile([1.0, 0.0], 500)[None]) == (0.5, 0.5)  # every block has one of each


def test_interval_of_zero_differences_is_wilsons_on_both_sides():
    assert bootstrap_interval(np.zeros((1, 50)), paired=True) == (
        -wilson_interval(0.0, 50).hi,
        wilson_interval(0.0, 50).hi,
    )


def test_percentiles_are_the_bounds_where_bca_has_none():
    """The square of the smaller value is 0 in floating point, and BCa divides by it."""
    values = np.array([[0.0, 1e-166]])
    assert bootstrap_interval(values) == (0.0, 1e-166)


def test_interval_of_equal_seeds_is_over_questions_only():
    one = answers(1, 200)
    assert bootstrap_interval(np.repeat(one, 3, axis=0)) == bootstrap_interval(one)


def test_interval_is_deterministic_and_does_not_use_the_generator_of_numpy():
    values = answers(3, 100, spread=0.1)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002, this generator must not change
    assert bootstrap_interval(values) == bootstrap_interval(values)
    assert sign_flip_p_value(values, 1 - values) == sign_flip_p_value(values, 1 - values)
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


@pytest.mark.parametrize("seeds", [2, 5, 7])
def test_p_value_over_seeds_counts_all_sign_flips(seeds):
    values, baseline = answers(seeds, 90, 0.8, 0.1, 1), answers(seeds, 90, 0.75, 0.1, 2)
    differences = values.mean(1) - baseline.mean(1)
    flipped = [abs(np.mean(differences * signs)) for signs in itertools.product((1, -1), repeat=seeds)]
    expected = np.mean([value >= abs(differences.mean()) * (1 - 1e-12) for value in flipped])
    assert sign_flip_p_value(values, baseline) == pytest.approx(expected)
    assert sign_flip_p_value(baseline, values) == pytest.approx(expected)


def test_p_value_of_one_seed_is_over_questions():
    """The p-value equals McNemar's exact test if every question is its own block."""
    values, baseline = answers(1, 400, 0.8, key=1), answers(1, 400, 0.72, key=2)
    better, worse = int((values > baseline).sum()), int((values < baseline).sum())
    exact = stats.binomtest(better, better + worse).pvalue
    assert sign_flip_p_value(values, baseline) == pytest.approx(exact, abs=0.012)
    assert sign_flip_p_value(values, values) == 1.0


@pytest.mark.parametrize(("questions", "better"), [(14, 0.9), (700, 0.72), (1000, 0.7)])
def test_p_value_over_questions_is_that_of_scipy(questions, better):
    """The differences of 14 questions are few enough for ties with the observed value."""
    values, baseline = answers(1, questions, better, 0.05, 3), answers(1, questions, 0.7, 0.05, 4)
    sums, _ = statistics._blocks(values - baseline, None)
    draws = {"n_resamples": statistics.FLIPS, "rng": Generator(Philox(statistics._SEED))}
    expected = stats.permutation_test((sums[0],), np.mean, permutation_type="samples", vectorized=True, **draws)
    assert 0 < expected.pvalue < 1
    assert sign_flip_p_value(values, baseline) == expected.pvalue


def test_p_value_is_uniform_without_a_difference():
    found = [sign_flip_p_value(answers(8, 200, 0.7, 0.05, k), answers(8, 200, 0.7, 0.05, 1000 + k)) for k in range(150)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_rank_rows_counts_better_rows():
    better = [[False, False, True, True], [False, False, False, True], [False, False, False, False], [False] * 4]
    assert rank_rows(better) == [1, 1, 2, 3]
    assert rank_rows([]) == []


UNKNOWN = pytest.approx((np.nan, np.nan), nan_ok=True)


def test_interval_of_one_question_is_wilsons():
    """Equal values have Wilson's bounds, for one seed and for seven."""
    assert bootstrap_interval(np.array([[1.0], [0.0]])) == UNKNOWN
    assert bootstrap_interval(np.array([[1.0], [0.0], [0.0]]), paired=True) == UNKNOWN
    for seeds in (1, 7):
        assert bootstrap_interval(np.ones((seeds, 1))) == wilson_interval(1.0, 1)
        assert bootstrap_interval(np.zeros((seeds, 1))) == wilson_interval(0.0, 1)
        assert bootstrap_interval(np.full((seeds, 1), 0.25)) == UNKNOWN
        assert bootstrap_interval(np.zeros((seeds, 1)), paired=True) == (
            -wilson_interval(0.0, 1).hi,
            wilson_interval(0.0, 1).hi,
        )
    assert bootstrap_interval(np.array([[1.0, 0.0]])) != UNKNOWN


@pytest.mark.parametrize(("shape", "value"), [((0, 5), 0), ((3, 0), 0), ((2, 5), np.nan), ((2, 5), np.inf)])
def test_interval_of_no_values_or_nonfinite_values_is_unknown(shape, value):
    values = np.zeros(shape)
    values[:1, :1] = value
    assert bootstrap_interval(values) == UNKNOWN
    assert bootstrap_interval(values, paired=True) == UNKNOWN
    assert np.isnan(sign_flip_p_value(values, np.zeros(shape)))
    assert np.isnan(sign_flip_p_value(np.zeros(shape), values))


@pytest.mark.parametrize("value", [1.0, -1.0, 2.0, -2.0, 2 - 2e-16])
def test_interval_of_a_constant_difference_allows_unseen_differences(value):
    missed, most = wilson_interval(0.0, 40).hi, max(1.0, abs(round(value)))
    low, high = bootstrap_interval(np.full((3, 40), value), paired=True, max_difference=most)
    reach = 2 * most * missed
    assert (low, high) == pytest.approx((value - reach, value) if value > 0 else (value, value + reach))
    assert bootstrap_interval(np.full((3, 40), -value), paired=True, max_difference=most) == pytest.approx(
        (-high, -low)
    )
    if value == 1:
        assert bootstrap_interval(np.full((3, 40), value), paired=True, max_difference=2) == pytest.approx(
            (1 - 3 * missed, 1 + missed)
        )


def test_lead_at_one_question_is_not_significant():
    """The p-value of one question is 1. A lead at twenty questions is significant."""
    for questions, certain in ((1, False), (3, False), (20, True)):
        assert (bootstrap_interval(np.ones((1, questions)), paired=True).lo > 0) == certain
        assert (sign_flip_p_value(np.ones((1, questions)), np.zeros((1, questions))) < 0.05) == certain


def test_the_p_value_of_one_question():
    assert sign_flip_p_value(np.ones((1, 1)), np.zeros((1, 1))) == 1
    assert sign_flip_p_value(np.ones((1, 1)), np.ones((1, 1))) == 1
    assert sign_flip_p_value(np.ones((4, 1)), np.zeros((4, 1))) == 2 / 2**4


def test_students_interval_of_one_seed_is_undefined():
    assert student_interval([0.5]) == UNKNOWN
    assert student_interval([]) == UNKNOWN
    assert student_interval([0.5, np.nan]) == UNKNOWN
    assert student_interval([0.5, 0.6]) == (0.0, 1.0)
    assert student_interval([0.5, 0.5001, 0.5002]) == pytest.approx(
        stats.t.interval(0.95, 2, 0.5001, 1e-4 / np.sqrt(3))
    )


@pytest.mark.parametrize(("share", "questions"), [(0.5, 0), (0.5, -3), (np.nan, 5), (0.5, np.nan), (1.1, 5), (-0.1, 5)])
def test_wilson_interval_without_questions_or_share_is_unknown(share, questions):
    assert wilson_interval(share, questions) == UNKNOWN


def test_wilson_interval_contains_the_share():
    for questions in range(1, 601, 7):
        for right in {0, 1, questions // 2, questions - 1, questions}:
            low, high = wilson_interval(right / questions, questions)
            assert 0 <= low <= right / questions <= high <= 1
            assert low < high


PATTERNS = {
    "random": lambda rng, s, t: rng.random((s, t)) < rng.random(),
    "rare": lambda rng, s, t: rng.random((s, t)) < 0.005,
    "frequent": lambda rng, s, t: rng.random((s, t)) < 0.995,
    "one": lambda rng, s, t: np.eye(s, t, rng.integers(0, t)),
    "by seed": lambda rng, s, t: np.repeat(rng.random((s, 1)) < 0.5, t, axis=1),
    "by question": lambda rng, s, t: np.repeat(rng.random((1, t)) < 0.5, s, axis=0),
    "constant": lambda rng, s, t: np.full((s, t), rng.choice([0, 1, 0.3])),
    "in turn": lambda rng, s, t: np.add.outer(np.arange(s), np.arange(t)) % 2,
    "shares": lambda rng, s, t: rng.random((s, t)).astype(np.float16),
    "skewed": lambda rng, s, t: rng.random((s, t)) ** 40,
}


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(PATTERNS)), min_size=2, max_size=2),
    seeds=st.integers(1, 7),
    questions=st.one_of(st.integers(1, 12), st.integers(13, 600), st.sampled_from([499, 500, 501])),
    key=st.integers(0, 999),
    per_image=st.sampled_from([None, 1, 3, 9]),
)
def test_bounds_and_p_values_of_any_answers_are_in_range(kinds, seeds, questions, key, per_image):
    rng = np.random.default_rng(key)
    images = None if per_image is None else np.arange(questions) // per_image
    values, baseline = (PATTERNS[kind](rng, seeds, questions).astype(float) for kind in kinds)
    for of, least in ((values, 0.0), (values - baseline, -1.0)):
        low, high = bootstrap_interval(of, paired=least < 0, images=images)
        assert np.isnan(low) == np.isnan(high)
        assert not np.isnan(low) or questions <= (per_image or 1)
        assert np.isnan(low) or least <= low <= of.mean() <= high <= 1
    assert bootstrap_interval(baseline - values, True, images=images) == pytest.approx(
        (-high, -low), abs=0.2, nan_ok=True
    )
    p_value = sign_flip_p_value(values, baseline, images)
    assert 0 < p_value <= 1
    assert p_value == pytest.approx(sign_flip_p_value(baseline, values, images), abs=0.05)
    low, high = student_interval(list(values.mean(axis=1)))
    assert np.isnan(low) == (seeds == 1)
    assert np.isnan(low) or 0 <= low <= values.mean(axis=1).mean() <= high <= 1


@st.composite
def answer_sets(draw, mechanisms: int = 1) -> list[np.ndarray]:
    """Draw values of several mechanisms for the same seeds and questions, f8 (S, T) each."""
    seeds = draw(st.integers(1, 7))
    questions = draw(st.one_of(st.integers(1, 12), st.integers(13, 600), st.sampled_from([499, 500, 501])))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    kinds = draw(st.lists(st.sampled_from(sorted(PATTERNS)), min_size=mechanisms, max_size=mechanisms))
    return [PATTERNS[kind](rng, seeds, questions).astype(float) for kind in kinds]


@settings(max_examples=40, deadline=None)
@given(values=answer_sets())
def test_difference_of_a_network_to_itself_is_zero(values):
    (own,) = values
    low, high = bootstrap_interval(own - own, paired=True)
    assert low < 0 < high
    assert low == -high
    assert sign_flip_p_value(own, own) == 1


@settings(max_examples=40, deadline=None)
@given(values=answer_sets(), data=st.data())
def test_permuting_seeds_changes_bounds_only_by_resampling_noise(values, data):
    """Mean and p-value are unchanged; bounds of the bootstrap change by its noise."""
    (own,) = values
    other = data.draw(st.permutations(range(len(own))))
    baseline = np.zeros_like(own)
    assert sign_flip_p_value(own[other], baseline) == pytest.approx(sign_flip_p_value(own, baseline), abs=0.05)
    before, after = bootstrap_interval(own), bootstrap_interval(own[other])
    width = 0.0 if np.isnan(before.lo) else before.hi - before.lo
    assert after == pytest.approx(before, abs=0.35 * width + 1e-9, nan_ok=True)
    assert student_interval(own.mean(axis=1)[other].tolist()) == pytest.approx(
        student_interval(own.mean(axis=1).tolist()), nan_ok=True
    )


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 9).flatmap(
        lambda n: st.lists(st.lists(st.booleans(), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_rank_is_one_plus_the_number_of_better_rows(better):
    ranks = rank_rows(better)
    assert all(1 <= rank <= len(better) + 1 for rank in ranks)
    for j, rank in enumerate(ranks):
        assert rank == 1 + len([i for i in range(len(better)) if better[i][j]])


@settings(max_examples=200, deadline=None)
@given(right=st.integers(0, 500), wrong=st.integers(0, 500))
def test_wilsons_interval_shrinks_with_questions_and_mirrors_with_the_share(right, wrong):
    if right + wrong == 0:
        return
    share, questions = right / (right + wrong), right + wrong
    low, high = wilson_interval(share, questions)
    assert 0 <= low <= share <= high <= 1
    mirrored = wilson_interval(wrong / questions, questions)
    assert mirrored == pytest.approx((1 - high, 1 - low))
    four = wilson_interval(share, 4 * questions)
    assert four.hi - four.lo < high - low


def test_an_independent_difference_has_the_interval_of_newcombe():
    # Newcombe (Statistics in Medicine 17, 1998), table II, contrast (a), method 10: 56/70 − 48/80
    found = difference_interval(56 / 70, wilson_interval(56 / 70, 70), 48 / 80, wilson_interval(48 / 80, 80))
    assert found == pytest.approx((0.0524, 0.3339), abs=5e-5)
