"""What a reader of the report sees first."""

from __future__ import annotations

from typing import Any

import pytest

from scansmith.evaluate.spread import UNTOLD
from scansmith.evaluate.verdicts import verdicts


def metrics_of(values: list[float | None], measure: str = "bias") -> dict[str, Any]:
    """An evaluation of pairs that are so in the lesion; biases are HU of a window of 400."""
    rows = [{"values": {"ct": {"lesion": {measure: value}}}} for value in values]
    names = ("texture", "intensity", "lesions", "structures", "continuity")
    empty: dict[str, Any] = {name: {} for name in names}
    return {
        **empty,
        "network": None,
        "faithfulness": None,
        "windows": {"ct": {"data_range": 400.0}},
        "pairs": {
            "fidelity": {"ct": {"lesion": {"n": len(values)}}},
            "cases": [*rows, {"values": {"ct": {}}}],
        },
    }


@pytest.mark.parametrize(
    ("biases", "word", "sentence"),
    [
        # 60 of 400 is 15 %, whichever way each of them is off.
        ([60.0, -60.0], "far", "60 off real in the mean case (brighter in 1 of 2 cases, darker in"),
        ([60.0, 60.0], "far", "60 brighter than real, 15 %"),
        # (4 + 4 + 16) / 3 = 8, which is 2 %: the last that is close.
        ([-4.0, -4.0, -16.0], "close", "8 darker than real, 2 %"),
        ([12.0, -12.0, None], "differs", "12 off real in the mean case (brighter in 1 of 2"),
        ([0.0, 0.0], "close", "0 off real, 0 %"),
        ([0.0, 4.0], "close", "2 brighter than real, 0.5 %"),
    ],
)  # fmt: skip
def test_opposite_biases_do_not_make_up_for_each_other(
    biases: list[float | None], word: str, sentence: str
) -> None:
    (row,) = verdicts(metrics_of(biases))
    assert (row["aspect"], row["verdict"]) == ("mean, in pairs", word)
    assert row["sentence"].startswith(sentence)


@pytest.mark.parametrize(
    ("ratios", "word", "sentence"),
    [
        # A fifth and five times: a factor of 5 each, though their mean is 2.6 and the geometric 1.
        ([0.2, 5.0], "far", "a factor of 5 off real in the mean case (more uneven in 1 of 2 cases"),
        # exp((ln 1.5 + ln 2 + ln 3) / 3) = 9 ** (1 / 3) = 2.08; two of them without the third 1.73.
        ([1.5, 2.0, 3.0], "far", "a factor of 2.08 more uneven than real"),
        ([1.5, 2.0, None], "differs", "a factor of 1.73 more uneven than real"),
        ([0.8, 0.8], "close", "a factor of 1.25 flatter than real"),
        ([1.0], "close", "a factor of 1 off real"),
        ([1.0, 0.0], "far", "0 in 1 of 2 cases, flatter than real"),
    ],
)  # fmt: skip
def test_flat_and_uneven_lesions_do_not_make_up_for_each_other(
    ratios: list[float | None], word: str, sentence: str
) -> None:
    (row,) = verdicts(metrics_of(ratios, "sd_ratio"))
    assert (row["aspect"], row["verdict"]) == ("spread, in pairs", word)
    assert row["sentence"].startswith(f"standard deviation {sentence}")


def test_a_distance_without_a_verdict_says_why() -> None:
    scale = {"median": 0.2, "interval": [0.0, 0.3]}
    found = {"verdict": None, "ratio": None, "reason": UNTOLD}
    found |= {"real_vs_real": {"median": 0.0, "interval": [0.0, 0.0]}, "real_vs_synthetic": scale}
    metrics = metrics_of([0.0]) | {"lesions": {"lesions per case": {"wasserstein": found}}}
    last = verdicts(metrics)[-1]
    assert (last["verdict"], last["sentence"]) == (None, UNTOLD)
    assert last["real_vs_synthetic"] == scale
