"""New label maps from old: lesions of the bank set into an organ, or the whole map deformed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from scansmith.labels.bank import FEW_VOXELS, Lesion, LesionBank, cropped, cut_lesions, same_shape
from scansmith.labels.edit import deform
from scansmith.labels.regrow import regrow
from scansmith.labels.reshape import Motion, reshape_lesion, shape_source, smooth_union
from scansmith.labels.room import CLEARANCE_MM, TRIES, Room
from scansmith.scan import DataError

_UNION_SHARE = 0.15  # of new lesions are two grown together
_SHRINK = 0.8  # a step halves the volume; eight steps leave a sixth of the diameter
_SHRINK_STEPS = 9
_REDRAWS = 8


def place_lesion(
    labels: np.ndarray,
    lesion: Lesion,
    organ_indices: Sequence[int],
    spacing_mm: Sequence[float],
    rng: np.random.Generator,
    clearance_mm: float = CLEARANCE_MM,
    tries: int = TRIES,
) -> np.ndarray | None:
    """A label map with a lesion set into an organ, every possible position being equally likely.

    The lesion's shape stays as it is (resampled, if its spacing is another): `edit_labels` is the
    way to a lesion that is no patient's.

    Args:
        labels: structure indices (*S).
        organ_indices: the lesion goes where these are, so not onto other lesions.
        clearance_mm: its voxels are further than this from any voxel that is not organ.
        tries: random positions to try before all are searched.
    Returns:
        A changed copy; None if the lesion fits nowhere.
    """
    if not np.allclose(lesion.spacing_mm, spacing_mm, rtol=1e-3):
        lesion = reshape_lesion(lesion, None, spacing_mm, Motion.none(labels.ndim))
    room = Room(labels, organ_indices, spacing_mm)
    return room.with_lesion(cropped(lesion.labels), rng, clearance_mm, tries)


def edit_labels(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    *,
    kind: str,
    lesion: Sequence[int],
    organ: Sequence[int],
    bank: LesionBank | None,
    rng: np.random.Generator,
    lesions: tuple[int, int] = (1, 3),
    sizes_mm3: tuple[float, float] | None = None,
    strength: float = 1.0,
) -> tuple[np.ndarray, dict[str, Any]]:
    """A new label map, and what was done to make it.

    kind "place": as many new lesions as a draw from `lesions` says are set into the organ, clear of
    its border and of each other. Each comes from a bank lesion, reshaped; it is none of the bank's
    shapes. If it fits nowhere it is made smaller, step by step. Lesions that the map had are grown
    by an irregular rim (`regrow`), so that none of them keeps its shape either.
    kind "deform": the whole map is moved and bent (`edit.deform`); no structure is lost, and no
    lesion keeps its shape.

    Lesions of fewer than `bank.FEW_VOXELS` voxels have no shape that could be told from another's:
    only their volume and structure are used, and a made one that small may look like any.

    Args:
        labels: structure indices, (H, W) or (D, H, W).
        lesion, organ: structure indices. Where a brain has no label of its own, give its mask one.
        lesions: least and greatest number of new lesions.
        sizes_mm3: least and greatest volume of the bank lesions to start from. None: those of
            FEW_VOXELS or more, if there are any; smaller ones are mostly crumbs of a larger one.
        strength: of deform, as `edit.deform` takes it; less where a structure would be lost.
    Returns:
        The map, of the type of `labels`, and a JSON-able record.
    Raises:
        DataError: fewer lesions than the least number fit, or the bank does not suit.
    """
    if len(spacing_mm) != labels.ndim or labels.ndim not in (2, 3):
        raise DataError(
            f"labels: {labels.ndim} axes and {len(spacing_mm)} spacings, expected 2 or 3 of both. "
            "Hand in one sample or one volume with one step for each axis."
        )
    if kind == "deform":
        return _deformed(labels, spacing_mm, lesion, rng, strength)
    if kind != "place":
        raise DataError(f"label edits: kind {kind!r}, expected 'place' or 'deform'. Choose one.")
    bank = _suited(bank, labels.ndim, lesion, organ)
    if not 0 <= lesions[0] <= lesions[1]:
        raise DataError(
            f"label edits: {lesions[0]} to {lesions[1]} lesions, expected a rising range from 0. "
            "Give the least number first."
        )
    starts = _starts(bank, sizes_mm3)
    wanted = int(rng.integers(lesions[0], lesions[1] + 1))
    changed, own = regrow(labels, spacing_mm, lesion, organ, rng)
    placed: list[dict[str, Any]] = []
    for _ in range(wanted):
        result = _add_lesion(changed, spacing_mm, organ, bank, starts, rng)
        if result is None:
            break
        changed, record = result
        placed.append(record)
    if len(placed) < lesions[0]:
        raise DataError(
            f"labels: {len(placed)} of at least {lesions[0]} lesions fit into structure "
            f"{tuple(organ)} ({int(np.isin(labels, organ).sum())} voxels), even made small. "
            "Ask for fewer lesions, or take sources with more of the organ."
        )
    return changed, {"kind": "place", "wanted": wanted, "lesions": placed, **own}


def _suited(
    bank: LesionBank | None, dims: int, lesion: Sequence[int], organ: Sequence[int]
) -> LesionBank:
    """The bank, if lesions can be placed from it; else DataError."""
    if bank is None or not len(bank):
        raise DataError("lesion bank: no lesions in it. Cut it from cases that have some.")
    if not organ or set(organ) & set(lesion):
        raise DataError(
            f"label edits: lesions {tuple(lesion)} into organ {tuple(organ)}, expected an organ "
            "apart from them. Name the organ's structures; give a brain mask one of its own."
        )
    if bank.lesions[0].labels.ndim != dims:
        raise DataError(
            f"lesion bank: lesions of {bank.lesions[0].labels.ndim} axes for labels of {dims}. "
            "Cut the bank from arrays of the same kind."
        )
    strangers = sorted(bank.indices - set(lesion))
    if strangers:
        raise DataError(
            f"lesion bank: structures {strangers} are none of the lesion's {tuple(lesion)}. "
            "Cut the bank with the same structures."
        )
    return bank


def _add_lesion(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    organ: Sequence[int],
    bank: LesionBank,
    starts: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The labels with one more lesion and its record; None if none fits."""
    room = Room(labels, organ, spacing_mm)
    if room.distance_mm.max() <= CLEARANCE_MM:
        return None
    for _ in range(_REDRAWS):
        chosen = [int(rng.choice(starts)) for _ in range(1 + (rng.random() < _UNION_SHARE))]
        sources = [shape_source(bank.lesions[i], rng) for i in chosen]
        motions = [Motion.draw(rng, labels.ndim) for _ in sources]
        seam = int(rng.integers(2**32))
        for step in range(_SHRINK_STEPS):
            made = _made(sources, motions, spacing_mm, _SHRINK**step, seam)
            if not _is_new(made, [bank.lesions[i] for i in chosen], bank):
                continue
            changed = room.with_lesion(made.labels, rng)
            if changed is not None:
                origins = [
                    {"lesion": i, "case": bank.lesions[i].case, **motion.as_dict()}
                    for i, motion in zip(chosen, motions, strict=True)
                ]
                record = {"sources": origins, "shrink": round(_SHRINK**step, 4)}
                return changed, record | _measures(changed != labels, spacing_mm)
    return None


def _starts(bank: LesionBank, sizes_mm3: tuple[float, float] | None) -> np.ndarray:
    """Indices of the bank lesions that new ones may come from."""
    if sizes_mm3 is not None:
        return bank.of_size(*sizes_mm3)
    shaped = np.flatnonzero([lesion.voxels >= FEW_VOXELS for lesion in bank])
    return shaped if shaped.size else np.arange(len(bank))


def _made(
    sources: Sequence[Lesion],
    motions: Sequence[Motion],
    spacing_mm: Sequence[float],
    shrink: float,
    seam: int,
) -> Lesion:
    """The new lesion: its sources reshaped, grown together if there are two."""
    parts = [
        reshape_lesion(source, None, spacing_mm, motion, shrink)
        for source, motion in zip(sources, motions, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    return smooth_union(parts[0], parts[1], np.random.default_rng(seam))


def _is_new(made: Lesion, sources: Sequence[Lesion], bank: LesionBank) -> bool:
    """Whether a lesion is none of the bank's, nor one of its sources brought to its grid."""
    if made.voxels < FEW_VOXELS:
        return True
    if bank.holds(made.labels):
        return False
    still = Motion.none(made.labels.ndim)
    return not any(
        same_shape(made.labels, reshape_lesion(one, None, made.spacing_mm, still).labels)
        for one in sources
        if 0.9 < one.volume_mm3 / made.volume_mm3 < 1.1
    )


def _measures(mask: np.ndarray, spacing_mm: Sequence[float]) -> dict[str, Any]:
    """Where a new lesion is and how large; in 2D the volume is an area in mm2."""
    found = np.nonzero(mask)
    return {
        "centre_voxel": [round(float(along.mean()), 2) for along in found],
        "voxels": int(found[0].size),
        "volume_mm3": round(float(found[0].size * np.prod(spacing_mm)), 3),
    }


def _deformed(
    labels: np.ndarray,
    spacing_mm: Sequence[float],
    lesion: Sequence[int],
    rng: np.random.Generator,
    strength: float,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The whole map deformed; less and less, if a small structure would be lost."""
    present = np.unique(labels)
    before = cut_lesions(labels, lesion, spacing_mm, "") if lesion else []
    originals = LesionBank([one for one in before if one.voxels >= FEW_VOXELS])
    for attempt in range(1, 4 * _REDRAWS + 1):
        changed, _, record = deform(labels, spacing_mm, rng, strength)
        whole = np.array_equal(np.unique(changed), present)
        kept = (
            whole
            and len(originals)
            and any(
                originals.holds(one.labels) for one in cut_lesions(changed, lesion, spacing_mm, "")
            )
        )
        if whole and not kept:
            return changed, {"kind": "deform", "attempts": attempt, **record}
        if not whole:
            strength *= 0.8
    raise DataError(
        "labels: no deformation was found that keeps every structure and changes every lesion. "
        "Take other sources, or leave structures of a few voxels out of the label table."
    )
