"""Evaluation: how near a synthetic data set comes to a real one. It reads files, not generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal


def evaluate(
    real: Path | str,
    synthetic: Path | str,
    out: Path | str,
    *,
    lesion: Sequence[str] | None = None,
    window: tuple[float, float] | None = None,
    data_range: float | None = None,
    features: Path | str | None = None,
    pairs: Literal["auto", "none"] = "auto",
    limit: int | None = None,
    seed: int = 0,
    faithfulness: bool = False,
    steps: int = 1000,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Compare two data sets on disk, in any layout, ours or not.

    Writes `metrics.json` and `report.html` to `out`. Every number is explained in
    `docs/measures.md`.

    Args:
        real, synthetic: folders of the data sets.
        lesion: names of structures that are the lesion. None: those named like one (tumour,
            oedema, necrosis, ...), else all labels together.
        window: (low, high) in the images' units: what PSNR, SSIM, features and pictures see.
            None: soft tissue for CT in HU, else the 0.1 to 99.9 percentile of the real set, or of
            each scan where scans have units of their own (`evaluate.windows`).
        data_range: for PSNR and SSIM; without `window`, nothing is clipped then.
        features: safetensors file of a VGG16-shaped network, for an FID-like distance.
        pairs: "auto" compares case by case where provenance.jsonl or the names say so.
        limit: at most so many cases of each set, evenly spread.
        seed: of the resamplings of patients that intervals and verdicts come from.
        faithfulness: train a segmenter on real cases and show it the synthetic ones; takes
            minutes. What is trained stays in `out/faithfulness`, where the same call goes on.
        steps: of that training.
        progress: called with cases done, cases in all, name of the case.
    Returns:
        What metrics.json holds.
    Raises:
        DataError: the sets share no modality or no structure, or cases cannot be read (all named).
        SettingsError: a window, a data range or a choice that is none.
        RunError: the folder of the segmenter holds another training.
    """
    from scansmith.evaluate.compare import compare_sets
    from scansmith.evaluate.facts import Options

    options = Options(
        lesion=None if lesion is None else tuple(lesion),
        window=window,
        data_range=data_range,
        features=None if features is None else Path(features),
        pairs=pairs,
        limit=limit,
        seed=seed,
        faithfulness=faithfulness,
        steps=steps,
    )
    return compare_sets(Path(real), Path(synthetic), Path(out), options, progress)


def audit(
    synthetic: Path | str,
    train: Path | str,
    holdout: Path | str,
    out: Path | str | None = None,
    *,
    lesion: Sequence[str] | None = None,
    features: Path | str | None = None,
    limit: int | None = None,
    pictures: bool = True,
    seed: int = 0,
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Search a synthetic data set for what it gives away about the patients it was learned from.

    Every number is explained in `docs/privacy.md`, and what a pass does not mean.

    Args:
        synthetic: data set on disk, made by anybody.
        train: the real cases that its generator was trained on.
        holdout: real cases of other patients from the same population, never shown to it.
        out: folder for `audit.json`, `audit.html` and `pairs/`. The pictures show real patients.
        lesion, features: as in `evaluate`.
        limit: at most so many cases of each set, evenly spread, and as many of each real patient on
            both sides. Copies among the others are missed.
        pictures: show the nearest pairs.
        seed: of resampling and of exchanging patients.
        progress: called with how much is done, of how much, and at what.
    Returns:
        What audit.json holds; `verdict` is "pass", "leak" or "inconclusive".
    Raises:
        DataError: a patient is in training and hold-out set, the sets share no modality, or cases
            cannot be read (all named).
        SettingsError: a number or a choice that is none.
    """
    from scansmith.evaluate.privacy.audit import Options, audit_sets

    options = Options(
        lesion=None if lesion is None else tuple(lesion),
        features=None if features is None else Path(features),
        limit=limit,
        pictures=pictures,
        seed=seed,
    )
    folders = Path(synthetic), Path(train), Path(holdout)
    return audit_sets(*folders, None if out is None else Path(out), options, progress)
