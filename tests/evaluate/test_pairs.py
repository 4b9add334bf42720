from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from scansmith.evaluate.pairs import Origin, fidelity_of, match, origins
from scansmith.evaluate.view import View
from scansmith.evaluate.windows import Window
from scansmith.scan import CaseFiles, DataError

WINDOW = Window(-100.0, 100.0, 200.0, True, "declared")


def _files(*names: str) -> tuple[CaseFiles, ...]:
    return tuple(CaseFiles(name, {}) for name in names)


def test_a_case_is_paired_by_its_name_unless_provenance_says_otherwise() -> None:
    said = {
        "b": Origin("a", False),  # an edited case that happens to be called like a real one
        "made_1": Origin("a", True),
        "made_2": Origin("a", False),
        "c": Origin("a", None),  # a row that does not say: the name decides
    }
    found = match(_files("a", "b", "c"), _files("a", "b", "c", "made_1", "made_2", "made_3"), said)
    assert {name: files.case for name, files in found.items()} == {
        "a": "a", "c": "c", "made_1": "a",
    }  # fmt: skip


def test_provenance_is_read_and_a_broken_row_is_refused(tmp_path: Path) -> None:
    cases = _files("x", "y", "z", "w")
    assert origins(tmp_path, cases) == {}
    rows = [
        {"case": "x", "source_case": "a", "paired": True},
        {"case": "y", "source_case": "a", "paired": False},
        {"case": "z"},
    ]
    path = tmp_path / "provenance.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert origins(tmp_path, cases) == {
        "x": Origin("a", True), "y": Origin("a", False), "z": Origin("", None),
    }  # fmt: skip
    path.write_text('{"case": "x"}\n[1, 2]\n')
    with pytest.raises(DataError, match="line 2 is not a row"):
        origins(tmp_path, cases)
    path.write_bytes('{"case": "Schädel"}'.encode("latin-1"))
    with pytest.raises(DataError, match=r"provenance.jsonl: is not UTF-8 .*byte 13.* Save it as"):
        origins(tmp_path, cases)


def test_a_case_that_its_layout_calls_otherwise_is_known_by_its_files(tmp_path: Path) -> None:
    rows = [
        {"case": "x", "source_case": "a", "paired": True, "files": {"ct_x_image.nii.gz": "0"}},
        {"case": "v", "source_case": "b", "paired": True, "files": ["v/v_1.png", "v/v_2.png"]},
    ]
    (tmp_path / "provenance.jsonl").write_text("\n".join(map(json.dumps, rows)))
    cases = (
        CaseFiles("ct_x", {"ct": tmp_path / "ct_x_image.nii.gz"}),
        CaseFiles("v_1", {"ct": tmp_path / "v" / "v_1.png"}, patient="p"),
        CaseFiles("v_2", {"ct": tmp_path / "v" / "v_2.png"}, patient="p"),
        CaseFiles("u_1", {"ct": tmp_path / "u_1.png"}, patient="v"),  # named in no row: its patient
        CaseFiles("x_1", {"ct": tmp_path / "x_1.png"}),
    )
    assert origins(tmp_path, cases) == {
        "ct_x": Origin("a", True),
        "v_1": Origin("b", None, part=True),  # a slice of b: which one, its row does not say
        "v_2": Origin("b", None, part=True),
        "u_1": Origin("b", None, part=True),
    }  # fmt: skip


def _view(image: np.ndarray, labels: np.ndarray | None) -> View:
    return View("case", "case", image, labels, (5.0, 1.0, 1.0))


def test_a_pair_is_measured_inside_and_outside_of_the_lesion() -> None:
    rng = np.random.default_rng(0)
    real = rng.uniform(-50, 50, (1, 2, 16, 16))
    labels = np.zeros((2, 16, 16), np.uint8)
    labels[0, 4:8, 4:8] = 2
    made = real.copy()
    made[0, 0, 4:8, 4:8] += 20
    found = fidelity_of(_view(real, labels), _view(made, labels), (2,), (WINDOW,))["0"]
    assert set(found) == {"whole", "lesion", "lesion_box", "outside"}
    assert found["lesion"]["mae"] == pytest.approx(20, abs=1e-4)
    assert found["lesion"]["psnr"] == pytest.approx(20.0, abs=1e-4)  # 20 of 200
    assert found["lesion"]["bias"] == pytest.approx(20, abs=1e-4)
    assert found["lesion"]["sd_ratio"] == pytest.approx(1.0, abs=1e-4)
    assert found["outside"]["psnr"] == math.inf
    assert found["whole"]["mae"] == pytest.approx(20 * 16 / 512, abs=1e-5)
    assert found["lesion"]["ssim"] < found["outside"]["ssim"]
    assert "ms_ssim" in found["whole"]


def test_the_lesion_of_a_pair_is_what_either_of_the_two_labels() -> None:
    image = np.random.default_rng(0).uniform(-50, 50, (1, 1, 16, 16))
    here, there = np.zeros((2, 1, 16, 16), np.uint8)
    here[0, 0, 0], there[0, 0, 1] = 1, 1
    made = image.copy()
    made[0, 0, 0, 0] += 10
    found = fidelity_of(_view(image, here), _view(made, there), (1,), (WINDOW,))["0"]
    assert found["lesion"]["mae"] == pytest.approx(5.0, abs=1e-4)  # two pixels, one is off by 10


def test_what_lies_outside_the_window_is_not_seen() -> None:
    real = np.full((1, 1, 12, 12), -1000.0)
    made = np.full((1, 1, 12, 12), -200.0)
    real[0, 0, 0, 0] = made[0, 0, 0, 0] = 50
    found = fidelity_of(_view(real, None), _view(made, None), (), (WINDOW,))["0"]
    assert set(found) == {"whole"}
    assert found["whole"]["mae"] == 0.0


def test_a_picture_too_small_for_ssim_has_none_and_the_rest() -> None:
    image = np.random.default_rng(0).uniform(-50, 50, (1, 1, 8, 20))
    found = fidelity_of(_view(image, None), _view(image + 2, None), (), (WINDOW,))["0"]["whole"]
    assert math.isnan(found["ssim"])
    assert "ms_ssim" not in found
    assert found["mae"] == pytest.approx(2, abs=1e-4)
