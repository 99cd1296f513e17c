"""Messages about excluded photos."""

from mnistref.sources.exclusions import COPY, HIDDEN, OTHER, SMALLER, Exclusions


def test_exclusion_reasons_are_one_line_with_counts():
    left = Exclusions()
    assert not left
    for reason, many in ((COPY, 1_200), (SMALLER, 4), (HIDDEN, 1), (OTHER, 6)):
        for k in range(many):
            left.add(reason, f"{k}.jpg" if reason is not OTHER else f".{k}")
    assert str(left) == (
        "1 hidden file or folder, 6 other files (.0, .1, .2, .3, .4 …), 1,200 copies, "
        "4 smaller or recompressed copies of other photos (0.jpg, 1.jpg, 2.jpg …)"
    )
