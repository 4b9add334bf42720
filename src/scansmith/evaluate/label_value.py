"""Agreement of label maps by the values of their labels: the registered multimodal paper's way.

It weighs classes with large numbers more and counts confused classes half right, so it is no
substitute for the Dice of each class (`scansmith.evaluate.overlap`); it is here for its tables and
its filter.
"""

from __future__ import annotations

import numpy as np
import torch

from scansmith import losses
from scansmith.scan import DataError


def label_value_dice(real: np.ndarray, made: np.ndarray, smooth: float = 1e-5) -> float:
    """2 sum l l' / (sum l^2 + sum l'^2) over label values l, 0 the background; 1 if both are empty.

    Args:
        real, made: whole numbers (*S), one image; same grid.
        smooth: added above and below.
    Raises:
        DataError: the grids differ.
    Source:
        Published code of the registered multimodal method, its segmentation model.
    """
    one, other = (torch.from_numpy(x[None].astype(np.float64)) for x in _checked(real, made))
    return float(losses.label_value_dice(one, other, smooth))


def label_value_mse(real: np.ndarray, made: np.ndarray) -> float:
    """Mean squared difference of label values, 0 if the maps are the same; grids as above."""
    real, made = _checked(real, made)
    return float(np.mean((real.astype(np.float64) - made.astype(np.float64)) ** 2))


def _checked(real: np.ndarray, made: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    real, made = np.asarray(real), np.asarray(made)
    if real.shape != made.shape or not real.size:
        raise DataError(
            f"label values: grids {real.shape} and {made.shape}, expected two that are alike and "
            "not empty. Compare labels on one grid."
        )
    return real, made
