"""The audit's calibration: what is pasted is found by its inside, strangers are not called."""

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.scan import DataError
from scansmith.studies import audit_calibration as calibration
from scansmith.studies.audit_calibration import CHANGES, Cases, pasted


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    out = tmp_path_factory.mktemp("livers") / "raw"
    write_phantoms(out, "liver", 48, 0, (96, 96, 8))
    return Cases.of(out)


def test_a_pasted_lesion_is_the_donors_and_the_only_one(cases):
    donors = cases.with_region("inside")
    donor = cases.views[donors[0]]
    recipient = next(case for case in cases.views if case.case != donor.case)
    change, _ = CHANGES["as it is"]
    made = pasted(recipient, donor, change, cases)
    whole = calibration.lesions(donor, (2,))[0]
    there = made.labels == 2
    assert there.sum() == whole.sum()
    np.testing.assert_array_equal(made.image[0][there], donor.image[0][whole])
    np.testing.assert_array_equal(made.image[0][~there], recipient.image[0][~there])


@pytest.mark.parametrize("how", CHANGES)
def test_each_change_leaves_a_lesion(cases, how):
    donor, recipient = (cases.views[n] for n in cases.with_region("inside")[:2])
    change, keep = CHANGES[how]
    made = pasted(recipient, donor, change, cases, keep=keep)
    assert (made.labels == 2).sum() >= 40
    assert np.isfinite(made.image).all()


def test_the_inside_finds_what_the_box_does_not(cases):
    found = calibration.found_pastes(cases, most=4)["as it is"]
    assert found["inside"]["pasted"] >= 3
    assert found["inside"]["called"] == found["inside"]["pasted"]
    assert found["inside"]["nearest to the donor"] == found["inside"]["pasted"]
    assert found["lesion"]["called"] < found["inside"]["called"]


def test_a_lesion_pasted_beside_a_larger_one_is_found_too(cases):
    lesion = cases.layout.shared.lesion
    sizes = {
        n: calibration.lesions(cases.views[n], lesion)[0].sum() for n in cases.with_region("inside")
    }
    recipient = max(sizes, key=sizes.get)
    tried = (
        pasted(cases.views[recipient], cases.views[n], lambda patch: patch, cases, keep=True)
        for n in sizes
        if n != recipient
    )
    pieces = next(found for one in tried if len(found := calibration.lesions(one, lesion)) > 1)
    assert pieces[0].sum() == sizes[recipient] > pieces[1].sum()  # the largest is its own
    found = calibration.found_pastes(cases, most=4)["as it is, beside the recipient's own"]
    assert found["inside"]["pasted"] >= 3
    assert found["inside"]["called"] == found["inside"]["pasted"]


def test_strangers_are_seldom_called(cases):
    rows = calibration.false_alarms(cases, deals=200)
    assert rows["inside"]["cases"] == len(cases.with_region("inside"))
    assert all(row["false alarms"] <= 0.1 for row in rows.values())  # wanted is 0.01
    assert set(rows["inside"]["few"]) == {12, 24}


def test_a_few_cases_are_too_few(tmp_path):
    write_phantoms(tmp_path / "raw", "liver", 3, 0, (48, 48, 8))
    with pytest.raises(DataError, match="found 3 labelled cases"):
        Cases.of(tmp_path / "raw")


def test_the_command_line_writes_both_tables(cases, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Cases, "of", staticmethod(lambda data, lesion=None: cases))
    monkeypatch.setattr(calibration, "CHANGES", {"as it is": CHANGES["as it is"]})
    calibration.main(["livers", "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "study.md").read_text(encoding="utf-8")
    assert "| lesion's inside | " in text
    assert "| as it is | " in text
    assert text.strip() in capsys.readouterr().out
