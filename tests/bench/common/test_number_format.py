"""Text formats of measured numbers."""

import pytest

from bench.common import number_format


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("percent", 0.68249, "68.2"),
        ("percent", 1, "100.0"),
        ("points", 0.0125, "+1.2"),
        ("points", -0.125, "−12.5"),
        ("share", 2 / 3, "0.667"),
        ("more", -0.1, "−0.100"),
        ("more", 0.25, "+0.250"),
        ("chance", 0.00099, "< 0.001"),
        ("chance", 0.001, "0.001"),
        ("ratio", 1.005, "1.00"),
        ("count", 1234567.0, "1,234,567"),
        ("amount", 0.012345, "0.0123"),
        ("amount", 99.96, "100"),
        ("amount", 1234.5, "1,234"),
        ("rounded", 12345.6, "12346"),
        ("scientific", 0.00034, "3e-04"),
    ],
)
def test_numbers_are_formatted_with_their_digits_and_signs(name, value, text):
    assert getattr(number_format, name)(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (59.4 * 60, "59 min"),
        (59.6 * 60, "1 h"),
        (200 * 60, "3 h 20 min"),
        (47 * 3600 + 59 * 60, "47 h 59 min"),
        (48 * 3600, "2 days"),
        (52 * 3600, "2 days 4 h"),
    ],
)
def test_durations_have_at_most_two_units(seconds, text):
    assert number_format.describe_duration(seconds) == text
