"""Pictures of pairs: a real case lies on the synthetic one, however that one was turned."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from scansmith.evaluate.privacy import pairs
from scansmith.evaluate.privacy.audit import measured
from scansmith.evaluate.privacy.cases import lay_out, trace
from scansmith.evaluate.privacy.lines import Sides, lines_of
from scansmith.evaluate.privacy.neighbours import flipped
from scansmith.evaluate.view import AXES, Shared, View

SHARED = Shared(("ct",), ("background",), (), "any label")
PATIENTS = 5  # of each side; number 2 of the training patients is copied

#: Shape of a case, flip and shift (D, H, W) of its copy, pixels of the picture for one of a case.
TURNS = {
    "picture": ((1, 64, 64), (), (0, 6, -4), 2),
    "mirrored picture": ((1, 64, 64), (2,), (0, -5, 7), 2),
    "turned picture": ((1, 64, 64), (1, 2), (0, 3, 4), 2),
    "volume": ((32, 32, 32), (0, 2), (2, -3, 4), 4),
}


def patients(shape):
    rng = np.random.default_rng(0)
    images = (gaussian_filter(rng.standard_normal(shape), 2.5) for _ in range(2 * PATIENTS + 1))
    return [(1000 * image).astype(np.float32)[None] for image in images]


def seen(name, image):
    return View(name, name, image, None, (1.0, 1.0, 1.0))


@pytest.mark.parametrize(("shape", "flip", "shift", "ratio"), TURNS.values(), ids=TURNS)
def test_the_copied_case_is_turned_onto_its_copy(shape, flip, shift, ratio, monkeypatch):
    *real, stranger = patients(shape)
    copied = flipped(np.roll(real[2], shift, (1, 2, 3)), flip)
    views = [
        [seen("copy", copied), seen("stranger", stranger)],
        [seen(f"t{n}", image) for n, image in enumerate(real[:PATIENTS])],
        [seen(f"h{n}", image) for n, image in enumerate(real[PATIENTS:])],
    ]
    layout = lay_out(SHARED, views[1] + views[2], views[0])
    traces = [[trace(view, layout) for view in side] for side in views]
    trained = np.arange(2 * PATIENTS) < PATIENTS
    sides = Sides(traces[0], traces[1] + traces[2], trained)
    lines = lines_of(sides, layout, lambda *words: None)
    report = measured(sides, lines, 0)["lines"]
    rows = pairs.case_rows(sides, lines, report, np.zeros((2, 2 * PATIENTS)))
    (row,) = (row for row in rows if row["line"] == "whole" and row["case"] == "copy")
    assert row["train_case"] == "t2"

    shown = []
    monkeypatch.setattr(pairs, "strip", lambda *pictures: shown.append(pictures) or b"PNG")
    files = pairs.pair_pictures([row], lambda side, number: views[side][number], layout)
    assert files == {"01_whole.png": b"PNG"}
    copy, source, other = (picture.images[0] for picture in shown[0])
    assert (shown[0][0].case, shown[0][1].case) == ("copy", "t2")

    # What the shift brought in from beyond the edge is in one of the two alone.
    edge = ratio * max(abs(step) for step in shift) + ratio
    inner = (slice(edge, -edge), slice(edge, -edge))
    assert copy.shape == (128, 128)
    error = _error(copy[inner], source[inner])
    assert error < 0.01
    for axis in (0, 1):  # one fine voxel aside would show
        assert _error(copy[inner], np.roll(source, ratio, axis)[inner]) > 5 * error + 0.02
    assert _error(copy[inner], other[inner]) > 0.1


def _error(first, second):
    """Mean difference where each picture has its own range of grey: that range does not count."""
    first, second = ((x - x.mean()) / x.std() / 4 for x in (first, second))
    return np.abs(first - second).mean()


@pytest.mark.parametrize("first", [0, 1, 2], ids=["axial", "coronal", "sagittal"])
def test_pairs_that_are_not_axial_are_shown_head_up(first, monkeypatch):
    axes = (AXES[first], *(axis for axis in AXES if axis != AXES[first]))
    image = np.broadcast_to(np.arange(12.0)[:, None], (1, 12, 12, 12))  # H, from its first voxel
    case = View("c", "c", image, None, (1.0, 1.0, 1.0), axes)
    layout = lay_out(SHARED, [case], [case])
    row = {"line": "whole", "numbers": [0, 0, 0], "pieces": [0, 0, 0], "poses": [None, None]}
    shown = []
    monkeypatch.setattr(pairs, "strip", lambda *pictures: shown.extend(pictures) or b"PNG")
    pairs.pair_pictures([row], lambda side, number: case, layout)
    tops = [picture.images[0, 0].mean() > picture.images[0, -1].mean() for picture in shown]
    assert tops == [first > 0] * 3


def test_the_words_say_what_was_turned():
    pose = {"flip": [2], "shift": [0, 3, 0]}
    assert pairs.pose_words(pose) == "mirrored right to left, shifted"
    assert pairs.pose_words({"flip": [], "shift": [0, 0, 0]}) == ""
    assert pairs.pose_words(None) == ""
