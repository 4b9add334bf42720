"""Bad data: every kind of it is found, all cases at once, by check and by prepare alike."""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scansmith.data.check import check
from scansmith.data.prepare import prepare
from scansmith.io.nifti import read_nifti, write_nifti
from scansmith.recipe import Draw, Intensity, Recipe
from scansmith.scan import DataError

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])
Damage = Callable[[Path, Path], object]  # image and labels of one case


def _recipe(**changes: object) -> Recipe:
    plain = dict(
        method="test", dims=2, size=(8, 8), intensity=Intensity(kind="window", low=-200, high=250),
        needs=("liver",), draws=(Draw(name="labelled", has=("*",)),), split=(0.6, 0.2, 0.2),
    )  # fmt: skip
    return Recipe(**plain | changes)  # type: ignore[arg-type]


def _data_set(root: Path, cases: int = 5) -> Path:
    """nnU-Net raw, CT of (6, 5, 3) voxels; each case has liver and a tumour."""
    for number in range(cases):
        image = np.random.default_rng(number).integers(-100, 200, (6, 5, 3)).astype(np.int16)
        labels = np.zeros((6, 5, 3), dtype=np.uint8)
        labels[1:5, 1:4] = 1
        labels[2, 2, 1] = 2
        write_nifti(root / "imagesTr" / f"case_{number}_0000.nii.gz", image, AFFINE)
        write_nifti(root / "labelsTr" / f"case_{number}.nii.gz", labels, AFFINE)
    head = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "tumour": 2}}
    (root / "dataset.json").write_text(json.dumps(head))
    return root


def _rewrite(path: Path, change: Callable[[np.ndarray], np.ndarray], affine: object = None) -> None:
    array, _ = read_nifti(path)
    write_nifti(path, change(array), AFFINE if affine is None else np.asarray(affine))


def _spoil(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float32)
        array[0, 1, 2] = value
        return array

    return change


def _spoil_lesion(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array[2, 2, 1] = 1080
    return array


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _no_slices(path: Path) -> None:
    array, _ = read_nifti(path)
    plain = write_nifti(path.with_name("plain.nii"), array, AFFINE)
    content = bytearray(plain.read_bytes())
    content[46:48] = struct.pack("<h", 0)  # dim[3]
    plain.unlink()
    path.write_bytes(gzip.compress(content))


BAD: dict[str, tuple[Damage, str]] = {
    "truncated gzip": (lambda image, labels: _cut(image), "truncated"),
    "truncated labels": (lambda image, labels: _cut(labels), "truncated"),
    "NaN": (lambda image, labels: _rewrite(image, _spoil(np.nan)), "nonfinite"),
    "infinity": (lambda image, labels: _rewrite(image, _spoil(-np.inf)), "nonfinite"),
    "another grid": (lambda image, labels: _rewrite(labels, lambda a: a[:-1]), "grid"),
    "another affine": (
        lambda image, labels: _rewrite(labels, lambda a: a, np.diag([0.8, -0.8, 2.5, 1])),
        "affine",
    ),
    "another spacing": (
        lambda image, labels: _rewrite(labels, lambda a: a, np.diag([-0.8, -0.8, 5, 1])),
        "affine",
    ),
    "nothing labelled": (lambda image, labels: _rewrite(labels, lambda a: a * 0), "empty"),
    "unknown value": (lambda image, labels: _rewrite(labels, lambda a: a * 3), "label-value"),
    "fractions as labels": (lambda image, labels: _rewrite(labels, _spoil(0.5)), "labels"),
    "constant image": (lambda image, labels: _rewrite(image, lambda a: a * 0 + 7), "constant"),
    "CT as HU + 1024": (lambda image, labels: _rewrite(image, lambda a: a + 1024), "window"),
    "air alone": (lambda image, labels: _rewrite(image, lambda a: a - 1000), "window"),
    "wrong channel": (
        lambda image, labels: image.rename(image.with_name("case_1_0001.nii.gz")),
        "channels",
    ),
    "missing modality": (lambda image, labels: image.unlink(), "modality"),
    "missing labels": (lambda image, labels: labels.unlink(), "unlabelled"),
    "4D image": (
        lambda image, labels: _rewrite(image, lambda a: np.stack([a, a + 1], axis=-1)),
        "dimensions",
    ),
    "4D labels": (
        lambda image, labels: _rewrite(labels, lambda a: np.stack([a, a], axis=-1)),
        "dimensions",
    ),
    "no slices": (lambda image, labels: _no_slices(image), "empty"),
    "no image at all": (lambda image, labels: image.write_text("Dear colleague"), "unreadable"),
    "duplicate": (
        lambda image, labels: image.write_bytes(image.with_name("case_0_0000.nii.gz").read_bytes()),
        "duplicate",
    ),
}


def _files(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("key", ["case_1.nii.gz", "case_17"])
def test_a_patient_who_is_named_for_no_case_is_told_before_the_split(
    tmp_path: Path, key: str
) -> None:
    root = _data_set(tmp_path / "set")
    (root / "patients.json").write_text(json.dumps({"case_0": "ann", key: "ann"}))
    (problem,) = check(root, _recipe()).problems
    assert (problem.where, problem.kind) == ("patients.json", "patients")
    assert repr(key) in problem.found
    with pytest.raises(DataError, match=r"patients\.json: names 'case_1"):
        prepare(root, tmp_path / "store", _recipe(), workers=1)
    assert not (tmp_path / "store").exists()


def test_a_good_data_set_has_no_problems(tmp_path: Path) -> None:
    report = check(_data_set(tmp_path / "set"), _recipe())
    assert report.ok
    assert len(report.cases) == 5
    assert report.cases[0].values == (0, 1, 2)
    json.dumps(report.as_dict())
    assert report.as_dict()["labels"] == {"0": "background", "1": "liver", "2": "tumour"}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_is_found_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    root = _data_set(tmp_path / "set")
    damage, kind = BAD[name]
    damage(root / "imagesTr" / "case_1_0000.nii.gz", root / "labelsTr" / "case_1.nii.gz")
    before = _files(root)
    problems = check(root, _recipe()).problems
    assert (problems[0].where, problems[0].kind) == ("case_1", kind)
    assert {problem.where for problem in problems} == {"case_1"}
    assert _files(root) == before
    with pytest.raises(DataError, match=r"case_1: "):
        prepare(root, tmp_path / "store", _recipe(), workers=1)
    assert not (tmp_path / "store").exists()
    assert _files(root) == before


@pytest.mark.usefixtures("links")
@pytest.mark.parametrize("way", ["../", "/", "link/"])
def test_a_list_that_leads_out_of_the_data_set_is_refused_and_nothing_is_written(
    tmp_path: Path, way: str
) -> None:
    root = _data_set(tmp_path / "set")
    outside = tmp_path / "secret.nii.gz"
    outside.write_bytes((root / "imagesTr" / "case_1_0000.nii.gz").read_bytes())
    if way == "link/":
        (root / "link").symlink_to(tmp_path, target_is_directory=True)
    image = str(outside) if way == "/" else f"{way}secret.nii.gz"
    head = json.loads((root / "dataset.json").read_text())
    head["training"] = [{"image": image, "label": "labelsTr/case_1.nii.gz"}]
    head["modality"] = head.pop("channel_names")
    for number in (0, 2, 3, 4):
        (root / "imagesTr" / f"case_{number}_0000.nii.gz").rename(root / f"case_{number}.nii.gz")
        names = {"image": f"case_{number}.nii.gz", "label": f"labelsTr/case_{number}.nii.gz"}
        head["training"].append(names)
    (root / "imagesTr" / "case_1_0000.nii.gz").unlink()
    head["labels"] = {"1": "liver", "2": "tumour"}
    (root / "dataset.json").write_text(json.dumps(head))
    with pytest.raises(DataError, match=r"dataset\.json training\[0\]\.image: the path") as error:
        prepare(root, tmp_path / "store", _recipe(), workers=1)
    assert [problem.kind for problem in error.value.problems] == ["path"]
    assert not (tmp_path / "store").exists()


def test_the_problems_of_all_cases_are_told_at_once(tmp_path: Path) -> None:
    root = _data_set(tmp_path / "set", cases=20)
    expected = []
    for number, (damage, kind) in enumerate(BAD.values(), start=1):
        if kind != "duplicate":
            image = root / "imagesTr" / f"case_{number}_0000.nii.gz"
            damage(image, root / "labelsTr" / f"case_{number}.nii.gz")
            expected.append((f"case_{number}", kind))
    found = {(problem.where, problem.kind) for problem in check(root, _recipe()).problems}
    # The wrong channel is renamed to another case's name by its damage: case_1 in place of its own.
    wrong = next(pair for pair in expected if pair[1] == "channels")
    assert {pair for pair in expected if pair != wrong} <= found


def test_normal_cases_are_welcome_where_the_method_wants_them(tmp_path: Path) -> None:
    root = _data_set(tmp_path / "set")
    _rewrite(root / "labelsTr" / "case_1.nii.gz", lambda labels: labels * 0)
    draws = (Draw(name="abnormal", has=("tumour",)), Draw(name="normal", lacks=("tumour",)))
    assert check(root, _recipe(draws=draws)).ok
    assert check(root).ok
    assert not check(root, _recipe()).ok


def test_a_window_has_to_show_what_is_kept(tmp_path: Path) -> None:
    root = _data_set(tmp_path / "set")
    for image in (root / "imagesTr").iterdir():
        _rewrite(image, _spoil_lesion)
    assert check(root, _recipe()).ok
    alone = _recipe(structures=("tumour",), needs=())
    assert {problem.kind for problem in check(root, alone).problems} == {"window"}
    with pytest.raises(DataError, match="what is labelled lies above 250 in ct"):
        prepare(root, tmp_path / "store", alone, workers=1)


def test_a_structure_that_the_method_needs_is_told(tmp_path: Path) -> None:
    (problem,) = check(_data_set(tmp_path / "set"), _recipe(needs=("spleen",))).problems
    assert problem.kind == "structure"
    assert "'spleen' among background, liver, tumour" in problem.found


def test_a_wrong_number_of_modalities_is_told(tmp_path: Path) -> None:
    (problem,) = check(_data_set(tmp_path / "set"), _recipe(channels=4)).problems
    assert problem.kind == "channels"


def test_progress_counts_every_case(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    check(_data_set(tmp_path / "set", 3), progress=lambda done, of: seen.append((done, of)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("folder", ["heart-ct-slices", "heart-acdc"])
def test_real_data_sets_are_clean(real_data: Path, folder: str) -> None:
    assert check(real_data / folder).problems == ()
