"""Which samples a draw of a recipe may take, told from how many pixels each structure covers."""

from __future__ import annotations

import numpy as np

from scansmith.labels.table import LabelTable, is_context
from scansmith.recipe import Draw

#: In a draw: any structure but the background and its regions.
ANY = "*"


def qualifying(draw: Draw, counts: np.ndarray, table: LabelTable) -> np.ndarray:
    """Which samples a draw may take.

    Args:
        counts: int (N, K), pixels of each structure in each sample.
        table: the K structures.
    Returns:
        bool (N,).
    Raises:
        DataError: the draw asks for a structure that the table does not name.
    """
    allowed = np.ones(len(counts), dtype=bool)
    for structure in draw.has:
        allowed &= _pixels(structure, counts, table) >= draw.min_pixels
    for structure in draw.lacks:
        allowed &= _pixels(structure, counts, table) == 0
    return allowed


def count_pixels(labels: np.ndarray, structures: int) -> np.ndarray:
    """Pixels of each structure in each sample: labels (N, *S) of indices to int64 (N, K)."""
    counts = np.zeros((len(labels), structures), dtype=np.int64)
    for sample, row in zip(labels, counts, strict=True):
        row[:] = np.bincount(sample.ravel(), minlength=structures)
    return counts


def _pixels(structure: str, counts: np.ndarray, table: LabelTable) -> np.ndarray:
    if structure == ANY:
        named = [k for k, name in enumerate(table.structures) if k and not is_context(name)]
        return counts[:, named].sum(axis=1)
    return counts[:, table.index(structure)]
