"""Whom the synthetic cases of a reader study are of, and that nobody is shown on both sides."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from scansmith.evaluate.reader_study.cases import choose, open_sets


def write_names(
    root: Path, names: Iterable[str], sources: Mapping[str, str] | None = None, ending: str = "nii"
) -> Path:
    """A set of empty files, for cases are chosen by their names; with provenance.jsonl if asked."""
    (root / "images").mkdir(parents=True)
    for name in names:
        (root / "images" / f"{name}.{ending}").touch()
    if sources is not None:
        rows = [{"case": case, "source_case": source} for case, source in sources.items()]
        (root / "provenance.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def patients(real: Path, synthetic: Path) -> dict[str, str]:
    """Synthetic case -> patient."""
    found = open_sets(real, synthetic, ())["synthetic"].cases
    return {files.case: files.patient for files in found}


def test_every_source_is_shown_before_a_second_case_of_one(tmp_path: Path) -> None:
    """20 synthetic cases of 4 sources; the real cases are of other patients."""
    real = write_names(tmp_path / "real", [f"other{n}" for n in range(10)])
    made_from = {f"synth_{n:02}": f"train{n % 4}" for n in range(20)}
    sets = open_sets(real, write_names(tmp_path / "made", made_from, made_from), ())
    for seed in range(20):
        chosen = choose(sets, 4, 1, np.random.default_rng(seed))
        shown = [c.files.case for c in chosen if c.truth == "synthetic"]
        assert {made_from[case] for case in shown} == {"train0", "train1", "train2", "train3"}


def test_a_source_that_is_left_out_keeps_its_patient_on_one_side(tmp_path: Path) -> None:
    """p0 to p5 have two real cases each; the source of each synthetic case is left out."""
    names = [f"p{n}_lesion{lesion}" for n in range(6) for lesion in (1, 2)]
    made_from = {f"synth_{n}": f"p{n}_lesion1" for n in range(6)}
    real = write_names(tmp_path / "real", names)
    synthetic = write_names(tmp_path / "made", made_from, made_from)
    sets = open_sets(real, synthetic, sorted(made_from.values()))
    assert [files.case for files in sets["real"].cases] == [f"p{n}_lesion2" for n in range(6)]
    for seed in range(20):
        shown: dict[str, set[str]] = {"real": set(), "synthetic": set()}
        for c in choose(sets, 3, 1, np.random.default_rng(seed)):
            shown[c.truth].add(made_from.get(c.files.case, c.files.case).split("_")[0])
        assert len(shown["real"]) == len(shown["synthetic"]) == 3
        assert not shown["real"] & shown["synthetic"]


def test_a_real_case_that_is_left_out_still_tells_who_is_a_real_patient(tmp_path: Path) -> None:
    """One synthetic case has the patient's name, the other has a row that names the source."""
    real = write_names(tmp_path / "real", ["BraTS-GLI-7-000", "BraTS-GLI-9-000"])
    names = ["BraTS-GLI-7-001", "synth_0"]
    synthetic = write_names(tmp_path / "made", names, {"synth_0": "BraTS-GLI-7-000"})
    sets = open_sets(real, synthetic, ["BraTS-GLI-7-000"])
    assert [files.patient for files in sets["real"].cases] == ["BraTS-GLI-9"]
    assert [files.patient for files in sets["synthetic"].cases] == ["BraTS-GLI-7", "BraTS-GLI-7"]


def test_who_a_source_is_of_is_told_as_the_real_set_tells_it(tmp_path: Path) -> None:
    """By patients.json, also of cases that lie elsewhere; else by the conventions of names."""
    real = write_names(tmp_path / "real", ["scan_a", "BraTS-GLI-7-001"])
    (real / "patients.json").write_text(json.dumps({"scan_a": "Anna", "scan_b": "Anna"}))
    made_from = {
        "s0": "scan_b",  # another scan of Anna's, not in the folder
        "s1": "BraTS-GLI-7-000",  # an earlier scan of one who is
        "s2": "BraTS-GLI-8-000",  # of one who is not
        "s3": "",  # a row that names no source
        "scan_a": "",  # neither does this one, but it is called like a real case
    }
    synthetic = write_names(tmp_path / "made", made_from, made_from)
    assert patients(real, synthetic) == {
        "s0": "Anna",
        "s1": "BraTS-GLI-7",
        "s2": "BraTS-GLI-8",
        "s3": "synthetic s3",
        "scan_a": "Anna",
    }


def test_slices_are_of_the_patient_of_the_slice_or_volume_that_they_were_made_from(
    tmp_path: Path,
) -> None:
    made_from = {
        "synth_1_000": "p1_009",  # a slice, of the patient of p1_004
        "synth_2_000": "p2_009",
        "synth_3": "volume_2",  # a volume, of which synth_3_000 is one slice
    }
    pictures = ["synth_1_000", "synth_2_000", "synth_3_000"]
    real = write_names(tmp_path / "real", ["p1_004"], ending="png")
    synthetic = write_names(tmp_path / "made", pictures, made_from, ending="png")
    assert list(patients(real, synthetic).values()) == ["p1", "p2", "volume_2"]
