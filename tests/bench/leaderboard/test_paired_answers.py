"""Arrays of several runs that answered the same questions, and the intervals of a board that follow from them."""

import numpy as np

from bench.leaderboard.paired_answers import common_array, pair_answers, stack_array
from bench.leaderboard.statistics import bootstrap_interval, sign_flip_p_value
from tests.bench.leaderboard.helpers import rows, with_answers

IMAGE = np.array([0, 0, 1])
ONE = {"right": np.array([1, 0, 1], np.uint8), "image": IMAGE}
OTHER = {"right": np.array([0, 0, 1], np.uint8), "image": IMAGE}
SHORT = {"right": np.array([1, 0], np.uint8)}


def test_an_array_of_all_runs_is_stacked():
    stacked = stack_array([ONE, OTHER], "right")
    assert stacked.dtype == np.float64
    assert stacked.tolist() == [[1, 0, 1], [0, 0, 1]]


def test_an_array_that_a_run_lacks_is_not_stacked():
    for answers in ([], [ONE, None], [ONE, {}], [ONE, SHORT]):
        assert stack_array(answers, "right") is None


def test_a_common_array_is_that_of_every_run():
    assert common_array([ONE, OTHER], "image") is IMAGE
    for answers in ([], [ONE, None], [ONE, SHORT], [None, ONE], [ONE, {"image": np.array([0, 1, 1])}]):
        assert common_array(answers, "image") is None


def test_pairs_have_a_difference_and_the_images_of_the_questions():
    pair = pair_answers([ONE], [OTHER], "right")
    assert pair.difference.tolist() == [[1, 0, 0]]
    assert pair.images is IMAGE
    assert pair_answers([ONE], [{"right": OTHER["right"]}], "right").images is None


def test_runs_without_partners_are_no_pairs():
    for first, second in (([], []), ([ONE], []), ([ONE], [SHORT]), ([ONE, ONE], [OTHER]), ([ONE], [None])):
        assert pair_answers(first, second, "right") is None


def test_intervals_of_all_questions_are_over_images():
    """1,000 questions about 100 images: intervals, differences and p follow from the images."""
    image, changes = np.arange(1000) // 10, {"queries": "all"}
    runs = [*with_answers("pan", 1, 0.8, 1), *with_answers("san", 1, 0.75, 2)]
    for each in runs:
        each |= changes
        each["answers"]["image"] = image
    made = {row["attn"]: row for row in rows(*runs)}
    right = [each["answers"]["right"].astype(float)[None] for each in runs]
    for name, values in (("pan", right[0]), ("san", right[1])):
        bounds = made[name]["accuracy_lo"], made[name]["accuracy_hi"]
        assert bounds == tuple(bootstrap_interval(values, images=image))
    inside = np.arange(1000) % 2 == 1
    bounds = made["pan"]["accuracy_scale_1.0_1.5_lo"], made["pan"]["accuracy_scale_1.0_1.5_hi"]
    assert bounds == tuple(bootstrap_interval(right[0][:, inside], images=image[inside]))
    bounds = made["pan"]["difference_lo"], made["pan"]["difference_hi"]
    assert bounds == tuple(bootstrap_interval(right[0] - right[1], paired=True, images=image))
    assert made["pan"]["p_value"] == sign_flip_p_value(*right, image)
