"""Segmenters by name: each learns in the one game, refuses what it cannot be, averages views."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scansmith.evaluate.modality_segmenters import (
    ModalitySegmenters,
    of_modality,
    train_modality_segmenters,
)
from scansmith.evaluate.overlap import dice
from scansmith.evaluate.segmentation import (
    Labelled,
    Segmenter,
    SegmenterNumbers,
    shuffled,
    train_segmenter,
)
from scansmith.evaluate.segmenter_networks import network_of
from scansmith.nets.cascade import Cascade
from scansmith.nets.context_unet import ContextUNet
from scansmith.nets.fcn import FCN
from scansmith.nets.segmenter import SegmenterUNet
from scansmith.scan import RunError, SettingsError

NESTED = ("background", "core", "rim")
QUICK = {"learning_rate": 1e-2, "ema": 0.9, "device": "cpu", "threads": 1}


def balls(dims, count=8, side=20, seed=0):
    """Cores of value 2 in rims of value 1, in noise; slices or volumes of 8 slices."""
    rng = np.random.default_rng(seed)
    grid = np.mgrid[:side, :side] if dims == 2 else np.mgrid[:8, :side, :side]
    images, labels = [], []
    for _ in range(count):
        centre = [rng.uniform(n * 0.4, n * 0.6) for n in grid.shape[1:]]
        steps = [1.0] * dims if dims == 2 else [2.0, 1.0, 1.0]
        offsets = zip(grid, centre, steps, strict=True)
        away = np.sqrt(sum((step * (g - c)) ** 2 for g, c, step in offsets))
        label = np.where(away < 3.5, 1, np.where(away < 7, 2, 0)).astype(np.uint8)
        values = np.array([0.0, 2.0, 1.0])[label]
        images.append((values + 0.2 * rng.normal(size=values.shape))[None].astype(np.float32))
        labels.append(label)
    return Labelled(images, labels)


def trained(numbers, dims, steps, **options):
    return train_segmenter(
        shuffled(balls(dims, side=20 if dims == 2 else 16), 5 - dims, 0),
        dims=dims,
        structures=NESTED,
        channels=1,
        steps=steps,
        seed=0,
        numbers=SegmenterNumbers(**QUICK, **numbers),
        **options,
    )


@pytest.mark.parametrize(
    ("dims", "numbers", "steps"),
    [
        (2, {"network": "fcn", "base": 8, "depth": 2, "dropout": 0.1}, 40),
        (2, {"network": "isensee", "base": 4, "depth": 2, "dropout": 0.1}, 40),
        (3, {"network": "cascade", "base": 4, "nested": ("rim", "core")}, 15),
    ],
    ids=["fcn", "isensee", "cascade"],
)
def test_each_network_finds_what_it_learned_to_find(dims, numbers, steps):
    held_out = balls(dims, 4, side=20 if dims == 2 else 16, seed=9)
    found = trained(numbers, dims, steps, augment=False).predict(np.stack(held_out.images))
    scores = [dice(a, b, NESTED) for a, b in zip(held_out.labels, found, strict=True)]
    for structure in NESTED[1:]:
        assert np.mean([score[structure] for score in scores]) > 0.7, structure


def test_the_numbers_choose_network_and_size():
    numbers = SegmenterNumbers
    assert isinstance(network_of(numbers(), 3, 1, NESTED), SegmenterUNet)
    fcn = network_of(numbers(network="fcn", base=2, depth=4), 2, 3, NESTED)
    assert isinstance(fcn, FCN)
    assert len(fcn.stages) == 4
    isensee = network_of(numbers(network="isensee", base=2, depth=4, dropout=0.2), 3, 1, NESTED)
    assert isinstance(isensee, ContextUNet)
    assert len(isensee.enter) == 5
    assert isensee.context[0][1].p == 0.2
    nested = numbers(network="cascade", base=2, views=3, nested=("rim", "core"))
    cascade = network_of(nested, 3, 4, NESTED)
    assert isinstance(cascade, Cascade)
    assert cascade.nested == (2, 1)
    assert [len(level) for level in cascade.levels] == [3, 3]
    assert network_of(numbers(network="cascade", base=2), 3, 4, NESTED).nested == (1, 2)


def test_what_a_network_cannot_be_is_refused():
    with pytest.raises(SettingsError, match="cascade for slices, expected volumes"):
        network_of(SegmenterNumbers(network="cascade"), 2, 1, NESTED)
    with pytest.raises(SettingsError, match="found nested core, expected each of core, rim once"):
        network_of(SegmenterNumbers(network="cascade", nested=("core",)), 3, 1, NESTED)
    with pytest.raises(SettingsError, match="depth 6 for network fcn, expected 1 to 5"):
        network_of(SegmenterNumbers(network="fcn", depth=6), 2, 1, NESTED)
    with pytest.raises(SettingsError, match="depth 0 for network isensee"):
        network_of(SegmenterNumbers(network="isensee", depth=0), 2, 1, NESTED)


def test_a_run_of_the_u_net_is_recorded_as_it_was_before_there_were_others():
    known = {"base", "depth", "learning_rate", "fall", "ema", "precision"}
    assert set(SegmenterNumbers().facts()) == known
    cascade = SegmenterNumbers(network="cascade", nested=("rim", "core")).facts()
    assert cascade["nested"] == ["rim", "core"]
    assert "depth" not in cascade
    assert SegmenterNumbers(network="fcn").facts() != SegmenterNumbers(network="isensee").facts()


def test_a_folder_of_another_network_is_refused(tmp_path):
    numbers = {"network": "isensee", "base": 2, "depth": 1}
    trained(numbers, 2, 2, run=tmp_path / "run")
    with pytest.raises(RunError, match=r"numbers\.network"):
        trained(numbers | {"network": "fcn"}, 2, 2, run=tmp_path / "run")


class Threshold(torch.nn.Module):
    """Finds structure 1 where the image is above a value."""

    def __init__(self, value):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(float(value)))

    def forward(self, image):
        return torch.cat([torch.zeros_like(image), image - self.value], dim=1)


def test_each_modality_is_judged_by_its_own_segmenter_and_the_measures_are_averaged():
    names = ("background", "disc")
    each = ModalitySegmenters(tuple(Segmenter(Threshold(v), names) for v in (0.5, 1.5)))
    image = np.array([[[1.0, 1.0, 0.0, 0.0]], [[2.0, 1.0, 2.0, 1.0]]], np.float32)[None]
    truth = np.array([[[1, 1, 0, 0]]], np.uint8)
    np.testing.assert_array_equal(each.predict(image)[:, 0, 0], [[1, 1, 0, 0], [1, 0, 1, 0]])
    found = each.scores(image, truth, lambda a, b: dice(a, b, names))
    # First modality: all right, Dice 1. Second: one of two found, one wrong, 2 / 4.
    assert found["disc"] == pytest.approx((1 + 0.5) / 2)


def test_a_false_alarm_in_one_modality_is_one_of_all():
    names = ("background", "disc")
    each = ModalitySegmenters(tuple(Segmenter(Threshold(v), names) for v in (0.5, 1.5)))
    nothing = np.zeros((1, 1, 4), np.uint8)

    def found(*image):
        return each.scores(np.float32([image])[:, :, None], nothing, lambda a, b: dice(a, b, names))

    quiet = [0, 0, 0, 0]
    assert np.isnan(found(quiet, quiet)["disc"])
    assert found([1, 0, 0, 0], quiet)["disc"] == 0
    assert found([1, 0, 0, 0], [0, 2, 0, 0])["disc"] == 0


def test_a_segmenter_is_trained_for_each_modality_and_sees_no_other(tmp_path):
    one = balls(2, 4)
    two = [np.concatenate([image, image + 100]) for image in one.images]
    samples = shuffled(Labelled(two, one.labels), 2, 0)
    second = of_modality(samples, 1)(1)
    torch.testing.assert_close(second.image, samples(1).image[:, 1:])
    assert second.samples == samples(1).samples
    options = dict(dims=2, structures=NESTED, steps=2, seed=0, augment=False)
    numbers = SegmenterNumbers(**QUICK, base=2, depth=1)
    each = train_modality_segmenters(
        samples, modalities=("t1", "t2"), run=tmp_path, numbers=numbers, **options
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t1", "t2"]
    alone = train_segmenter(of_modality(samples, 1), channels=1, numbers=numbers, **options)
    kept = each.each[1].network.state_dict()
    assert all(torch.equal(kept[k], v) for k, v in alone.network.state_dict().items())
    assert each.predict(np.stack(two)).shape == (2, 4, 20, 20)
