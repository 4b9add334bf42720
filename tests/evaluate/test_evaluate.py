from __future__ import annotations

import importlib
import json
import re
from html import unescape
from pathlib import Path

import nibabel
import numpy as np
import pytest

from scansmith.evaluate import evaluate
from scansmith.evaluate.compare import strict
from scansmith.scan import DataError, SettingsError

STEP = np.diag([-1.0, -1.5, 4.0, 1.0])
SHAPE = (24, 20, 5)


def _case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A body at 40 HU in air, a liver of 90 and a tumour of 60, with noise, (i, j, k)."""
    rng = np.random.default_rng(seed)
    image = np.full(SHAPE, -900.0)
    labels = np.zeros(SHAPE, np.uint8)
    image[2:22, 2:18] = 40
    labels[4:16, 4:14] = 1
    x, y, size = rng.integers(5, 10), rng.integers(5, 9), rng.integers(4, 6)
    labels[x : x + size, y : y + size, 1:4] = 2
    image[labels == 1], image[labels == 2] = 90, 60
    return image + rng.normal(0, 6, SHAPE) + rng.normal(0, 3), labels


def _write(root: Path, cases: dict[str, tuple], names: dict[str, int] | None = None) -> Path:
    """An nnU-Net raw data set; a case is (image, labels) or (image, labels, affine)."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    table = names or {"background": 0, "liver": 1, "tumour": 2}
    facts = {
        "channel_names": {"0": "CT"},
        "labels": table,
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (root / "dataset.json").write_text(json.dumps(facts))
    for name, (image, labels, *affine) in cases.items():
        at = affine[0] if affine else STEP
        rounded = np.rint(image).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(rounded, at), root / "imagesTr" / f"{name}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, at), root / "labelsTr" / f"{name}.nii.gz")
    return root


def _numbered(seeds: range, prefix: str = "case") -> dict[str, tuple]:
    return {f"{prefix}_{seed:02d}": _case(seed) for seed in seeds}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _write(tmp_path_factory.mktemp("data") / "real_liver", _numbered(range(6)))


def test_a_scan_in_another_scale_is_measured_as_if_it_were_in_the_others(tmp_path: Path) -> None:
    found = []
    for loud in (0, 1):
        sides = []
        for side, more in (("real", 0), ("made", 20)):
            cases = {
                name: ((image + more + 950) * (10 if n == loud else 1), labels)
                for n, (name, (image, labels)) in enumerate(_numbered(range(4)).items())
            }
            sides.append(_write(tmp_path / f"{side}{loud}", cases))
            table = json.loads((sides[-1] / "dataset.json").read_text())
            table["channel_names"] = {"0": "T1"}
            (sides[-1] / "dataset.json").write_text(json.dumps(table))
        found.append(evaluate(*sides, tmp_path / f"out{loud}"))
    assert all(one["windows"]["t1"]["own"] for one in found)
    for rows in zip(*(one["pairs"]["cases"] for one in found), strict=True):
        first, second = (row["values"]["t1"]["whole"] for row in rows)
        assert first == pytest.approx(second, rel=0.02)  # but for rounding to whole numbers
        assert 0.005 < first["mae"] < 0.05  # 20 of a range of about 1000
    texture = [one["texture"]["t1"]["whole"]["frechet"]["real_vs_real"]["median"] for one in found]
    assert texture[0] == pytest.approx(texture[1], rel=0.05)


def test_pairs_are_measured_and_the_page_needs_nothing_else(real: Path, tmp_path: Path) -> None:
    # Every soft-tissue voxel is 20 HU too bright; air stays below the window's low end.
    made = {name: (image + 20, labels) for name, (image, labels) in _numbered(range(6)).items()}
    synthetic = _write(tmp_path / "made", made)
    steps: list[tuple[int, int, str]] = []
    found = evaluate(real, synthetic, tmp_path / "out", progress=lambda *step: steps.append(step))

    assert found["windows"]["ct"]["data_range"] == 400.0
    assert found["pairs"]["count"] == found["pairs"]["labels_equal"] == 6
    lesion = found["pairs"]["fidelity"]["ct"]["lesion"]
    assert lesion["mae"]["mean"] == pytest.approx(20)
    assert lesion["bias"]["mean"] == pytest.approx(20)
    assert lesion["sd_ratio"]["mean"] == pytest.approx(1)
    assert lesion["psnr"]["mean"] == pytest.approx(20 * np.log10(400 / 20))
    assert lesion["psnr"]["interval"] == pytest.approx([26.0206, 26.0206], abs=1e-3)
    # 20 x 16 of 24 x 20 pixels are body, the air is clipped to black in both.
    whole = found["pairs"]["fidelity"]["ct"]["whole"]
    assert whole["mae"]["mean"] == pytest.approx(20 * 320 / 480)

    # Histograms of both sets are 20 HU apart; labels are the same.
    assert found["intensity"]["ct"]["lesion"]["wasserstein"]["value"] == pytest.approx(20)
    assert found["lesions"]["lesion volume"]["wasserstein"]["value"] == 0
    words = {(v["aspect"], v["region"]): v["verdict"] for v in found["verdicts"]}
    assert words["grey values", "lesion"] in ("differs", "far")
    assert words["mean, in pairs", "lesion"] == "differs"  # 5 % of the data range
    assert words["spread, in pairs", "lesion"] == "close"

    assert _unstated(found) == []
    # The lesion has fewer voxels than mutual information needs; the whole image has 2400.
    assert lesion["mi"]["mean"] is None
    assert found["pairs"]["fidelity"]["ct"]["whole"]["mi"]["mean"] > 0.5
    assert found["pairs"]["fidelity"]["ct"]["whole"]["mi"]["data_range"] == 400

    text = (tmp_path / "out" / "metrics.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail) == found
    assert steps[0][:2] == (0, 12)
    assert steps[-1][:2] == (12, 12)
    page = (tmp_path / "out" / "report.html").read_text()
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert not re.findall(r"(?:https?:|//[a-z]|<script|<link|@import|url\()", text)
    assert "not a medical device" in page.lower()
    assert page.count("data:image/png;base64,") > 6 * 4


def _unstated(found: dict) -> list[str]:
    """What the measures of an evaluation leave unsaid, as "where: what".

    Each has a protocol, an interval, counts of what that was drawn from, the data range of its
    window, and a reason for what is null. (Only a ratio may be: real patients may not differ.)
    """
    said = found["protocols"]
    lacking = []

    def walk(value: object, path: str, measure: bool) -> None:
        if not isinstance(value, dict):
            return
        if value.get("protocol") in said:
            measure = True
            if "interval" not in value and "interval" not in value.get("difference", ()):
                lacking.append(f"{path}: interval")
            for name, window in found["windows"].items():
                within = f"/{name}/" in path or f", {name}/" in path
                if within and value.get("data_range") != window["data_range"]:
                    lacking.append(f"{path}: data range")
        if "interval" in value:
            if not measure:
                lacking.append(f"{path}: protocol")
            if not path.endswith(_COUNTED_ABOVE) and not _counted(value):
                lacking.append(f"{path}: counts")
        nulls = {key for key, item in value.items() if item is None} - {"ratio"}
        if measure and nulls and not value.get("reason"):
            lacking.append(f"{path}: reason of {sorted(nulls)}")
        for key, item in value.items():
            walk(item, f"{path}/{key}", measure)

    walk(found, "", False)
    return lacking


_COUNTED_ABOVE = ("/real_vs_real", "/real_vs_synthetic", "/difference")


def _counted(value: dict) -> bool:
    if "cases" in value:
        return "patients" in value or value["cases"] == 0
    sides, counts = ("real", "synthetic"), ("samples", "patients")
    return all(f"{side}_{count}" in value for side in sides for count in counts)


def test_slices_that_do_not_belong_together_are_found_out(real: Path, tmp_path: Path) -> None:
    made = _numbered(range(20, 26), "other")
    for image, _ in made.values():
        image[..., 1::2] += 60
    found = evaluate(real, _write(tmp_path / "made", made), tmp_path / "out")
    words = {v["aspect"]: v["verdict"] for v in found["verdicts"]}
    assert words["step from slice to slice"] == words["flicker from slice to slice"] == "far"
    assert words["overlap from slice to slice"] == "close"
    # Tumours are 30 HU darker than the liver.
    contrast = found["lesions"]["lesion contrast, ct"]["real"]
    assert contrast["mean"] == pytest.approx(-30, abs=3)


def test_a_segmenter_is_trained_where_that_is_asked_for(real: Path, tmp_path: Path) -> None:
    synthetic = _write(tmp_path / "made", _numbered(range(20, 23), "other"))
    out = tmp_path / "out"
    found = evaluate(real, synthetic, out, faithfulness=True, steps=2)
    assert found["faithfulness"]["facts"]["patients_learned_from"] == 4
    assert set(found["faithfulness"]["structures"]) == {"liver", "tumour"}
    assert _unstated(found) == []
    aspects = [v["aspect"] for v in found["verdicts"]]
    assert {"faithfulness of liver", "faithfulness of tumour"} <= set(aspects)
    assert (out / "faithfulness" / "2_steps" / "run.json").is_file()
    page = (out / "report.html").read_text()
    assert "Do images show what their labels say?" in page
    assert "learn for more steps" in page
    assert evaluate(real, synthetic, out, faithfulness=True, steps=2) == found  # nothing is redone


def test_two_sets_without_pairs_are_compared_as_sets(real: Path, tmp_path: Path) -> None:
    synthetic = _write(tmp_path / "made", _numbered(range(20, 26), "other"))
    found = evaluate(real, synthetic, tmp_path / "out")
    assert found["pairs"]["count"] == 0
    assert found["pairs"]["fidelity"] == {"ct": {}}
    texture = found["texture"]["ct"]["lesion"]["frechet"]
    assert texture["value"] > 0
    assert texture["real_vs_real"]["median"] > 0
    assert found["lesions"]["lesions per case"]["real"]["mean"] == 1.0
    # Each voxel is 1 x 1.5 x 4 mm; real volumes are size x size x 3 voxels.
    sizes = [(_case(seed)[1] == 2).sum() * 6.0 for seed in range(6)]
    assert found["lesions"]["lesion volume"]["real"]["mean"] == pytest.approx(np.mean(sizes))
    assert found["structures"]["liver"]["synthetic"]["cases_with"] == 6
    near = found["texture"]["ct"]["whole"]["neighbours"]
    assert (near["coverage"]["real_samples"], near["coverage"]["real_patients"]) == (30, 6)
    assert near["coverage"]["verdict"] == "close"
    rows = {(v["aspect"], v["region"]): v for v in found["verdicts"]}
    shown, low = (
        rows["variety (coverage)", "whole"],
        near["coverage"]["real_vs_real"]["interval"][0],
    )
    assert shown["real_vs_real"]["interval"][1] == pytest.approx(1 - low)  # what lacks to 1
    assert found["faithfulness"] is None
    assert "From slice to slice" in (tmp_path / "out" / "report.html").read_text()


def test_one_synthetic_case_is_measured_and_what_it_cannot_tell_is_said(
    real: Path, tmp_path: Path
) -> None:
    found = evaluate(real, _write(tmp_path / "made", _numbered(range(20, 21))), tmp_path / "out")
    frechet = found["texture"]["ct"]["whole"]["frechet"]
    assert frechet["verdict"] in ("close", "differs", "far")
    assert (frechet["interval"], frechet["synthetic_patients"]) == (None, 1)
    assert _unstated(found) == []


def test_an_evaluation_that_is_stopped_leaves_no_numbers_without_their_page(
    real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        importlib.import_module("scansmith.evaluate.report"), "write_report", stopped
    )
    synthetic = _write(tmp_path / "made", _numbered(range(50, 52), "made"))
    with pytest.raises(KeyboardInterrupt):
        evaluate(real, synthetic, tmp_path / "out")
    assert not list(tmp_path.glob("out/*"))


def test_the_same_call_gives_the_same_bytes(real: Path, tmp_path: Path) -> None:
    synthetic = _write(tmp_path / "made", _numbered(range(3, 7)))
    for out in ("one", "two"):
        evaluate(real, synthetic, tmp_path / out, limit=3, seed=4)
    for name in ("metrics.json", "report.html"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    found = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert _unstated(found) == []
    assert found["real"]["cases_measured"] == found["synthetic"]["cases_measured"] == 3
    assert found["texture"]["ct"]["whole"]["frechet"]["verdict"] is None  # three patients
    assert "3 real patients" in found["texture"]["ct"]["whole"]["frechet"]["reason"]


def test_copies_of_real_cases_are_pointed_out(real: Path, tmp_path: Path) -> None:
    found = evaluate(real, real, tmp_path / "out", limit=2)
    assert any("copies of real ones" in note for note in found["notes"])
    psnr = found["pairs"]["fidelity"]["ct"]["whole"]["psnr"]
    assert psnr["mean"] is None  # infinite
    assert psnr["left_out"] == 2
    assert _unstated(found) == []
    assert evaluate(real, real, tmp_path / "out", limit=2, pairs="none")["pairs"]["count"] == 0


def test_a_frame_round_what_was_scanned_is_told(real, tmp_path):
    framed = {
        name: tuple(np.pad(array, ((3, 3), (0, 0), (0, 0)), mode="edge") for array in case)
        for name, case in _numbered(range(6), "made").items()
    }
    for found, told in ((evaluate(real, _write(tmp_path / "made", framed), tmp_path / "out"), 1),
                        (evaluate(real, real, tmp_path / "same"), 0)):  # fmt: skip
        notes = [note for note in found["notes"] if "field of view" in note]
        assert len(notes) == told
    # 20 x 24 pixels of 1.5 x 1 mm; three more on both sides of the last make 30
    assert (
        "(30 x 24 and 30 x 30 mm, median)"
        in evaluate(real, tmp_path / "made", tmp_path / "again")["notes"][-1]
    )


def test_provenance_names_the_pairs_and_keeps_a_patient_from_its_own_copy(
    real: Path, tmp_path: Path
) -> None:
    made = {f"synth_{n}": case for n, case in enumerate(_numbered(range(2)).values())}
    synthetic = _write(tmp_path / "made", made)
    rows = [
        {"case": "synth_0", "source_case": "case_00", "paired": True},
        {"case": "synth_1", "source_case": "case_01", "paired": False},
    ]
    (synthetic / "provenance.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = evaluate(real, synthetic, tmp_path / "out")
    assert [row["real_case"] for row in found["pairs"]["cases"]] == ["case_00"]


def test_pairs_are_brought_to_the_synthetic_grid_and_that_is_told(
    real: Path, tmp_path: Path
) -> None:
    (image, labels), (other, other_labels), (third, third_labels) = map(_case, range(3))
    crop, half, coarse = STEP.copy(), STEP.copy(), STEP @ np.diag([2, 2, 1, 1])
    crop[:3, 3] = STEP[:3, :3] @ [1, 0, 1]
    half[:3, 3] = STEP[:3, :3] @ [0.5, 0, 0]
    # Uniform along i and j, so that every resampling gives the same values.
    flat = np.broadcast_to(other[10:11, 10:11], SHAPE)
    real = _write(
        tmp_path / "real",
        {
            "case_00": (image, labels),
            "case_01": (flat, other_labels),
            "case_02": (third, third_labels),
        },
    )
    made = {
        "case_00": (image[1:23, :, 1:4], labels[1:23, :, 1:4], crop),
        "case_01": (flat[::2, ::2] + 8, other_labels[::2, ::2], coarse),
        "case_02": (third, third_labels, half),
    }
    found = evaluate(real, _write(tmp_path / "made", made), tmp_path / "out")
    pairs = found["pairs"]
    assert (pairs["count"], pairs["resampled"]) == (2, 1)
    assert [(row["case"], row["resampled"]) for row in pairs["cases"]] == [
        ("case_00", False),
        ("case_01", True),
    ]
    cut, averaged = (row["values"]["ct"]["whole"] for row in pairs["cases"])
    assert cut["mse"] == 0
    assert averaged["mae"] == pytest.approx(8, abs=1e-3)
    assert pairs["labels_equal"] == 2
    (problem,) = pairs["not_compared"]
    assert (problem["case"], problem["kind"]) == ("case_02", "grid")
    assert found["synthetic"]["cases_measured"] == 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 of 2 pairs lie on different grids" in page
    assert "are shifted by part of a voxel" in page


def test_labels_are_matched_by_name(real: Path, tmp_path: Path) -> None:
    made = {name: (image, labels * 10) for name, (image, labels) in _numbered(range(6)).items()}
    table = {"background": 0, "Liver": 10, "liver tumor": 20}
    found = evaluate(real, _write(tmp_path / "made", made, table), tmp_path / "out")
    assert found["pairs"]["labels_equal"] == 6
    assert found["settings"]["lesion"] == ["tumour"]


def test_sets_with_nothing_in_common_and_broken_cases_are_refused(
    real: Path, tmp_path: Path
) -> None:
    heart = _write(tmp_path / "heart", _numbered(range(2)), {"background": 0, "a": 1, "b": 2})
    with pytest.raises(DataError, match="labels: the real set labels liver, tumour"):
        evaluate(real, heart, tmp_path / "out")
    made = _write(tmp_path / "made", _numbered(range(4)))
    for name in ("case_01", "case_03"):
        path = made / "imagesTr" / f"{name}_0000.nii.gz"
        path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError) as error:
        evaluate(real, made, tmp_path / "out")
    assert [p.where.split(" (")[0] for p in error.value.problems] == [
        "synthetic set, case_01",
        "synthetic set, case_03",
    ]
    # of the real set too, one of whose cases the window would have been fitted to
    with pytest.raises(DataError) as error:
        evaluate(made, made, tmp_path / "out")
    assert [p.where.split(" (")[0] for p in error.value.problems] == [
        f"{side} set, case_0{n}" for side in ("real", "synthetic") for n in (1, 3)
    ]
    assert not (tmp_path / "out").exists()


def test_settings_that_are_none_are_refused(real: Path, tmp_path: Path) -> None:
    for wrong, text in (
        ({"limit": 0}, "limit: found 0"),
        ({"faithfulness": True, "steps": 0}, "steps: found 0"),
        ({"pairs": "all"}, "pairs: found 'all'"),
        ({"window": (5, 5)}, "window: found 5 to 5"),
        ({"data_range": 0}, "data range: found 0"),
    ):
        with pytest.raises(SettingsError, match=text):
            evaluate(real, real, tmp_path / "out", **wrong)
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is a file, expected a folder"):
        evaluate(tmp_path / "not looked at", real, tmp_path / "file")
    with pytest.raises(SettingsError, match="file: is a file, expected a folder"):
        evaluate(tmp_path / "not looked at", real, tmp_path / "file" / "deeper" / "still")
    with pytest.raises(SettingsError, match="report: lies in the synthetic set"):
        evaluate(tmp_path / "not looked at", real, real / "report")
    with pytest.raises(DataError, match="no such file"):
        evaluate(real, real, tmp_path / "out", features=tmp_path / "none.safetensors")


def test_names_from_other_people_s_files_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    cases = {"a&'b\"": _case(0), "c{{7*7}}": _case(1)}
    sets = [
        _write(tmp_path / side, cases, {"background": 0, evil: 1, "tumour": 2})
        for side in ("one", "two")
    ]
    evaluate(*sets, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert evil in unescape(page)
    assert "c{{7*7}}" in page
    assert "a&amp;&#39;b&#34;" in page


def test_a_feature_network_adds_its_distance(real: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from scansmith.evaluate.feature_network import POSITIONS

    generator = torch.Generator().manual_seed(0)
    tensors, inputs = {}, 1
    for position in POSITIONS:
        tensors[f"features.{position}.weight"] = torch.randn(4, inputs, 3, 3, generator=generator)
        tensors[f"features.{position}.bias"] = torch.zeros(4)
        inputs = 4
    save_file(tensors, tmp_path / "weights.safetensors")
    synthetic = _write(tmp_path / "made", _numbered(range(20, 24), "other"))
    found = evaluate(real, synthetic, tmp_path / "out", features=tmp_path / "weights.safetensors")
    assert len(found["network"]["weights_sha256"]) == 64
    assert found["network"]["ct"]["frechet"]["value"] >= 0
    assert "8 voxels" in found["network"]["ct"]["three_planes"]["frechet"]["reason"]  # 5 slices
    assert _unstated(found) == []
    assert found["network"]["weights_sha256"][:16] in (tmp_path / "out/report.html").read_text()


def test_pictures_without_a_lesion_or_labels_are_compared_too(tmp_path: Path) -> None:
    from PIL import Image

    for side, seeds in (("real", range(5)), ("made", range(5, 10))):
        folder = tmp_path / side / "images"
        folder.mkdir(parents=True)
        for seed in seeds:
            grey = np.random.default_rng(seed).integers(0, 256, (20, 30), np.uint8)
            Image.fromarray(grey).save(folder / f"p{seed}_1.png")
    found = evaluate(tmp_path / "real", tmp_path / "made", tmp_path / "out")
    assert found["settings"]["lesion"] == []
    assert found["lesions"] == found["structures"] == found["continuity"] == {}
    assert list(found["texture"]["image"]) == ["whole"]
    assert _unstated(found) == []


def test_what_is_not_finite_becomes_null_in_json() -> None:
    mixed = {"a": float("nan"), "b": [np.float64(np.inf), np.int64(3)], "c": (1.5, None)}
    assert strict(mixed) == {"a": None, "b": [None, 3], "c": [1.5, None]}


@pytest.mark.slow
def test_real_liver_scans_are_close_to_themselves(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "liver-lits"
    found = evaluate(folder, folder, tmp_path / "out", limit=5, pairs="none")
    assert {v["verdict"] for v in found["verdicts"]} <= {"close", None}
