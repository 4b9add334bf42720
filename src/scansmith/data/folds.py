"""Cross-validation by patient: everybody is tested once, by what never saw that patient.

A fold is a store of its own, so that whatever trains on a store (`train`, a segmenter) is kept from
the fold's test patients as it is from any store's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from scansmith.data.prepare_case import alone
from scansmith.data.split import UNUSED
from scansmith.data.store import Store, write_json
from scansmith.scan import DataError, RunError, SettingsError

ARRAYS = ("image.npy", "labels.npy", "counts.npy")


def deal_folds(patients: Iterable[str], folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Deal patients out to folds: each to one, in numbers that differ by one at most.

    The result depends on the set of names, the number of folds and the seed alone.

    Args:
        patients: names; each may come several times.
    Returns:
        The names of each fold, sorted.
    Raises:
        SettingsError: fewer than two folds.
        DataError: fewer patients than folds.
    """
    names = sorted(set(patients))
    if folds < 2:
        raise SettingsError(
            f"folds: found {folds}, expected 2 or more to deal out. For example --folds 5."
        )
    if len(names) < folds:
        raise DataError(
            f"folds: found {len(names)} patient(s) for {folds} folds, expected one for each. Add "
            "patients, or lower --folds."
        )
    order = np.random.default_rng(seed).permutation(len(names))
    return tuple(tuple(sorted(names[i] for i in order[k::folds])) for k in range(folds))


def fold_store(store: Store, folder: Path | str, test: Collection[str]) -> Store:
    """A store of the same samples that tests on these patients and learns from all others.

    Arrays are linked where the file system can, else copied. Patients that the store leaves unused
    stay so. A folder that holds this very fold is opened as it is.

    Raises:
        DataError: a name is not in the store, nobody is left on a side, or the store's intensities
            were fitted to all its training patients, test patients of this fold among them.
        RunError: the folder holds another fold.
    """
    folder = Path(folder)
    _check(store, set(test))
    content = json.loads((store.path / "store.json").read_text(encoding="utf-8"))
    source = content.pop("source")
    for case in content["cases"]:
        if case["split"] != UNUSED:
            case["split"] = "test" if case["patient"] in test else "train"
    content["dealt"] = {"from": store.facts.fingerprint, "test": sorted(test)}
    content["facts"]["fingerprint"] = ""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["facts"]["fingerprint"] = digest
    content["source"] = source
    if (folder / "store.json").exists():
        return _same(folder, digest)
    for name in store.cases:
        place = folder / "cases" / name
        place.mkdir(parents=True, exist_ok=True)
        for file in ARRAYS:
            _link(store.path / "cases" / name / file, place / file)
    write_json(folder / "store.json", content)
    return Store.open(folder)


def _check(store: Store, test: set[str]) -> None:
    there = {case.patient for case in store.cases.values() if case.split != UNUSED}
    if strange := sorted(test - there):
        raise DataError(
            f"{store.path}: no patient {', '.join(strange)} to test on. Deal out the patients that "
            "the store has."
        )
    if not test or test == there:
        raise DataError(
            f"{store.path}: {len(test)} of {len(there)} patients are tested on, expected some and "
            "not all. Choose another number of folds."
        )
    if not alone(store.recipe):
        raise DataError(
            f"{store.path}: its intensities were fitted to its training patients together, so that "
            "other folds would know their test patients. Prepare it with intensities of each case "
            "(data.intensity=minmax or window), or use the store's own split (--folds 1)."
        )


def _same(folder: Path, fingerprint: str) -> Store:
    found = Store.open(folder)
    if found.facts.fingerprint != fingerprint:
        raise RunError(
            f"{folder}: holds another fold (fingerprint {found.facts.fingerprint}, expected "
            f"{fingerprint}). Give the store, folds and seed that it was begun with, or another "
            "folder."
        )
    return found


def _link(source: Path, target: Path) -> None:
    """One file under two names; a copy where that cannot be."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
