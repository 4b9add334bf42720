"""A map's own lesions, grown by an irregular rim: no patient's shape any more, and none in sight.

A method that paints where the labels say lesion would, with the labels moved or taken away, leave
the real lesion in the picture without a label. Grown, the label covers all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.ndimage import binary_propagation, distance_transform_edt, gaussian_filter

from scansmith.labels.bank import FEW_VOXELS, LesionBank, cut_lesions
from scansmith.scan import DataError

_RIM_STEPS = 2.5  # greatest width of the rim, in steps of the finest axis
_BUMPS_STEPS = 3.0  # size of the rim's bumps, likewise
_TRIES = 8


def regrow(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    lesion: Sequence[int],
    organ: Sequence[int],
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Every lesion of a map a little larger, by a rim of 0 to 2.5 finest steps into the organ.

    New voxels take the structure of the nearest old one.

    Args:
        labels: structure indices, (H, W) or (D, H, W).
        lesion, organ: structure indices; the rim takes organ voxels only.
    Returns:
        A changed copy, and a record: how many lesions there were and the rim's voxels; both as
        they were and {} if there is no lesion.
    Raises:
        DataError: a lesion of FEW_VOXELS or more cannot grow, so it would keep its shape.
    """
    own = np.isin(labels, lesion)
    if not own.any():
        return labels, {}
    found = cut_lesions(labels, lesion, spacing_mm, "")
    originals = LesionBank([one for one in found if one.voxels >= FEW_VOXELS])
    step = min(spacing_mm)
    away, nearest = distance_transform_edt(~own, sampling=spacing_mm, return_indices=True)
    free = ~own & np.isin(labels, organ)
    for attempt in range(1, _TRIES + 1):
        noise = rng.standard_normal(labels.shape)
        bumps = gaussian_filter(noise, [_BUMPS_STEPS * step / mm for mm in spacing_mm])
        width = (bumps - bumps.min()) / max(np.ptp(bumps), 1e-12)  # 0..1
        rim = free & (away <= width * step * (_RIM_STEPS + attempt - 1))
        rim &= binary_propagation(own, mask=own | rim)  # no crumbs beside the lesion
        changed = labels.copy()
        changed[rim] = labels[tuple(axis[rim] for axis in nearest)]
        grown = cut_lesions(changed, lesion, spacing_mm, "")
        if not len(originals) or not any(originals.holds(one.labels) for one in grown):
            return changed, {"regrown": len(found), "rim_voxels": int(rim.sum())}
    raise DataError(
        f"labels: one of {len(found)} lesions has no {tuple(organ)} round it to grow into, so it "
        "would keep the shape that it has in a patient. Take other sources."
    )
