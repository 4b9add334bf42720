"""Pictures of the report: a slice as it is looked at, whichever way a set was scanned."""

import numpy as np
import pytest

from scansmith.evaluate.pictures import picture_of, upright
from scansmith.evaluate.view import AXES, View
from scansmith.evaluate.windows import Window

WINDOW = Window(0.0, 4.0, 4.0, True, "declared")
#: Patient axes of D, H, W; the first column of the picture, of rows that hold 0, 2 and 4.
SEEN = {
    "axial": (AXES, [0, 2, 4]),
    "coronal": ((AXES[1], AXES[0], AXES[2]), [4, 2, 0]),
    "sagittal": ((AXES[2], AXES[0], AXES[1]), [4, 2, 0]),
}


@pytest.mark.parametrize(("axes", "column"), SEEN.values(), ids=SEEN)
def test_slices_that_are_not_axial_are_shown_head_up_with_their_labels(axes, column):
    rows = np.broadcast_to(np.array([0, 2, 4])[:, None], (2, 3, 5))
    case = View("c", "c", rows[None].astype(np.int16), rows.astype(np.uint8), (9.0, 3.0, 1.0), axes)
    picture = picture_of(case, (WINDOW,), np.zeros((2, 3, 5), bool))
    assert (4 * picture.images[0, :, 0]).tolist() == column
    assert picture.labels[:, 0].tolist() == column
    assert picture.step_mm == (3.0, 1.0)
    np.testing.assert_array_equal(upright(rows, axes)[0, :, 0], column)
