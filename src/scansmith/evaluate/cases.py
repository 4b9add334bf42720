"""One case at a time: everything that the report needs of it, in a few kilobytes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scansmith.evaluate.continuity import continuity_of, label_overlap
from scansmith.evaluate.features import case_features, spread_slices
from scansmith.evaluate.pairs import lesion_mask
from scansmith.evaluate.pictures import Picture, picture_of
from scansmith.evaluate.planes import LEAST_SIDE, PLANES, cuts
from scansmith.evaluate.statistics import Lesion, lesions_of, volumes_mm3
from scansmith.evaluate.view import Shared, View
from scansmith.evaluate.windows import Window, voxel_sample

#: (slices (N, H, W) scaled to 0..1) -> features (N, d)
Network = Callable[[np.ndarray], np.ndarray]

#: Voxels kept of a case and region: every case weighs the same, however large it is.
VOXELS = 1000
NETWORK_SLICES = 8


@dataclass(frozen=True)
class CaseMeasures:
    """What is kept of a case. Keys of the mappings are (modality, region), or the modality.

    Attributes:
        voxels: float32 (n,), raw units.
        features: radiomics-like (n, d), a row a slice.
        network: (n, d) of the feature network, if there is one.
        planes: the same of cuts in a plane, by (modality, plane); none of thin volumes.
        continuity: how slices go on, by modality; none of fewer than three slices.
        label_overlap: of neighbouring slices; nan without labels or slices.
        clipped: share of the voxels of a region that lie outside the window.
    """

    case: str
    patient: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    voxels: dict[tuple[str, str], np.ndarray]
    features: dict[tuple[str, str], np.ndarray]
    network: dict[str, np.ndarray] = field(default_factory=dict)
    planes: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)
    clipped: dict[tuple[str, str], float] = field(default_factory=dict)
    continuity: dict[str, dict[str, float]] = field(default_factory=dict)
    label_overlap: float = float("nan")
    lesions: list[Lesion] = field(default_factory=list)
    volumes_mm3: dict[str, float] = field(default_factory=dict)
    labelled: bool = False
    picture: Picture | None = None


@dataclass(frozen=True)
class Plan:
    """How every case is measured."""

    shared: Shared
    windows: tuple[Window, ...]
    network: Network | None = None

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions that features and intensities are taken from; names, if any label is lesion."""
        foreground = tuple(range(1, len(self.shared.structures)))
        if not foreground:
            return ("whole",)
        if self.shared.lesion == foreground:
            return ("whole", "lesion")
        return ("whole", "structures", "lesion")


def measure_case(case: View, plan: Plan, patient: str = "", picture: bool = False) -> CaseMeasures:
    """Measure one case.

    Args:
        patient: who it is of, if its name does not say.
        picture: keep a picture of it.
    """
    lesion = lesion_mask(case, plan.shared.lesion)
    masks = {"whole": np.ones(lesion.shape, bool), "lesion": lesion}
    if "structures" in plan.regions and case.labels is not None:
        masks["structures"] = case.labels > 0
    seen = zip(plan.shared.modalities, plan.windows, case.image, strict=True)
    windowed = {m: np.clip(x, w.low, w.high) for m, w, x in seen} if lesion.any() else {}
    found = CaseMeasures(
        case.case,
        patient or case.patient,
        case.image.shape[1:],
        case.spacing_mm,
        {},
        {},
        lesions=lesions_of(case, lesion, windowed),
        volumes_mm3=volumes_mm3(case, plan.shared.structures),
        labelled=case.labels is not None,
        label_overlap=float("nan") if case.labels is None else label_overlap(case.labels > 0),
        picture=picture_of(case, plan.windows, lesion) if picture else None,
    )
    regions = {name: masks[name] for name in plan.regions if name in masks}
    for modality, window, image in zip(
        plan.shared.modalities, plan.windows, case.image, strict=True
    ):
        _measure_image(found, modality, window, image, regions)
        found.continuity[modality] = continuity_of(image, (window.low, window.high))
        if plan.network is not None:
            found.network[modality] = network_features(image, window, plan.network)
            _measure_planes(found, modality, window, case, image, plan.network)
    return found


def groups(
    cases: Iterable[CaseMeasures], values: Callable[[CaseMeasures], np.ndarray | None]
) -> dict[str, np.ndarray]:
    """Values of all cases of a patient together; patients without one are left out."""
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for case in cases:
        own = values(case)
        if own is not None and len(own):
            found[case.patient].append(own)
    return {patient: np.concatenate(parts) for patient, parts in sorted(found.items())}


def kept(cases: Iterable[CaseMeasures], what: str, key: Any) -> dict[str, np.ndarray]:
    """What the cases kept under a key of `voxels`, `features`, `network` or `planes`."""
    return groups(cases, lambda case: getattr(case, what).get(key))


def _measure_image(
    found: CaseMeasures,
    modality: str,
    window: Window,
    image: np.ndarray,
    regions: dict[str, np.ndarray],
) -> None:
    rows = case_features(image, regions, (window.low, window.high))
    for name, mask in regions.items():
        values = voxel_sample(image[mask], VOXELS)
        if len(values):
            found.voxels[modality, name] = values
            outside = (values < window.low) | (values > window.high)
            found.clipped[modality, name] = float(outside.mean())
        if len(rows[name]):
            found.features[modality, name] = rows[name]


def network_features(image: np.ndarray, window: Window, network: Network) -> np.ndarray:
    """Features (n, d) of up to 8 slices, evenly spread over those that show anything."""
    numbers = spread_slices(image > window.low, NETWORK_SLICES) or [len(image) // 2]
    scaled = (image[numbers].astype(np.float32) - window.low) / (window.high - window.low)
    return network(np.clip(scaled, 0, 1))


def _measure_planes(
    found: CaseMeasures,
    modality: str,
    window: Window,
    case: View,
    image: np.ndarray,
    network: Network,
) -> None:
    if min(image.shape) < LEAST_SIDE:
        return
    for axis, name in enumerate(case.axes):
        slices = cuts(image, case.spacing_mm, axis, window.low, NETWORK_SLICES)
        scaled = np.clip((slices - window.low) / (window.high - window.low), 0, 1)
        found.planes[modality, PLANES[name]] = network(scaled)
