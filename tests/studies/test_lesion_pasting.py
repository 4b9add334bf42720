"""Lesions of one phantom in another: whole, and nothing else is touched."""

import numpy as np
import pytest

from scansmith.data.phantom import write_phantoms
from scansmith.evaluate.privacy.cases import lesions
from scansmith.studies.audit_calibration import Cases
from scansmith.studies.lesion_pasting import CHANGES, pasted


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    out = tmp_path_factory.mktemp("livers") / "raw"
    write_phantoms(out, "liver", 12, 0, (96, 96, 8))
    return Cases.of(out)


def test_a_pasted_lesion_is_the_donors_and_the_only_one(cases):
    donors = cases.with_region("inside")
    donor = cases.views[donors[0]]
    recipient = next(case for case in cases.views if case.case != donor.case)
    change, _ = CHANGES["as it is"]
    made = pasted(recipient, donor, change, cases.layout)
    whole = lesions(donor, (2,))[0]
    there = made.labels == 2
    assert there.sum() == whole.sum()
    np.testing.assert_array_equal(made.image[0][there], donor.image[0][whole])
    np.testing.assert_array_equal(made.image[0][~there], recipient.image[0][~there])


@pytest.mark.parametrize("how", CHANGES)
def test_each_change_leaves_a_lesion(cases, how):
    donor, recipient = (cases.views[n] for n in cases.with_region("inside")[:2])
    change, keep = CHANGES[how]
    made = pasted(recipient, donor, change, cases.layout, keep=keep)
    assert (made.labels == 2).sum() >= 40
    assert np.isfinite(made.image).all()
