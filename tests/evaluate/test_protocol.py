"""A protocol changes when what decides a number changes, and only then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scansmith.evaluate import continuity, distance, features, fidelity, neighbours, protocol
from scansmith.evaluate.cases import Plan
from scansmith.evaluate.facts import Options
from scansmith.evaluate.information import information
from scansmith.evaluate.protocol import VERSIONS, protocol_id, state_protocols
from scansmith.evaluate.view import Shared
from scansmith.evaluate.windows import Window

WINDOW = Window(-140, 260, 400, True, "declared")
SHARED = Shared(("ct",), ("background", "liver", "tumour"), (2,), "names given")


def _metrics() -> dict[str, Any]:
    def values() -> dict[str, Any]:
        return {"wasserstein": {}, "kolmogorov_smirnov": {}}

    def of_features() -> dict[str, Any]:
        near = {name: {} for name in neighbours.MEASURES}
        return {"frechet": {}, "kernel": {}, "neighbours": near}

    return {
        "pairs": {"fidelity": {"ct": {"lesion": {"ssim": {}, "mi": {}, "psnr": {}}}}},
        "texture": {"ct": {"whole": of_features()}},
        "network": {
            "weights_sha256": "0" * 64,
            "ct": of_features() | {"three_planes": {"frechet": {}, "kernel": {}}},
        },
        "intensity": {"ct": {"whole": values()}},
        "lesions": {"lesion contrast, ct": values()},
        "structures": {"liver": values()},
        "continuity": {"ct": {"flicker": values()}},
        "faithfulness": {
            "facts": {"steps": 9, "pixel_mm": 1.0, "size": [8, 8]},
            "structures": {"liver": {}},
        },
        "windows": {"ct": WINDOW.as_dict()},
    }


def _ids(
    shared: Shared = SHARED, window: Window = WINDOW, options: Options | None = None, **changed: Any
) -> dict[str, str]:
    metrics = _metrics() | changed
    plan = Plan(shared, (window,))
    table = state_protocols(metrics, plan, options or Options())
    found = {}
    for id, facts in table.items():
        place = facts["aspect"], facts["modality"], facts["region"], facts["measure"]
        found["/".join(place)] = id
    assert len(found) == len(table) == 26  # no two numbers share one
    return found


def test_every_number_has_a_protocol_that_repeats() -> None:
    metrics = _metrics()
    table = state_protocols(metrics, Plan(SHARED, (WINDOW,)), Options())
    assert set(table) == set(_ids().values())
    ssim = metrics["pairs"]["fidelity"]["ct"]["lesion"]["ssim"]
    assert ssim["protocol"].startswith("ssim/1/")
    assert ssim["data_range"] == 400
    assert table[ssim["protocol"]]["window"] == {
        "low": -140, "high": 260, "data_range": 400, "clip": True, "own": False,
    }  # fmt: skip
    assert table[ssim["protocol"]]["sigma"] == fidelity.SSIM_SIGMA
    assert metrics["faithfulness"]["structures"]["liver"]["protocol"] in table


@pytest.mark.parametrize(
    "changed",
    [
        {"options": Options(seed=1)},
        {"options": Options(limit=5)},
        {"shared": replace(SHARED, lesion=(1, 2))},
    ],
)
def test_seed_limit_and_lesion_change_every_protocol(changed: dict[str, Any]) -> None:
    before, after = _ids(), _ids(**changed)
    assert all(before[place] != after[place] for place in before)


def test_a_setting_changes_the_protocols_of_what_it_decides() -> None:
    before = _ids()

    def changed(**how: Any) -> set[str]:
        after = _ids(**how)
        return {place.split("/")[0] for place in before if before[place] != after[place]}

    wider = changed(window=replace(WINDOW, low=-200.0, data_range=460.0))
    assert wider == {"pairs", "texture", "network", "network, three planes", "grey values",
                     "lesion contrast, ct", "flicker of slices"}  # fmt: skip
    assert changed(window=replace(WINDOW, source="fitted")) == set()  # the same ends
    assert changed(options=Options(pairs="none")) == {"pairs"}
    other = _metrics()["network"] | {"weights_sha256": "1" * 64}
    assert changed(network=other) == {"network", "network, three planes"}
    steps = {"steps": 10, "pixel_mm": 1.0, "size": [8, 8]}
    trained = {"facts": steps, "structures": {"liver": {}}}
    assert changed(faithfulness=trained) == {"label faithfulness"}


def test_a_version_of_a_formula_changes_its_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    before = protocol_id("ssim", {"a": 1})
    assert protocol_id("ssim", {"a": 1}) == before != protocol_id("ssim", {"a": 2})
    monkeypatch.setitem(protocol.VERSIONS, "ssim", 2)
    assert protocol_id("ssim", {"a": 1}).startswith("ssim/2/")
    assert protocol_id("ssim", {"a": 1})[7:] != before[7:]


def _numbers() -> dict[str, float]:
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (40, 44))
    y = np.clip(x + rng.normal(0, 0.1, x.shape), 0, 1)
    a, b = rng.normal(0, 1, (20, 3)), rng.normal(0.5, 1, (25, 3))
    regions = {"all": np.ones((1, *x.shape), bool)}
    radiomics = features.case_features(x[None], regions, (0.0, 1.0))["all"]
    volume = np.stack([x, y, x, 1 - y])
    return {
        "psnr": fidelity.psnr(x, y, 1),
        "ssim": fidelity.ssim(x, y, 1),
        "ms_ssim": fidelity.ms_ssim(x, y, 1),
        "mae": fidelity.mae(x, y),
        "mse": fidelity.mse(x, y),
        "bias": fidelity.bias(x, y),
        "sd_ratio": fidelity.sd_ratio(x, y),
        **information(x, y, np.ones(x.shape, bool)),
        "frechet": distance.frechet_distance(a, b),
        "kernel": distance.kernel_distance(a, b),
        "wasserstein": distance.wasserstein(a[:, 0], b[:, 0]),
        "kolmogorov_smirnov": distance.kolmogorov_smirnov(a[:, 0], b[:, 0]),
        **{n: float(v.mean()) for n, v in neighbours.neighbour_scores(a, b).items()},
        "radiomics": float(np.sum(radiomics)),
        **continuity.continuity_of(volume, (0.0, 1.0)),
    }


KNOWN = {
    "psnr": 20.46521947365512,
    "ssim": 0.9452527637851439,
    "ms_ssim": 0.9462384809454559,
    "mae": 0.07560253660146611,
    "mse": 0.008984171893028695,
    "bias": -0.0026081970765621243,
    "sd_ratio": 1.0365980827444607,
    "mi": 1.1818702362785611,
    "nmi": 0.3432478708544418,
    "frechet": 1.4689283743889905,
    "kernel": 1.8227089208786142,
    "wasserstein": 0.9995263803686989,
    "kolmogorov_smirnov": 0.58,
    "precision": 1.0,
    "density": 0.816,
    "recall": 0.9,
    "coverage": 0.95,
    "radiomics": 420.91274210633424,
    "step": 0.21920830442567715,
    "similarity": 0.3254861933615301,
    "flicker": 1.2655345525886754,
}


def test_who_changes_a_number_raises_the_version_of_its_formula() -> None:
    """If this fails, a formula is another: raise its version, then correct the number here.

    Versions are in VERSIONS, and beside the constants of texture, lesions and continuity.
    """
    assert _numbers() == pytest.approx(KNOWN, rel=1e-6)
    assert set(VERSIONS.values()) == {1}
