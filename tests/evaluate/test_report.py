from __future__ import annotations

import pytest

from scansmith.evaluate.report import _gauge, _number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0"), (7, "7"), (12000, "12,000"), (0.66049, "0.660"),
        (26.0206, "26.0"), (-7.97, "-7.97"), (131000.4, "131,000"), (3.2e8, "3.20e+08"),
        (0.00012, "1.20e-04"), (9.999, "10.00"),
    ],
)  # fmt: skip
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert _number(value) == text


def test_the_gauge_keeps_the_dot_on_the_line() -> None:
    among = {"median": 1.0, "interval": [0.25, 1.0]}
    inside = _gauge({"real_vs_real": among, "real_vs_synthetic": {"median": 0.75}})
    # The line ends at 3 times the upper end; places are square roots: sqrt(0.25 / 3) = 0.289.
    assert inside == {"low": 28.9, "width": pytest.approx(28.8), "at": 50.0}
    far = _gauge({"real_vs_real": among, "real_vs_synthetic": {"median": 500.0}})
    assert far is not None
    assert 90 < far["at"] < 100
    assert _gauge({"verdict": "close"}) is None
