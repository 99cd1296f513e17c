"""Data sets with other ranges than those of their variant: the law, the name, the card and the refusals."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cli
import mnistref
from mnistref.dataset import read_manifest
from mnistref.generation.generate import generate, plan, request_of
from mnistref.generation.plan import Request
from mnistref.inspection.statistics import statistics
from mnistref.inspection.verify import verify
from mnistref.metadata.card import card
from mnistref.rendering.reference import Reference
from mnistref.rendering.render import Photos, draw_images, no_photos
from mnistref.rendering.scene import Glyphs, make_law, make_tools
from mnistref.spec import VariantSpec
from mnistref.storage.schema import FIELDS, Arrays, empty, require_valid
from mnistref.variants import VARIANTS, change_law, find_changes, options_of_changes
from tests.commands import call
from tests.mnistref.rendering.test_render import some_photos

TINY = {"sizes": {"train": 3, "val": 2, "test": 5}, "digits": "mnist5k"}


def draw(law: VariantSpec, digits, images: int, seed: int = 0, photos: Photos | None = None) -> Arrays:
    """Return compiled images, by default without photos."""
    members = np.argsort(digits.labels, kind="stable")
    start = np.searchsorted(digits.labels[members], np.arange(11))
    arrays, integers = empty(images, law.canvas), make_law(law)
    glyphs = Glyphs(np.ascontiguousarray(digits.images.transpose(0, 2, 1)), members, start)
    assert (
        draw_images(integers, glyphs, photos or no_photos(), make_tools(integers), np.uint64(seed), 0, 0, arrays) == -1
    )
    return arrays


@st.composite
def laws(draw_value) -> VariantSpec:
    """Return laws with room: the boxes of all digits cover at most 30 % of the canvas."""
    low = draw_value(st.floats(0.1, 1))
    high = draw_value(st.floats(low, 1.2))
    fewest = draw_value(st.integers(1, 9))
    most = draw_value(st.integers(fewest, 9))
    least = int(28 * high * (most / 0.3) ** 0.5) + 1
    return change_law(VARIANTS["mref"], (low, high), (fewest, most), draw_value(st.integers(least, least + 60)))


@settings(max_examples=15, deadline=None)
@given(law=laws(), seed=st.integers(0, 2**63 - 1))
@example(law=change_law(VARIANTS["mref"], (4, 4.3), (1, 1), 121), seed=3)
@example(law=change_law(VARIANTS["mref"], (1.7, 1.7), (5, 9), 190), seed=3)
def test_scales_counts_and_positions_are_within_the_ranges(law, seed, digits):
    arrays = draw(law, digits, 4, seed)
    there = arrays.digit_class >= 0
    scale, box = arrays.digit_scale[there].astype(np.float64), arrays.digit_box[there].astype(int)
    assert law.digits[0] <= arrays.count.min() <= arrays.count.max() <= law.digits[1]
    np.testing.assert_array_equal(there.sum(1), arrays.count)
    assert law.scales[0] - 2.0**-22 <= scale.min() <= scale.max() <= law.scales[1] + 2.0**-22
    np.testing.assert_array_equal(box[:, 2] - box[:, 0], np.floor(28 * scale))
    assert box.min() >= 0
    assert box.max() <= law.canvas == arrays.image.shape[1]
    for row in arrays.digit_class:
        assert len(set(row[row >= 0])) == (row >= 0).sum()
    require_valid(arrays._asdict(), 4, law.canvas, "drawn")


@pytest.mark.parametrize("changes", [{"scales": (0.7, 1.3)}, {"digits": (1, 2), "canvas": 61, "scales": (0.31, 1)}])
def test_reference_renderer_equals_the_compiled_one(changes, digits):
    law = change_law(VARIANTS["mdist"], **changes)
    members = np.argsort(digits.labels, kind="stable")
    fast, slow = draw(law, digits, 3), empty(3, law.canvas)
    assert Reference(law, 0, 0, digits.images, digits.labels, members, no_photos()).draw_images(0, slow) == -1
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name), err_msg=name)


@pytest.mark.parametrize("variant", ["mone", "mbg"])
def test_both_renderers_draw_distractors_over_photos_and_below_digits(variant, digits):
    plain = VARIANTS[variant]
    law = change_law(plain, distractors=17)
    assert f"{variant} --distractors 17" in " ".join([variant, *options_of_changes(find_changes(law))])
    assert law.note == "changed, so its law is not the papers': 17 distractors instead of 0"
    photos, members = some_photos(100), np.argsort(digits.labels, kind="stable")
    drawn = []
    for spec in (law, plain):
        arrays, fields = empty(3, 100), {"split": 0, "labels": digits.labels, "members": members, "photos": photos}
        assert Reference(spec, 7, digits=digits.images, **fields).draw_images(0, arrays) == -1
        drawn.append(arrays)
    cluttered, clean = drawn
    fast = draw(law, digits, 3, 7, photos)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(fast, name), getattr(cluttered, name), err_msg=name)
        if name != "image":
            np.testing.assert_array_equal(getattr(clean, name), getattr(cluttered, name), err_msg=name)
    changed = (cluttered.image != clean.image).any(-1)
    assert 0.02 < changed.mean() < 0.4
    assert (cluttered.image >= clean.image)[clean.instance == 0].all()


@pytest.fixture(scope="module")
def changed(root):
    """Return a data set of mini with other ranges."""
    return generate(Request("mini", root, scales=(0.4, 0.7), digits_per_image=[1, 3], canvas=50, **TINY), workers=1)


def test_changed_data_set_is_verified_and_generated_again_by_its_record(changed, root):
    assert verify(changed) == []
    manifest = read_manifest(changed)
    assert manifest.variant == change_law(VARIANTS["mini"], (0.4, 0.7), (1, 3), 50)
    request = request_of(manifest)
    assert {name: request[name] for name in ("scales", "digits_per_image", "canvas")} == {
        "scales": [0.4, 0.7],
        "digits_per_image": [1, 3],
        "canvas": 50,
    }
    assert plan(Request(root=root, **request)).folder == changed
    words = options_of_changes(request)
    sizes = [word for split, n in TINY["sizes"].items() for word in (f"--{split}", n)]
    arguments = ["generate", "--variant", "mini", "--root", root, "--digits", "mnist5k", *sizes, *words, "--dry-run"]
    done = call(cli.mnistref, *arguments)
    assert done.stdout.strip() == str(changed)
    assert (
        "its law is not the papers': scale 0.4–0.7 instead of 0.5–1; digits per image 1–3 instead of 2–4" in done.stderr
    )
    assert mnistref.load(changed, "test").variant.canvas == 50


def test_card_says_that_the_law_is_not_the_papers(changed):
    text = (changed / "README.md").read_text(encoding="utf-8")
    assert text == card(read_manifest(changed))
    assert "its law is not the papers'" in text
    assert "canvas 50 px instead of 48 px" in text
    assert "--scales 0.4,0.7 --digits-per-image 1,3 --canvas 50" in text
    assert "Scale s ~ U(0.4, 0.7)" in text
    assert "its law is not the papers'" in (changed / "croissant.json").read_text(encoding="utf-8")


def test_laws_are_checked_by_the_ranges_of_the_data_set(changed):
    laws = {(law.split, law.law): law for law in statistics(changed)}
    assert laws["test", "scale within its range"].expected == "0.4–0.7"
    assert ("test", "digits in an image: 1–3, uniform") in laws
    assert all(law.holds for law in laws.values())


def test_one_number_of_digits_has_no_test_of_uniformity(root):
    folder = generate(Request("mini", root, scales=(0.8, 0.8), digits_per_image=(2, 2), **TINY), workers=1)
    law = next(law for law in statistics(folder) if law.law == "digits in an image: 2, uniform")
    assert (law.p, law.holds) == (None, True)
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert "Images of 2 coloured digits" in text
    assert "Scale s = 0.8, side" in text


REFUSED = [
    (["--scales", "3,1"], "0 < LOW ≤ HIGH"),
    (["--scales", "0,1"], "0 < LOW ≤ HIGH"),
    (["--scales", "1,nan"], "0 < LOW ≤ HIGH"),
    (["--scales", "0.01,1"], "smaller than a pixel"),
    (["--scales", "1,x"], "give two numbers LOW,HIGH"),
    (["--scales", "1,2,3"], "give two numbers LOW,HIGH"),
    (["--digits-per-image", "5,10"], "1 ≤ LOW ≤ HIGH ≤ 9"),
    (["--digits-per-image", "5,4"], "1 ≤ LOW ≤ HIGH ≤ 9"),
    (["--digits-per-image", "2.5"], "give two whole numbers"),
    (["--canvas", "83"], "a digit at scale 3 has 84 px"),
    (["--canvas", "2000"], "from 1 to 1024"),
    (["--scales", "2,2"], "9 digits at scale 2 do not fit on 100 px"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_impossible_ranges_are_usage_errors_of_one_line(options, message, root):
    arguments = ["generate", "--variant", "mref", "--root", root, "--digits", "mnist5k", "--test", "5", *options]
    error = call(cli.mnistref, *arguments, code=2).stderr
    assert message in error
    assert error.count("\n") == 1
