from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scansmith.evaluate import faithfulness as judging
from scansmith.evaluate.cases import CaseMeasures, Plan
from scansmith.evaluate.facts import Options
from scansmith.evaluate.faithfulness import Grid, _slices, faithfulness, grid_of, held_out, judged
from scansmith.evaluate.segmentation import Segmenter
from scansmith.evaluate.view import AXES, Shared, View
from scansmith.evaluate.windows import Window
from scansmith.scan import RunError

STRUCTURES = ("background", "disc")
PLAN = Plan(Shared(("mr",), STRUCTURES, (1,), "any label"), (Window(0, 10, 10, True, "declared"),))
OPTIONS = Options(steps=30, faithfulness=True)


def _disc(name: str, seed: int, shift: int = 0) -> View:
    """Two slices of 24 x 24 with a bright disc; its label lies `shift` pixels beside it."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(8, 12, 2)
    rows, columns = np.mgrid[:24, :24]
    disc = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < 25
    image = np.where(disc, 7.0, 3.0) + rng.normal(0, 0.5, (1, 2, 24, 24))
    labels = np.broadcast_to(np.roll(disc, shift, axis=1), (2, 24, 24)).astype(np.uint8)
    return View(name, name, image, labels, (5.0, 1.0, 1.0))


def _set(prefix: str, count: int, seed: int, shift: int = 0) -> list[View]:
    return [_disc(f"{prefix}{n}", seed + n, shift) for n in range(count)]


def _measures(
    cases: Sequence[View], patient: Callable[[str], str] = lambda name: name
) -> list[CaseMeasures]:
    return [
        CaseMeasures(v.case, patient(v.case), (2, 24, 24), v.spacing_mm, {}, {}, labelled=True)
        for v in cases
    ]


def _found(real: list[View], made: list[View], run: Path, **known):
    measured = _measures(real), _measures(made, **known)
    return faithfulness(lambda: real, lambda: made, measured, PLAN, OPTIONS, run)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run") / "30_steps"


def test_labels_beside_what_the_image_shows_are_found_out(run: Path) -> None:
    real = _set("r", 9, 0)
    good, examples = _found(real, _set("s", 4, 100), run)
    facts = good["facts"]
    assert facts["patients_learned_from"] == 6
    assert facts["slices_learned_from"] == 12
    assert facts["synthetic_cases_of_patients_learned_from"] == 0
    disc = good["structures"]["disc"]
    assert disc["real"]["cases"] == 3
    assert disc["real"]["mean"] > 0.8
    assert disc["verdict"] == "close"
    assert [side for side, _, _ in examples] == ["real"] * 3 + ["synthetic"] * 3
    assert (run / "checkpoints").is_dir()

    # Another synthetic set: the segmenter is there already. Half of each label is beside its disc.
    before = (run / "log.jsonl").read_bytes()
    wrong, _ = _found(real, _set("s", 4, 100, shift=7), run)
    assert (run / "log.jsonl").read_bytes() == before
    assert wrong["structures"]["disc"]["real"] == disc["real"]
    assert wrong["structures"]["disc"]["synthetic"]["mean"] < 0.4
    assert wrong["structures"]["disc"]["verdict"] == "far"
    assert wrong["structures"]["disc"]["difference"]["interval"][1] < 0

    # Cases made from patients that the segmenter learned from are left out while others remain.
    learned = sorted({v.patient for v in real} - held_out([v.case for v in real], 0))
    mixed, _ = _found(
        real, _set("s", 4, 100), run, patient=lambda name: learned[0] if name == "s1" else name
    )
    assert mixed["facts"]["synthetic_cases_left_out"] == 1
    assert mixed["structures"]["disc"]["synthetic"]["cases"] == 3
    copies, _ = _found(real, _set("s", 4, 100), run, patient=lambda name: learned[0])
    assert copies["facts"]["synthetic_cases_of_patients_learned_from"] == 4
    assert copies["facts"]["synthetic_cases_left_out"] == 0
    assert copies["structures"]["disc"]["synthetic"]["cases"] == 4

    # Other real cases are another training.
    with pytest.raises(RunError, match=r"samples\.content was"):
        _found(_set("r", 9, 50), _set("s", 4, 100), run)


def _bright() -> Segmenter:
    """A segmenter that takes for disc what is brighter than the middle of the window."""
    network = torch.nn.Conv2d(1, 2, 1, bias=False)
    network.weight.data = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1)
    return Segmenter(network, STRUCTURES)


def test_the_numbers_of_a_known_segmenter_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(judging, "train_segmenter", lambda *_, **__: _bright())

    def bars(name: str, columns: int) -> View:
        """A bar of 4 x 8 pixels, its label some columns beside it; one of 2 x 8 without a label.

        All slices together: 48 pixels found, 32 labelled, 4 (8 - columns) of them both, so Dice is
        8 (8 - columns) / 80. (By slices, or without the second slice, it would be another.)
        """
        image, labels = np.full((1, 2, 24, 24), 3.0), np.zeros((2, 24, 24), np.uint8)
        image[0, 0, 8:12, 4:12] = image[0, 1, 8:10, 4:12] = 7
        labels[0, 8:12, 4 + columns : 12 + columns] = 1
        return View(name, name, image, labels, (5.0, 1.0, 1.0))

    names = [f"r{n}" for n in range(6)]
    tested = held_out(names, 0)
    assert len(tested) == 2
    real = [bars(name, 0 if name in tested else 6) for name in names]
    found, _ = _found(real, [bars("s0", 2), bars("s1", 4)], tmp_path)
    assert {row["case"]: row["dice"]["disc"] for row in found["cases"]} == pytest.approx(
        {**dict.fromkeys(tested, 0.8), "s0": 0.6, "s1": 0.4}
    )
    disc = found["structures"]["disc"]
    assert (disc["real"]["cases"], disc["synthetic"]["patients"]) == (2, 2)
    assert disc["real"]["mean"] == pytest.approx(0.8)
    assert disc["real"]["interval"] == pytest.approx([0.8, 0.8])
    assert disc["synthetic"]["mean"] == pytest.approx(0.5)
    assert disc["synthetic"]["interval"] == pytest.approx([0.4, 0.6])  # one of them, twice
    assert disc["difference"]["value"] == pytest.approx(-0.3)
    # -0.4 to -0.2 by the bootstrap, which of two patients is 9.17 times too narrow; Dice ends at 1.
    assert disc["difference"]["interval"] == pytest.approx([-1, -0.3 + 0.1 * 9.168], rel=1e-3)
    assert disc["verdict"] is None
    assert "few cases" in disc["reason"]


@pytest.mark.parametrize("head_up", [True, False])
def test_examples_of_coronal_sets_are_shown_head_up_with_both_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, head_up: bool
) -> None:
    monkeypatch.setattr(judging, "train_segmenter", lambda *_, **__: _bright())
    axes = (AXES[1], AXES[0], AXES[2]) if head_up else AXES
    real = []
    for n in range(6):
        image = np.full((1, 2, 24, 24), 3.0)
        image[:, :, 2:6] = 7  # rows near the feet where rows go from feet to head
        labels = (image[0] > 5).astype(np.uint8)
        real.append(View(f"r{n}", f"r{n}", image, labels, (5.0, 1.0, 1.0), axes))
    _, examples = _found(real, [replace(real[0], case="s0")], tmp_path)
    rows = range(18, 22) if head_up else range(2, 6)
    assert len(examples) == 3  # two held-out patients, one synthetic case
    for _, labelled, found in examples:
        for seen in (labelled.labels, found.labels, labelled.images[0] > 0.5):
            assert np.flatnonzero(seen[:, 12]).tolist() == list(rows)


def test_what_cannot_be_judged_says_why(tmp_path: Path) -> None:
    found, examples = _found(_set("r", 3, 0), _set("s", 2, 9), tmp_path / "run")
    assert found == {"reason": "3 labelled real patients; 4 are needed"}
    assert examples == []
    assert not (tmp_path / "run").exists()
    assert judged(None, 0.5, None)["verdict"] is None
    assert "learn for more steps" in judged(0.4, 0.4, (0.0, 0.0))["reason"]


@pytest.mark.parametrize(
    ("real", "synthetic", "interval", "expected"),
    [
        (0.8, 0.79, (-0.02, -0.001), "close"),  # within the margin of 0.02
        (0.8, 0.95, (0.1, 0.2), "close"),
        (0.8, 0.7, (-0.15, -0.05), "differs"),
        (0.8, 0.39, (-0.5, -0.3), "far"),
        (0.8, 0.6, (-0.5, 0.1), None),  # so few cases may differ by chance
        (0.8, 0.6, None, None),
    ],
)
def test_the_words_of_a_verdict(real, synthetic, interval, expected) -> None:
    assert judged(real, synthetic, interval)["verdict"] == expected


def test_the_grid_holds_every_slice_and_is_not_finer_than_128_pixels() -> None:
    def case(shape: tuple[int, int, int], spacing: float) -> CaseMeasures:
        return CaseMeasures("c", "c", shape, (5.0, spacing, spacing), {}, {})

    # 30 x 1 mm and 20 x 2 mm: the median pixel is 1.5 mm, 40 mm are 26.7 of them: 32.
    grid = grid_of([case((3, 30, 30), 1.0), case((3, 20, 20), 2.0)])
    assert (grid.pixel_mm, grid.size) == (1.5, (32, 32))
    grid = grid_of([case((3, 512, 256), 0.5)])
    assert (grid.pixel_mm, grid.size) == (2.0, (128, 64))


def test_cases_of_arbitrary_units_have_a_scale_of_their_own() -> None:
    case, grid = _disc("a", 0), Grid(1.0, (24, 24))
    loud = View("b", "b", 40 * case.image - 7, case.labels, case.spacing_mm)
    fitted = Window(0, 1e6, 1e6, True, "0.1 to 99.9 percentile of the real set")
    one, other = (_slices(v, "p", (fitted,), grid).images for v in (case, loud))
    np.testing.assert_allclose(one, other, atol=1e-4)
    assert (one.min(), one.max()) == (-1, 1)
    declared = _slices(case, "p", PLAN.windows, grid).images
    np.testing.assert_allclose(declared[:, 0], case.image[0] / 5 - 1, atol=1e-5)  # 0..10 to -1..1


def test_a_third_of_the_patients_is_held_out_and_two_at_least() -> None:
    names = [f"p{n}" for n in range(12)]
    assert len(held_out(names, 0)) == 4
    assert held_out(names, 0) == held_out(names, 0) != held_out(names, 1)
    assert len(held_out(names[:4], 0)) == 2
