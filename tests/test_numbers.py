"""Numbers as people write them."""

from __future__ import annotations

import pytest

from scalinglaws.numbers import listed, percent, scientific, show, span


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1.234e15, 1, "1.2×10¹⁵"),
        (1.9e-7, 0, "2×10⁻⁷"),
        (-3e4, 1, "−3.0×10⁴"),
        (9.99e19, 1, "1.0×10²⁰"),  # rounding moves the power
        (1.0, 2, "1.00×10⁰"),
    ],
)
def test_powers_of_ten(value, digits, text):
    assert scientific(value, digits) == text


def test_intervals_and_letters():
    assert span((0.12345, 0.5)) == "0.123 to 0.500"
    assert span((1, 2), 0) == "1 to 2"
    assert span((-0.1, 0.25), 2) == "−0.10 to +0.25"
    with pytest.raises(ValueError, match="unpack"):
        span((1.0, 2.0, 3.0))
    assert percent(0.256) == "26 %"
    assert listed([1, -2.345], 1) == "1.0, −2.3"
    assert show(73.2e9) == "73.2 B"
    assert show(250_000.0) == "250,000"
    assert show(-12_345.0) == "−12,340"
    assert show(1234.0) == "1234"
    assert show(5.8e23) == "5.800×10²³"
    assert show(0.513, (0.47, 0.55)) == "0.513 (0.470 to 0.550)"
