from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from scansmith.evaluate.cases import CaseMeasures, Plan
from scansmith.evaluate.distance import wasserstein
from scansmith.evaluate.feature_distances import networks
from scansmith.evaluate.planes import PLANES, cuts, over_planes
from scansmith.evaluate.view import Shared
from scansmith.evaluate.windows import Window


def test_cuts_have_square_pixels_and_show_what_lies_there() -> None:
    # 10 slices 4 mm apart, of 12 x 20 pixels of 1 and 2 mm. Values: 100 a row, 10 a column.
    z, y, x = np.mgrid[0:10, 0:12, 0:20]
    image = 100.0 * y + 10 * x + 0.25 * z
    sagittal = cuts(image, (4.0, 1.0, 2.0), 2, low=-1, most=4)
    assert sagittal.shape == (4, 40, 12)  # 40 mm by 12 mm
    # Columns 0, 6, 13 and 19; new row n lies at (n - 1.5) / 4 slices.
    assert sagittal[1, 1 + 4 * 5 : 3 + 4 * 5, 7].mean() == pytest.approx(700 + 60 + 0.25 * 5)
    coronal = cuts(image, (4.0, 1.0, 2.0), 1, low=-1, most=12)
    assert coronal.shape == (12, 20, 20)  # 40 mm by 40 mm in pixels of 2 mm
    axial = cuts(image, (4.0, 1.0, 2.0), 0, low=-1, most=2)
    assert axial.shape == (2, 12, 40)
    np.testing.assert_allclose(axial[0, :, 0], 100 * np.arange(12), atol=1e-4)


def test_cuts_through_nothing_are_taken_from_the_middle_and_large_ones_get_coarser() -> None:
    assert cuts(np.zeros((8, 8, 8)), (1.0, 1.0, 1.0), 1, low=0, most=8).shape == (2, 8, 8)
    assert cuts(np.ones((8, 8, 512)), (1.0, 1.0, 1.0), 1, low=0, most=2).shape == (2, 4, 256)


def test_the_distance_over_planes_is_the_mean_of_theirs() -> None:
    # The planes' values are 1, 2 and 6 apart: 9 / 3.
    a = np.array([[0, 5.0], [1, 5.0], [2, 5.0]])
    b = np.array([[0, 6.0], [1, 7.0], [2, 11.0]])
    assert over_planes(wasserstein)(a, b) == pytest.approx(3)


def _cases(seed: int, shift: float, thick: bool = True) -> list[CaseMeasures]:
    rng = np.random.default_rng(seed)
    found = []
    for n in range(6):
        planes = {
            ("ct", p): rng.normal(shift * i, 1, (4, 3)) for i, p in enumerate(PLANES.values())
        }
        name = f"{seed}_{n}"
        found.append(
            CaseMeasures(
                name,
                name,
                (9, 9, 9),
                (1.0, 1.0, 1.0),
                {},
                {},
                network={"ct": planes["ct", "axial"]},
                planes=planes if thick else {},
            )
        )
    return found


def _plan() -> Plan:
    shared = Shared(("ct",), ("background",), (), "any label")
    return Plan(shared, (Window(0, 1, 1, True, "declared"),), network=lambda slices: slices)


def test_networks_are_compared_in_two_dimensions_and_in_three_planes() -> None:
    real, synthetic = _cases(0, 0.0), _cases(1, 2.0)
    found = networks(real, synthetic, _plan(), 0)["ct"]
    three = found["three_planes"]["frechet"]
    expected = []
    for plane in PLANES.values():
        a, b = (np.concatenate([c.planes["ct", plane] for c in side]) for side in (real, synthetic))
        mean, sd = a.mean(0), a.std(0)
        a, b = (a - mean) / sd, (b - mean) / sd
        cov = np.cov(a.T), np.cov(b.T)
        root = sqrtm(cov[0] @ cov[1]).real
        gap = np.sum((a.mean(0) - b.mean(0)) ** 2)
        expected.append(gap + np.trace(cov[0] + cov[1] - 2 * root))
    assert list(three["planes"].values()) == pytest.approx(expected)
    assert three["value"] == pytest.approx(np.mean(expected))
    assert found["frechet"]["value"] == pytest.approx(three["planes"]["axial"])
    assert three["planes"]["sagittal"] > three["planes"]["coronal"] > three["planes"]["axial"]
    assert three["verdict"] == "far"
    assert (three["real_samples"], three["real_patients"]) == (6 * 12, 6)
    assert set(found["neighbours"]) == {"precision", "density", "recall", "coverage"}


def test_thin_volumes_have_two_dimensions_only() -> None:
    found = networks(_cases(0, 0.0), _cases(1, 0.0, thick=False), _plan(), 0)["ct"]
    assert found["frechet"]["value"] >= 0
    assert found["three_planes"]["kernel"]["value"] is None
    assert "no volumes of 8 voxels" in found["three_planes"]["kernel"]["reason"]
