"""The distributions of many generated images follow the declared sampling law."""

import numpy as np
import pytest
from scipy import stats

from mnistref.queries import eligible
from mnistref.rendering.render import draw_images, no_photos
from mnistref.rendering.rng import normal_thresholds
from mnistref.rendering.scene import Glyphs, make_law, make_tools
from mnistref.spec import COLORS, SCALE_BINS
from mnistref.storage.schema import Arrays, empty
from mnistref.variants import VARIANTS

REFERENCE = np.array(list(COLORS.values()))
SHARES = {100: (71, 17, 5.6, 3.3, 2.9), 224: (31, 24, 19, 15, 11)}
MIN_P = 0.001


def draw(variant: str, images: int, digits, seed: int = 11) -> Arrays:
    """Return scenes and images without a background photo."""
    spec = VARIANTS[variant]
    members = np.argsort(digits.labels, kind="stable")
    start = np.searchsorted(digits.labels[members], np.arange(11))
    glyphs = Glyphs(np.ascontiguousarray(digits.images.transpose(0, 2, 1)), members, start)
    arrays, law = empty(images, spec.canvas), make_law(spec)
    draw_images(law, glyphs, no_photos(), make_tools(law), np.uint64(seed), 0, 0, arrays)
    return arrays


@pytest.fixture(scope="module")
def at_100(digits) -> Arrays:
    return draw("mref", 12_000, digits)


@pytest.fixture(scope="module")
def at_224(digits) -> Arrays:
    return draw("mbgb", 4_000, digits)


@pytest.fixture(params=["at_100", "at_224"])
def arrays(request) -> Arrays:
    return request.getfixturevalue(request.param)


def test_number_of_digits_is_uniform(arrays):
    counts = np.bincount(arrays.count)[5:]
    assert len(counts) == 5
    assert stats.chisquare(counts).pvalue > MIN_P


def test_classes_are_distinct_and_uniform_in_every_slot(arrays):
    for row in arrays.digit_class[:2000]:
        shown = row[row >= 0]
        assert len(set(shown)) == len(shown)
    for slot in range(9):
        shown = arrays.digit_class[:, slot]
        assert stats.chisquare(np.bincount(shown[shown >= 0], minlength=10)).pvalue > MIN_P


def test_colors_of_digits_are_uniform_and_independent(arrays):
    color = arrays.digit_color
    assert stats.chisquare(np.bincount(color[color >= 0], minlength=5)).pvalue > MIN_P
    pairs = np.bincount(
        color[:, 0].astype(int) * 5 + color[:, 1], minlength=25
    )  # with replacement, so equal pairs occur too
    assert stats.chisquare(pairs).pvalue > MIN_P


def test_color_noise_is_one_normal_value_for_all_channels(arrays):
    there = arrays.digit_color >= 0
    rgb = arrays.digit_rgb[there].astype(int)
    reference = REFERENCE[arrays.digit_color[there]]
    noise = rgb - reference
    free = (rgb > 0) & (rgb < 255)
    middle = np.median(np.where(free, noise, -999), axis=1)
    for channel in range(3):
        at = free[:, channel] & (middle > -999)
        own = noise[at, channel]
        expected = np.clip(reference[at] + own[:, None], 0, 255)
        np.testing.assert_array_equal(rgb[at], expected)
    white = noise[(reference == 224).all(axis=1), 0]  # clipped at +31 only
    white = white[white < 31]
    cdf = np.concatenate([[0], normal_thresholds(10).astype(float) / 2.0**64])
    low = np.arange(-40, 31, 10)
    observed = np.histogram(white, [*low, 31])[0]
    mass = np.array([cdf[b + 80] - cdf[a + 80] for a, b in zip(low, [*low[1:], 31], strict=True)])
    assert stats.chisquare(observed, mass / mass.sum() * observed.sum()).pvalue > MIN_P


def test_first_digit_has_the_unconditioned_law(arrays):
    """The first digit is never rejected: its scale is uniform, and so is its position given the scale."""
    scale, box = arrays.digit_scale[:, 0], arrays.digit_box[:, 0].astype(int)
    canvas = arrays.image.shape[1]
    assert stats.kstest(scale, stats.uniform(0.5, 2.5).cdf).pvalue > MIN_P
    room = canvas - (box[:, 2] - box[:, 0]) + 1
    for axis in (0, 1):
        jittered = (box[:, axis] + np.random.default_rng(0).random(len(box))) / room
        assert stats.kstest(jittered, "uniform").pvalue > MIN_P


@pytest.mark.parametrize("variant", ["mref", "mbgb"])
def test_share_of_digits_in_each_scale_bin(variant, request):
    arrays = request.getfixturevalue("at_100" if variant == "mref" else "at_224")
    scale = arrays.digit_scale[arrays.digit_class >= 0]
    shares = [100 * ((scale >= low) & (scale < high)).mean() for low, high in SCALE_BINS]
    np.testing.assert_allclose(shares, SHARES[VARIANTS[variant].canvas], atol=1.0)
    np.testing.assert_allclose(shares, 100 * np.array(VARIANTS[variant].expected_shares), atol=1.0)
    assert sum(shares) == pytest.approx(100)


@pytest.mark.parametrize(("variant", "percent"), [("mref", 2.3), ("mbgb", 1.05)])
def test_mean_ink_of_a_digit(variant, percent, request):
    arrays = request.getfixturevalue("at_100" if variant == "mref" else "at_224")
    ink = (arrays.instance > 0).sum() / arrays.count.sum() / arrays.image.shape[1] ** 2
    assert 100 * ink == pytest.approx(percent, rel=0.06)
    assert ink == pytest.approx(VARIANTS[variant].expected_ink, rel=0.05)


def test_boxes_lie_inside_and_have_the_side_of_their_scale(arrays):
    there = arrays.digit_class >= 0
    box, scale = arrays.digit_box[there].astype(int), arrays.digit_scale[there].astype(np.float64)
    assert box.min() >= 0
    assert box.max() <= arrays.image.shape[1]
    side = np.floor(28 * scale)
    np.testing.assert_array_equal(box[:, 2] - box[:, 0], side)
    np.testing.assert_array_equal(box[:, 3] - box[:, 1], side)
    assert (scale >= 0.5).all()
    assert (scale < 3.0).all()
    assert (arrays.digit_scale[~there] == 0).all()
    assert (arrays.digit_box[~there] == 0).all()


def test_a_box_holds_no_ink_of_an_earlier_digit(arrays):
    for instance, boxes, count in zip(arrays.instance[:500], arrays.digit_box, arrays.count, strict=False):
        for k in range(count):
            y0, x0, y1, x1 = boxes[k]
            inside = instance[y0:y1, x0:x1]
            assert (inside == k + 1).any()
            assert not ((inside > 0) & (inside < k + 1)).any()


def test_own_query_is_uniform_over_the_digits(arrays):
    for n in range(5, 10):
        slots = arrays.query_slot[arrays.count == n]
        assert stats.chisquare(np.bincount(slots, minlength=n)).pvalue > MIN_P
    row = np.arange(len(arrays.count))
    np.testing.assert_array_equal(arrays.query, arrays.digit_class[row, arrays.query_slot])
    np.testing.assert_array_equal(arrays.label, arrays.digit_color[row, arrays.query_slot])
    np.testing.assert_array_equal(arrays.scale, arrays.digit_scale[row, arrays.query_slot])


def test_mbginv_queries_a_color_that_occurs_once(digits):
    arrays = draw("mbginv", 4000, digits)
    fit = eligible(VARIANTS["mbginv"], arrays.digit_class, arrays.digit_color)
    row = np.arange(len(arrays.count))
    assert fit[row, arrays.query_slot].all()
    for colors, slot in zip(arrays.digit_color, arrays.query_slot, strict=True):
        assert (colors == colors[slot]).sum() == 1
    np.testing.assert_array_equal(arrays.query, arrays.digit_color[row, arrays.query_slot])
    np.testing.assert_array_equal(arrays.label, arrays.digit_class[row, arrays.query_slot])
    assert stats.chisquare(np.bincount(arrays.query, minlength=5)).pvalue > MIN_P
    assert stats.chisquare(np.bincount(arrays.label, minlength=10)).pvalue > MIN_P


def test_mbgmulti_repeats_the_queried_class_in_different_colors(digits):
    arrays = draw("mbgmulti", 4000, digits)
    times = []
    for classes, colors, query in zip(arrays.digit_class, arrays.digit_color, arrays.query, strict=True):
        repeated = classes == query
        times.append(repeated.sum())
        assert len(set(colors[repeated])) == repeated.sum()
        others = classes[(classes >= 0) & ~repeated]
        assert len(set(others)) == len(others)
    assert stats.chisquare(np.bincount(times)[2:]).pvalue > MIN_P
    assert stats.chisquare(np.bincount(arrays.query, minlength=10)).pvalue > MIN_P
    slots = arrays.query_slot[arrays.count == 5]  # the order of placement does not determine the query
    assert stats.chisquare(np.bincount(slots, minlength=5)).pvalue > MIN_P


def test_mini_has_two_to_four_small_digits(digits):
    arrays = draw("mini", 6000, digits)
    assert stats.chisquare(np.bincount(arrays.count)[2:]).pvalue > MIN_P
    scale = arrays.digit_scale[arrays.digit_class >= 0]
    assert (scale >= 0.5).all()
    assert (scale < 1.0).all()
    ink = (arrays.instance > 0).sum() / arrays.count.sum() / 48**2
    assert ink == pytest.approx(VARIANTS["mini"].expected_ink, rel=0.05)


def test_distractors_lie_below_the_digits_and_saturate(digits):
    plain, arrays = draw("mref", 300, digits), draw("mdist", 300, digits)
    np.testing.assert_array_equal(plain.instance, arrays.instance)  # both have the same digits
    outside = arrays.instance == 0
    lit = (arrays.image[outside] > 0).any(axis=-1).mean()
    assert 0.03 < lit < 0.12  # 17 patches of 2 … 14 px with ink in part of each
    assert (plain.image[outside] == 0).all()
    opaque = (plain.image == arrays.image).all(axis=-1) & ~outside
    assert opaque[~outside].mean() > 0.8
