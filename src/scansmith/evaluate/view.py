"""Scans as the measures take them: one orientation, slices first, labels by shared names.

Two data sets may store a patient in other orders and code a structure by other values. A `View`
has neither: axes are patient axes, label indices are those of the structures both sets name.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import nibabel
import numpy as np

from scansmith.io import read_scan
from scansmith.labels.table import LabelTable, name_among
from scansmith.scan import CaseFiles, DataError, Problem, Scan

#: Patient axes of a prepared array (D, H, W), each from its first voxel to its last.
AXES = ("feet to head", "front to back", "right to left")
# Steps along one axis so many times as long as along both others: its slices are what was scanned,
# for example sagittal ones. (Thin axial slices of few pixels have two long axes and stay axial.)
_THICK = 2.0
_STEMS = (
    "tumour", "tumor", "lesion", "necro", "edema", "enhanc", "metasta", "abnormal", "cyst",
    "infarct", "haemorrhag", "hemorrhag", "nodule", "plaque", "stroke", "cancer", "carcinom",
    "glioma", "hyperintens",
)  # fmt: skip
# So many scans tell across which axis a set was scanned.
_ASKED = 9


@dataclass(frozen=True)
class Shared:
    """What two data sets have in common, and so what can be compared.

    Attributes:
        modalities: names of both sets, in the real set's order.
        structures: names of both label tables, background first; (background,) if there is none.
        lesion: indices into `structures`.
        lesion_by: how the lesion was chosen: "names given", "names like a lesion" or "any label".
        notes: what only one of the sets has.
        slices: across which of `AXES` the real set was scanned. All scans of both sets are seen
            so, since a generator's grid may be coarser in plane than between slices.
    """

    modalities: tuple[str, ...]
    structures: tuple[str, ...]
    lesion: tuple[int, ...]
    lesion_by: str
    notes: tuple[str, ...] = ()
    slices: int = 0


@dataclass(frozen=True)
class View:
    """A scan with shared modalities and structures.

    Attributes:
        image: (C, D, H, W), raw units; D are the slices.
        labels: uint8 (D, H, W), indices into the shared structures; None if there are none.
        spacing_mm: of D, H, W.
        axes: which patient axes D, H, W are (`AXES`, unless slices were not axial).
    """

    case: str
    patient: str
    image: np.ndarray
    labels: np.ndarray | None
    spacing_mm: tuple[float, float, float]
    axes: tuple[str, ...] = AXES


def share(
    modalities: tuple[Sequence[str], Sequence[str]],
    tables: tuple[LabelTable, LabelTable],
    lesion: Sequence[str] | None,
) -> Shared:
    """What real and synthetic set share. Raises DataError with everything that stands against it.

    Args:
        modalities, tables: of the real and of the synthetic set.
        lesion: names of structures; None: those with a name like a lesion's, else any label.
    """
    problems, notes = [], []
    both = tuple(m for m in modalities[0] if m in modalities[1])
    if not both:
        found = f"the real set has {listed(modalities[0])}, the synthetic {listed(modalities[1])}"
        problems.append(Problem("modalities", "modality", found, "Compare sets of one modality"))
    # Where one set has "lesion" and "tumour", the other's "lesion" is not its tumour.
    told_apart = {*tables[0].structures, *tables[1].structures}
    names = [table.named_as(told_apart)[1:] for table in tables]
    common = tuple(name for name in names[0] if name in names[1])
    if all(names) and not common:
        found = f"the real set labels {listed(names[0])}, the synthetic {listed(names[1])}"
        remedy = "Name the same structures alike in the labels.json beside each set"
        problems.append(Problem("labels", "structure", found, remedy))
    for what, pair, kept in (("modality", modalities, both), ("structure", names, common)):
        for side, own in zip(("real", "synthetic"), pair, strict=True):
            lone = [name for name in own if name not in kept]
            if lone:
                notes.append(f"Only the {side} set has {what} {listed(lone)}: not compared.")
    wanted = [name_among(told_apart, name) for name in lesion or ()]
    indices, chosen_by = _lesion(("background", *common), wanted, problems)
    if problems:
        raise DataError(problems)
    if chosen_by == "any label" and len(indices) > 1:
        notes.append(
            f"No structure has a lesion's name, so {listed(common)} count as the lesion together. "
            "Name the lesion (--lesion) if that is not meant."
        )
    return Shared(both, ("background", *common), indices, chosen_by, tuple(notes))


def with_slices(shared: Shared, real: Sequence[CaseFiles]) -> Shared:
    """The same with the axis across which these cases were scanned, by their median steps.

    Cases that cannot be read are left to those who read them all.
    """
    steps = []
    for files in spread_cases(real, _ASKED):
        with suppress(DataError):
            asked = files_of(replace(files, labels=None), shared.modalities[:1])
            scan = oriented(read_scan(asked))
            single = _only_slice(scan.image.shape[:0:-1])
            step = list(scan.spacing_mm[::-1])
            if single is not None:
                step[single] = np.inf
            steps.append(step)
    return replace(shared, slices=slice_axis(steps))


def slice_axis(steps: Sequence[Sequence[float]]) -> int:
    """Across which of `AXES` scans were taken whose steps along D, H, W are these, in mm.

    The step from a single slice to the next, which there is not, is infinite.
    """
    if not len(steps):
        return 0
    median = np.median(steps, axis=0)
    longest = int(np.argmax(median))
    return longest if median[longest] >= _THICK * max(np.delete(median, longest)) else 0


def _only_slice(shape: tuple[int, ...]) -> int | None:
    """The axis of D, H, W across which there is one slice alone; None in a volume."""
    return list(shape).index(1) if 1 in shape else None


def view(scan: Scan, shared: Shared, table: LabelTable) -> View:
    """An oriented scan (`oriented`) with what is shared, slices first."""
    image = np.stack([scan.image[scan.modalities.index(m)].T for m in shared.modalities])
    labels = None if scan.labels is None else shared_labels(scan.labels.T, shared, table)
    spacing = scan.spacing_mm[::-1]
    single = _only_slice(image.shape[1:])
    first = shared.slices if single is None else single
    order = [first, *(axis for axis in (0, 1, 2) if axis != first)]
    return View(
        scan.case,
        scan.patient or scan.case,
        np.transpose(image, (0, *(axis + 1 for axis in order))),
        None if labels is None else np.transpose(labels, order),
        (spacing[order[0]], spacing[order[1]], spacing[order[2]]),
        tuple(AXES[axis] for axis in order),
    )


def oriented(scan: Scan) -> Scan:
    """The same scan with axes to the patient's left, back and head (LPS). Nothing is resampled."""
    orientation = nibabel.orientations.io_orientation(scan.affine)
    target = nibabel.orientations.axcodes2ornt(("L", "P", "S"))
    turn = nibabel.orientations.ornt_transform(orientation, target)
    affine = scan.affine @ nibabel.orientations.inv_ornt_aff(turn, scan.image.shape[1:])
    apply = nibabel.orientations.apply_orientation
    image = np.stack([apply(channel, turn) for channel in scan.image])
    labels = None if scan.labels is None else apply(scan.labels, turn)
    return replace(scan, image=image, labels=labels, affine=affine)


def shared_labels(labels: np.ndarray, shared: Shared, table: LabelTable) -> np.ndarray:
    """Label values to indices of the shared structures; what is not shared becomes background."""
    names = table.named_as(shared.structures)
    indices = np.array([shared.structures.index(n) if n in shared.structures else 0 for n in names])
    return indices.astype(np.uint8)[table.encode(labels)]


def lesion_indices(structures: Sequence[str], lesion: Sequence[str] | None) -> tuple[int, ...]:
    """Which structures of one set are the lesion, by the rule of `share`. Raises DataError."""
    problems: list[Problem] = []
    wanted = [name_among(structures, name) for name in lesion or ()]
    found, _ = _lesion(tuple(structures), wanted, problems)
    if problems:
        raise DataError(problems)
    return found


def spread_cases(cases: Sequence[CaseFiles], limit: int | None) -> tuple[CaseFiles, ...]:
    """At most so many cases, evenly spread over the set."""
    if limit is None or len(cases) <= limit:
        return tuple(cases)
    return tuple(cases[i] for i in np.linspace(0, len(cases) - 1, limit).round().astype(int))


def files_of(files: CaseFiles, modalities: Sequence[str]) -> CaseFiles:
    """The files of these modalities alone; a file that holds several modalities stays whole."""
    if len(set(files.images.values())) < len(files.images):
        return files
    chosen = {name: path for name, path in files.images.items() if name in modalities}
    return replace(files, images=chosen)


def _lesion(
    structures: tuple[str, ...], wanted: Sequence[str], problems: list[Problem]
) -> tuple[tuple[int, ...], str]:
    if wanted:
        missing = [name for name in wanted if name not in structures[1:]]
        if missing:
            found = f"no structure {listed(missing)} in both sets"
            remedy = f"Choose among {listed(structures[1:])}"
            problems.append(Problem("lesion", "structure", found, remedy))
            return (), ""
        return tuple(structures.index(name) for name in wanted), "names given"
    like = tuple(i for i, name in enumerate(structures) if any(stem in name for stem in _STEMS))
    if like:
        return like, "names like a lesion"
    return tuple(range(1, len(structures))), "any label"


def listed(names: Sequence[str]) -> str:
    """Names as part of a sentence."""
    return ", ".join(names) if names else "nothing"
