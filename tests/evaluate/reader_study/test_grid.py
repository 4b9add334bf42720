"""Greys of the two sides in one window."""

import numpy as np
import pytest

from scansmith.evaluate.reader_study.grid import fit_greys, greys_apart

RNG = np.random.default_rng(0)
REAL = RNG.normal(50, 60, 4000)


def sides(synthetic):
    return {"real": [REAL], "synthetic": [synthetic]}


def test_alike_sides_have_nothing_to_be_told():
    greys = fit_greys("ct", [REAL], (-150.0, 250.0))
    assert greys_apart("ct", greys, sides(RNG.normal(60, 50, 4000))) == []


@pytest.mark.parametrize(
    ("synthetic", "greys_are"),
    [
        (REAL / 1000, "synthetic 96 to 96"),  # 255 * 150 / 400: one grey
        ((REAL + 150) * 255 / 400, "synthetic "),
        (REAL + 120, "synthetic "),
        (50 + 0.2 * (REAL - 50), "synthetic "),
    ],
    ids=["thousandths", "0 to 255", "brighter", "flatter"],
)
def test_sides_in_other_units_are_told(synthetic, greys_are):
    greys = fit_greys("ct", [REAL], (-150.0, 250.0))
    (note,) = greys_apart("ct", greys, sides(synthetic))
    assert note.startswith("ct: in the window that fits real cases (-150 to 250)")
    assert greys_are in note
    assert "Are both sets in the same units?" in note


def test_pictures_with_a_window_each_have_no_common_one():
    greys = fit_greys("flair", [np.abs(REAL)], None)
    assert greys_apart("flair", greys, sides(REAL / 1000)) == []
