"""Plots of the report: what they say where a side, or both, have nothing to plot."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.axes import Axes

from scansmith.evaluate import plots

NOTHING, SOME = np.empty(0), np.array([1.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("values", "legends"),
    [
        ([(NOTHING, NOTHING), (NOTHING, NOTHING)], []),  # no lesion in either set
        ([(NOTHING, NOTHING), (SOME, SOME), (SOME, SOME)], ["second"]),
        ([(SOME, SOME), (SOME, SOME)], ["first"]),
    ],
)
def test_the_legend_stands_in_the_first_panel_that_has_something(
    values, legends, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    drawn = Axes.legend

    def legend(self: Axes, *args: object, **options: object) -> object:
        found.append(self.get_title(loc="left"))
        return drawn(self, *args, **options)

    monkeypatch.setattr(Axes, "legend", legend)
    titles = ("first", "second", "third")
    panels = [(title, own, "mm", False) for title, own in zip(titles, values, strict=False)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plots._panels(panels)
    assert found == legends
