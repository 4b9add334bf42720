"""The registration study: real, moved apart, synthetic; a patient counts once."""

import json

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import DataError
from scansmith.studies import registration
from scansmith.studies.registration import Options, Shown, scored, study
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
