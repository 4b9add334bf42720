"""The registration study: real, moved apart, synthetic; a patient counts once."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.data.store import Store
from scansmith.data.write import open_writer
from scansmith.scan import DataError
from scansmith.studies import registration
from scansmith.studies.registration import (
    Options,
    Shown,
    real_slices,
    scored,
    study,
    synthetic_slices,
)
from scansmith.synthesize.provenance import append_row
from scansmith.synthesize.works import written_table
from scansmith.workflow import prepare


def shown(patient="a", turn=0):
    """Three modalities of a disc: bright on dark, the inverse, and the disc turned away."""
    y, x = np.mgrid[:32, :32]
    disc = ((y - 15) ** 2 + (x - 15) ** 2 < 81).astype(np.float32)
    images = np.stack([0.2 + 0.6 * disc, 0.9 - 0.6 * np.roll(disc, turn, 1)])
    return Shown(patient, images, np.zeros((32, 32)))


def test_edges_of_inverse_contrast_agree_until_they_are_moved_apart():
    options = Options()
    dice = [scored([shown()], shift, options)["dice"]["mean"] for shift in (0, 1, 2, 4)]
    assert dice[0] == 1.0
    assert dice[0] > dice[1] > dice[2] > dice[3]
    # 0.2 against 0.9 outside and 0.8 against 0.3 in the disc
    disc = float((shown().images[0] > 0.5).mean())
    difference = scored([shown()], 0, options)["difference"]["mean"]
    assert difference == pytest.approx(0.7 * (1 - disc) + 0.5 * disc)
    information = [scored([shown()], shift, options)["mi"]["mean"] for shift in (0, 1, 2)]
    assert information[0] > information[1] > information[2]


def test_a_patient_counts_once_however_many_slices_there_are():
    one = scored([shown("a"), shown("b", turn=3)], 0, Options())
    more = scored([shown("a")] * 5 + [shown("b", turn=3)], 0, Options())
    assert more["slices"] == 6
    assert more["patients"] == 2
    assert more["dice"]["mean"] == pytest.approx(one["dice"]["mean"])


def test_a_set_without_brain_is_refused():
    with pytest.raises(DataError, match="synthetic: no slice"):
        study({"real": [shown()], "synthetic": []}, Options())


@pytest.fixture(scope="module")
def brains(tmp_path_factory):
    """A store of phantoms, and its test slices as single-slice cases: a perfect generator's set."""
    root = tmp_path_factory.mktemp("registration")
    write_phantoms(root / "raw", "brain", 3, 1, (40, 40, 12))
    sets = ["data.size=40,40", "data.fit=resize", "data.split=0.4,0,0.6"]
    store = prepare(root / "raw", root / "store", "registered-multimodal", sets=sets, workers=1)
    for layout in ("nnunet", "brats"):
        writer = open_writer(
            layout, root / layout, store.facts.modalities, written_table(store.table, layout)
        )
        places = [
            (name, n)
            for name in store.names("test")
            for n, labels in enumerate(store.volume(name)[1])
            if labels.any()
        ]
        for number, (name, n) in enumerate(places):
            image, labels = store.sample(name, n)
            case = f"synth_{number:06}"
            scan = store.scan(name, image[None], labels[None], case, n)
            values = writer.table.decode(store.table.encode(scan.labels))
            writer.write(replace(scan, labels=values, patient=case))
            row = {"case": case, "number": number, "files": {}, "source_case": name}
            append_row(root / layout / "provenance.jsonl", row)
        writer.close()
    return root


@pytest.mark.parametrize("layout", ["nnunet", "brats"])
def test_a_perfect_copy_of_real_slices_measures_as_they_do(brains, layout):
    """A slice keeps the range of its volume, though it is a case of its own in a synthetic set."""
    store, options = Store.open(brains / "store"), Options(slices=12)
    real = real_slices(store, "test", options, lesion=6)
    copies = synthetic_slices(brains / layout, store, options, lesion=6)
    assert 4 < len(real) == len(copies)
    assert min(one.images.max(axis=(1, 2)).min() for one in real) < 0.9  # not all reach their top
    for one, copy in zip(real, copies, strict=True):
        np.testing.assert_array_equal(copy.labels, one.labels)
        np.testing.assert_allclose(copy.images, one.images, atol=1e-4)
    wanted, found = (
        study({"real": real, "synthetic": slices}, options)["sets"] for slices in (real, copies)
    )
    assert wanted["real"] == found["real"]
    # Twelve cases of two patients are two, as in the scans they are from; so are two such sets.
    twice = study({"real": real, "synthetic": [*copies, *copies]}, options)["sets"]
    for told in (found["synthetic"], twice["synthetic"]):
        assert told["patients"] == found["real"]["patients"]
        for measure in registration.MEASURES:
            mine, theirs = told[measure], found["real"][measure]
            assert mine["mean"] == pytest.approx(theirs["mean"], rel=1e-3), measure
            assert mine["interval"] == pytest.approx(theirs["interval"], rel=1e-3), measure


def test_a_set_that_names_no_source_is_scaled_by_its_own_range(brains):
    """A whole volume made elsewhere has one; so has a slice, which may come out brighter."""
    store, options = Store.open(brains / "store"), Options(slices=12)
    rows = brains / "nnunet" / "provenance.jsonl"
    text = rows.read_bytes()
    rows.unlink()
    try:
        for one in synthetic_slices(brains / "nnunet", store, options, lesion=6):
            np.testing.assert_array_equal(one.images.max(axis=(1, 2)), 1)
    finally:
        rows.write_bytes(text)


def test_the_command_measures_a_data_set_beside_the_stores_patients(tmp_path, capsys):
    write_phantoms(tmp_path / "brain", "brain", 3, 1, (48, 56, 8))
    write_phantoms(tmp_path / "synthetic", "brain", 1, 7, (48, 56, 8))
    sets = ["data.size=56,48", "data.fit=resize", "data.split=0.6,0,0.4"]
    store = prepare(
        tmp_path / "brain", tmp_path / "store", "registered-multimodal", sets=sets, workers=1
    )
    out = tmp_path / "out"
    words = [str(store.path), f"other={tmp_path / 'synthetic'}", "--out", str(out), "--slices", "2"]
    registration.main(words)
    found = json.loads((out / "study.json").read_text())["sets"]
    assert set(found) == {
        "real", "real, moved by 1 px", "real, moved by 2 px", "real, moved by 4 px", "other",
    }  # fmt: skip
    real, moved, other = (found[name] for name in ("real", "real, moved by 4 px", "other"))
    # phantoms are registered: another set of them stands with the real ones
    assert moved["dice"]["mean"] < other["dice"]["mean"]
    assert moved["mi"]["mean"] < min(real["mi"]["mean"], other["mi"]["mean"])
    assert other["patients"] == 1
    assert "| other |" in capsys.readouterr().out
    assert (out / "study.png").is_file()
