from dataclasses import replace

import numpy as np
import pytest

from scansmith.data.intensity import Statistics, fit_codec, fit_codecs, measure, merge, unseen
from scansmith.recipe import Intensity
from scansmith.scan import DataError, Scan, SettingsError

WINDOW = Intensity(kind="window", low=-160, high=240)


def fitted(intensity, values):
    return fit_codec(intensity, measure(np.array(values, dtype=np.float32), intensity), "case_1")


def test_a_window_takes_its_middle_to_zero_and_clips_the_rest():
    codec = fit_codec(WINDOW, Statistics(0))
    # 40 HU is the middle of -160..240, 140 three quarters up
    assert codec.encode(np.array([-1000, -160, 40, 140, 240, 3000])).tolist() == [
        -1, -1, 0, 0.5, 1, 1,
    ]  # fmt: skip
    assert codec.decode(np.array([-1, 0, 0.5, 1])).tolist() == [-160, 40, 140, 240]
    assert codec.data_range == 400


def test_a_window_can_go_to_zero_and_one():
    codec = fit_codec(Intensity(kind="window", low=-400, high=800, target=(0, 1)), Statistics(0))
    assert codec.encode(np.array([-400, 200, 800])).tolist() == [0, 0.5, 1]
    assert codec.data_range == 1200


def test_a_z_score_is_by_mean_and_standard_deviation():
    codec = fitted(Intensity(kind="zscore"), [10, 10, 30, 30])  # mean 20, sd 10
    assert codec.encode(np.array([20, 30, 55])).tolist() == [0, 1, 3.5]
    assert codec.decode(np.array([-2.0])).tolist() == [0]
    assert codec.data_range == 20


def test_a_clipped_z_score_over_the_foreground_keeps_the_background_apart():
    rule = Intensity(kind="zscore", foreground_only=True, clip=5, background=-1)
    codec = fitted(rule, [0, 0, 0, 0, 8, 8, 12, 12])  # foreground: mean 10, sd 2
    # 0 is background, 10 the mean, 15 = +2.5 sd, 100 is clipped at +5 sd = 20
    assert codec.encode(np.array([0, 10, 15, 100])).tolist() == [-1, 0, 0.5, 1]
    assert codec.decode(np.array([-1, 0, 0.5, 1])).tolist() == [0, 10, 15, 20]
    assert codec.data_range == 20


def test_foreground_may_be_negative():
    # a brain that was standardised at source: 0 is outside, tissue is -30 and 10
    codec = fitted(Intensity(kind="zscore", foreground_only=True), [0, 0, 0, -30, 10])
    assert (codec.offset, codec.scale) == (-10, 20)


def test_minmax_caps_the_top_at_the_percentile():
    rule = Intensity(kind="minmax", scope="case", percentile=75)
    codec = fitted(rule, [0, 10, 20, 30, 1000])  # 75 % of the values are at most 30
    assert codec.encode(np.array([0, 15, 30, 1000])).tolist() == [-1, 0, 1, 1]


def test_minmax_can_have_a_fixed_floor():
    codec = fitted(Intensity(kind="minmax", low=-20, target=(0, 1)), [-500, -20, 60])
    assert codec.encode(np.array([-500, -20, 20, 60])).tolist() == [0, 0, 0.5, 1]


@pytest.mark.parametrize("kind", ["zscore", "minmax"])
def test_what_a_codec_encodes_it_decodes(kind):
    values = np.linspace(-1000, 2000, 1000, dtype=np.float32)
    codec = fitted(Intensity(kind=kind), values)
    np.testing.assert_allclose(codec.decode(codec.encode(values)), values, atol=1e-3)


def test_statistics_of_parts_merge_to_those_of_the_whole():
    rng = np.random.default_rng(0)
    parts = [rng.normal(m, s, n) for m, s, n in ((0, 1, 500), (40, 3, 20), (-7, 10, 1000))]
    rule = Intensity(kind="zscore")
    whole = measure(np.concatenate(parts), rule)
    merged = merge([measure(part, rule) for part in parts], rule)
    assert merged.count == 1520
    assert merged.mean == pytest.approx(whole.mean, rel=1e-6)
    assert merged.sd == pytest.approx(whole.sd, rel=1e-6)
    assert (merged.low, merged.high) == (whole.low, whole.high)


def test_percentiles_of_parts_merge_to_that_of_the_whole():
    rng = np.random.default_rng(1)
    parts = [rng.gamma(2, 100, 5000), rng.gamma(5, 300, 20000), rng.gamma(1, 50, 300)]
    rule = Intensity(kind="minmax", percentile=99)
    merged = merge([measure(part, rule) for part in parts], rule)
    exact = np.percentile(np.concatenate(parts), 99)
    assert merged.top == pytest.approx(exact, rel=0.005)


def test_parts_without_values_count_for_nothing():
    rule = Intensity(kind="zscore", foreground_only=True)
    empty, full = measure(np.zeros(5), rule), measure(np.array([1.0, 3.0]), rule)
    assert merge([empty, full, empty], rule) == full
    assert merge([empty], rule).count == 0


def test_each_modality_gets_its_own_codec():
    rule = Intensity(kind="zscore")
    first, second = fit_codecs(
        rule, [measure(np.array([0, 2]), rule), measure(np.array([0, 8]), rule)]
    )
    assert (first.offset, second.offset) == (1, 4)


def test_a_constant_image_has_no_codec():
    with pytest.raises(DataError, match="case_1: found only 7 in the image") as caught:
        fitted(Intensity(kind="zscore"), [7, 7, 7])
    assert caught.value.problems[0].kind == "constant"


def test_an_image_without_foreground_has_no_codec():
    with pytest.raises(DataError, match="case_1: found no voxel other than 0"):
        fitted(Intensity(kind="minmax", foreground_only=True), [0, 0, 0])


def test_an_empty_window_is_refused():
    with pytest.raises(SettingsError, match=r"window from 250\.0 to -200\.0"):
        fit_codec(Intensity(kind="window", low=250, high=-200), Statistics(0))


@pytest.mark.parametrize(("visible", "told"), [(2, True), (3, False)])
def test_what_is_labelled_is_not_to_lie_beyond_one_limit(visible, told):
    """CT stored as HU + 1024. Of 200 labelled voxels 198 beyond are 99 %, 197 are not."""
    image = np.full((1, 10, 10, 4), 1080.0, np.float32)
    image[..., 2:] = 40  # what is not labelled does not count
    image[0, 0, :visible, 0] = 40
    labels = np.zeros((10, 10, 4), np.uint8)
    labels[..., :2] = 1
    scan = Scan("ct_1", image, np.eye(4), ("ct",), labels)
    problems = unseen(scan, ("ct",), {0, 1, 2}, WINDOW)
    assert [str(problem) for problem in problems] == [
        "ct_1: what is labelled lies above 240 in ct, where the window ends, around "
        "1080, and would be all alike. Store CT in Hounsfield units; for others choose limits or "
        "data.intensity to fit."
    ] * told
    assert not unseen(scan, ("ct",), {0, 1, 2}, Intensity(kind="zscore"))
    assert not unseen(scan, ("ct",), {0, 2}, WINDOW)  # what is not kept does not count
    assert not unseen(scan, ("mr",), {0, 1, 2}, WINDOW)
    assert not unseen(replace(scan, labels=None), ("ct",), {0, 1, 2}, WINDOW)
