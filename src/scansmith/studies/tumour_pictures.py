"""Painted tumours as pictures: held-out ones beside the real slice, new ones in healthy livers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from scansmith.data.store import Store
from scansmith.methods.masks import feathered
from scansmith.studies.tables import Slice, slices_of
from scansmith.studies.tumour_painting import insertions, painter
from scansmith.workflow import load_run


def picture(runs: dict[str, list[Path]], least_pixels: int, count: int = 6) -> np.ndarray:
    """Test slices of the first store side by side, uint8 (rows, columns).

    Whitened; of the first run of each name G's output, the composite and the error of the output
    (Fig. 13; white where it is a quarter of the data range); real.
    """
    store, painters, (low, high) = _easel(runs)
    lesion = store.table.index(store.recipe.edits.lesion[0])
    test = slices_of(store, "test", lambda label: int((label == lesion).sum()) >= least_pixels)
    largest: dict[str, Slice] = {}
    for one in sorted(test, key=lambda s: int((s.labels == lesion).sum())):
        largest[one.case] = one
    rows = []
    for one in [*largest.values()][:count]:
        t = torch.from_numpy((one.labels == lesion).astype(np.float32))[None, None]
        share = feathered(t, 1.5)[0, 0].numpy()
        row = [np.where(one.labels == lesion, high, one.image)]
        for paint in painters:
            made = paint(one)
            row += [made, one.image + share * (made - one.image)]
            row.append(low + 4 * np.abs(made - one.image))
        rows.append(np.concatenate([*row, one.image], axis=1))
    return _grey(np.concatenate(rows), low, high)


def inserted_picture(runs: dict[str, list[Path]], least_pixels: int, count: int = 6) -> np.ndarray:
    """Fig. 14: test slices without tumour, whitened, painted by each name's first run; uint8.

    Raises:
        DataError: there is no slice to paint a tumour in.
    """
    store, painters, (low, high) = _easel(runs)
    edits = store.recipe.edits
    organ, lesion = store.table.index(edits.organ[0]), store.table.index(edits.lesion[0])
    rows = []
    for one in insertions(store, organ, lesion, count, least_pixels):
        white = np.where(one.labels == lesion, high, one.image)
        rows.append(np.concatenate([one.image, white, *(paint(one) for paint in painters)], axis=1))
    return _grey(np.concatenate(rows), low, high)


def _easel(
    runs: dict[str, list[Path]],
) -> tuple[Store, list[Callable[[Slice], np.ndarray]], tuple[float, float]]:
    """The first run's store, a painter of each name that shares it, and black and white."""
    first = [folders[0] for folders in runs.values()]
    store = Store.open(load_run(first[0]).store)
    painters = [painter(folder) for folder in first if load_run(folder).store == store.path]
    low, high = (float(store.facts.codecs[0].decode(np.array(v))) for v in (-1.0, 1.0))
    return store, painters, (low, high)


def _grey(sheet: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.uint8(255 * ((sheet - low) / (high - low)).clip(0, 1))  # type: ignore[return-value]
