"""Label maps with random contrast: what TorchIO draws, and what is said where it is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from scansmith.scan import DataError, SettingsError
from scansmith.studies.counterparts import Case
from scansmith.studies.label_sampling import LabelSampling, SamplingNumbers

PLAIN = SamplingNumbers(sd=(0.0, 0.0), blur=0.0, bias=0.0)


def case(shape=(2, 24, 20), channels=2):
    labels = np.zeros(shape, np.uint8)
    labels[..., 4:16, 4:12] = 1
    labels[..., 6:9, 6:9] = 2
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (shape[0], channels, *shape[1:])).astype(np.float32)
    image[:, 1:] *= 10
    return Case("a_scan", "a", image, labels, tuple(range(shape[0])))


def test_without_torchio_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchio", None)
    with pytest.raises(SettingsError, match=r"pip install 'scansmith\[bench\]'"):
        LabelSampling.of([case()])


def test_each_structure_has_one_value_in_the_range_when_nothing_spreads_it():
    pytest.importorskip("torchio")
    real = case()
    sampling = LabelSampling.of([real], PLAIN)
    low, high = np.percentile(real.image[:, 0], (1, 99))
    assert sampling.low[0] == pytest.approx(low, rel=1e-5)
    assert sampling.high[0] == pytest.approx(high, rel=1e-5)
    made = sampling.painted(real, np.random.default_rng(0))
    between, darkest = set(), set()
    for n, labels in enumerate(made.labels):
        for c in range(2):
            values = [made.image[n, c][labels == structure] for structure in range(3)]
            assert all(np.ptp(each) == 0 for each in values)
            means = sorted(float(each[0]) for each in values)
            # From the darkest to the brightest structure, the range of the real images.
            assert means[0] == pytest.approx(sampling.low[c], rel=1e-5)
            assert means[2] == pytest.approx(sampling.high[c], rel=1e-5)
            between.add((means[1] - means[0]) / (means[2] - means[0]))
            darkest.add(int(np.argmin([each[0] for each in values])))
    assert len(between) == 2 * 2  # every sample and modality draws its own
    assert len(darkest) > 1
    assert made.labels is real.labels
    assert made.image.dtype == np.float32


@pytest.mark.parametrize("shape", [(2, 24, 20), (1, 12, 16, 16)])
def test_noise_blur_and_bias_are_drawn_and_repeat_under_a_seed(shape):
    pytest.importorskip("torchio")
    real = case(shape)
    sampling = LabelSampling.of([real])
    torch.manual_seed(1)
    one = sampling.painted(real, np.random.default_rng(0))
    after = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(1))
    same = sampling.painted(real, np.random.default_rng(0))
    other = sampling.painted(real, np.random.default_rng(1))
    assert one.image.shape == real.image.shape
    np.testing.assert_array_equal(one.image, same.image)
    assert not np.array_equal(one.image, other.image)
    inside = one.image[0, 0][real.labels[0] == 1]
    assert 0 < inside.std() < 1  # of a range of 2


def test_no_case_is_refused():
    pytest.importorskip("torchio")
    with pytest.raises(DataError, match="found no case"):
        LabelSampling.of([])
