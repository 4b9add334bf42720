from __future__ import annotations

import numpy as np
import pytest

from scansmith.evaluate.windows import fit_window, in_own_ranges, voxel_sample
from scansmith.scan import SettingsError


def test_ct_in_hounsfield_units_is_seen_in_a_soft_tissue_window() -> None:
    found = fit_window("ct", [np.array([-1000.0, 0, 1500])])
    assert (found.low, found.high, found.data_range, found.clip) == (-140.0, 260.0, 400.0, True)
    assert "400 HU" in found.source
    assert found.applied(np.array([-1000.0, 40, 900])).tolist() == [-140.0, 40.0, 260.0]


def test_ct_without_air_is_not_taken_for_hounsfield_units() -> None:
    found = fit_window("ct", [np.linspace(0, 255, 1001)])
    assert found.low == pytest.approx(0.255)
    assert found.high == pytest.approx(254.745)
    assert "not taken for Hounsfield units" in found.source


def test_mr_is_seen_between_percentiles_of_the_real_set() -> None:
    found = fit_window("t1", [np.linspace(0, 1000, 1001), np.linspace(0, 1000, 1001)])
    assert found.data_range == pytest.approx(998, abs=1)
    assert "0.1 to 99.9 percentile" in found.source


def test_scans_in_scales_of_their_own_are_seen_each_in_its_own_range() -> None:
    small, large = np.linspace(0, 100, 1001), np.linspace(0, 100_000, 1001)
    found = fit_window("mr", [small, large])
    assert (found.low, found.high, found.data_range, found.own) == (0.0, 1.0, 1.0, True)
    assert "differ 1e+03 times" in found.source
    # 0.1 and 99.9 percentile of 0, 0.1, ..., 100 are 0.1 and 99.9: 50 lies in the middle of them.
    one = small.reshape(1, 1, 1, -1)
    seen = in_own_ranges(one, [found], one)
    assert seen[0, 0, 0, [1, 500, 999]] == pytest.approx([0, 0.5, 1], abs=1e-6)
    # Of a pair the real one's range counts: 50 is 49.9 of 99.8 thousandths of the large one's.
    pair = in_own_ranges(small.reshape(1, 1, 1, -1), [found], large.reshape(1, 1, 1, -1))
    assert pair[0, 0, 0, 500] == pytest.approx((50 - 100) / 99_800, abs=1e-6)
    assert not fit_window("mr", [small, 3 * small]).own
    assert not fit_window("mr", [small, large], data_range=5.0).own


def test_a_declared_window_is_clipped_to_and_a_declared_range_alone_is_not() -> None:
    window = fit_window("ct", [], window=(-100, 200))
    assert (window.data_range, window.clip, window.source) == (300.0, True, "declared")
    wide = fit_window("ct", [np.array([-1000.0, 0, 1500])], data_range=4096)
    assert (wide.data_range, wide.clip) == (4096.0, False)
    assert wide.applied(np.array([-1000.0])).tolist() == [-1000.0]
    # A data range of its own changes nothing about what the values are.
    assert wide.alike
    assert fit_window("ct", [np.array([-1000.0, 0, 1500])]).alike
    assert not fit_window("mr", [np.array([0.0, 5, 9])], data_range=9).alike


@pytest.mark.parametrize("window", [(3, 3), (5, 1), (0, float("nan")), (0, float("inf"))])
def test_a_window_that_is_none_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(SettingsError, match="window: found"):
        fit_window("ct", [], window=window)


def test_a_constant_image_has_no_data_range() -> None:
    with pytest.raises(SettingsError, match="data range"):
        fit_window("t1", [np.full(9, 4.0)])


def test_a_sample_of_voxels_is_the_same_each_time() -> None:
    values = np.arange(1000)
    assert voxel_sample(values, 5000).tolist() == values.tolist()
    first = voxel_sample(values, 10)
    assert len(first) == 10
    assert first.tolist() == voxel_sample(values, 10).tolist()
