"""Two data sets on disk, case by case, to one set of numbers and one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import scansmith
from scansmith.data.layouts import DataSet, find_layout
from scansmith.evaluate import feature_distances, fidelity, summary
from scansmith.evaluate.cases import Plan, measure_case
from scansmith.evaluate.facts import Options, Outcome, Sides, facts
from scansmith.evaluate.grids import one_grid
from scansmith.evaluate.pairs import fidelity_of, lesion_mask, match, origins
from scansmith.evaluate.pictures import picture_of
from scansmith.evaluate.protocol import state_protocols
from scansmith.evaluate.verdicts import verdicts
from scansmith.evaluate.view import (
    Shared,
    View,
    files_of,
    oriented,
    share,
    spread_cases,
    view,
    with_slices,
)
from scansmith.evaluate.windows import Window, fit_window, in_own_ranges, voxel_sample
from scansmith.io import read_scan
from scansmith.io.atomic import check_folder, write_bytes
from scansmith.scan import CaseFiles, DataError, Problem, Scan, SettingsError

Progress = Callable[[int, int, str], None]
FORMAT = 2
RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."
_PICTURES = 6
_WINDOW_CASES = 20


def check_out(out: Path, synthetic: Path, what: str) -> None:
    """Refuse a folder that cannot be written to, or lies in the set that is to be passed on.

    Args:
        what: shows real patients: report or audit.
    """
    check_folder(out, f"the {what}")
    if out.resolve().is_relative_to(synthetic.resolve()):
        raise SettingsError(
            f"{out}: lies in the synthetic set, which is to be passed on, and the {what} shows "
            "real patients. Choose a folder outside."
        )


def compare_sets(
    real: Path, synthetic: Path, out: Path, options: Options, progress: Progress | None
) -> dict[str, Any]:
    """Measure, and write `metrics.json` and `report.html`. See `scansmith.evaluate.evaluate`."""
    from scansmith.evaluate.report import write_report

    _check(options)
    check_out(out, synthetic, "report")
    network = None
    if options.features is not None:
        from scansmith.evaluate.feature_network import load_feature_network

        network = load_feature_network(options.features)
    sides = _sides(real, synthetic, options)
    shared = share(
        (sides.real.modalities, sides.synthetic.modalities),
        (sides.real.table, sides.synthetic.table),
        options.lesion,
    )
    shared = with_slices(shared, sides.real_cases)
    windows = _windows(sides, shared, options)
    plan = Plan(shared, windows, None if network is None else network.of_slices)
    outcome = _pass(sides, plan, progress)
    faithful = _faithfulness(sides, plan, options, outcome, out, progress)
    metrics = {
        "format": FORMAT,
        "scansmith": scansmith.__version__,
        "intended_use": RESEARCH_USE,
        **facts(sides, plan, options, outcome),
        **_numbers(outcome, plan, options.seed),
        "faithfulness": faithful,
    }
    if network is not None and metrics["network"] is not None:
        metrics["network"] = {"weights_sha256": network.sha256, **metrics["network"]}
    metrics["protocols"] = state_protocols(metrics, plan, options)
    metrics["verdicts"] = verdicts(metrics)
    metrics = strict(metrics)
    text = json.dumps(metrics, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_report(out / "report.html", metrics, outcome, plan)
    write_bytes(out / "metrics.json", text.encode())  # last: where it is, the page is, too
    return metrics


def _faithfulness(
    sides: Sides,
    plan: Plan,
    options: Options,
    outcome: Outcome,
    out: Path,
    progress: Progress | None,
) -> dict[str, Any] | None:
    """Train and test a segmenter if that is asked for; its pictures go to the outcome."""
    if not options.faithfulness:
        return None
    from scansmith.evaluate.faithfulness import faithfulness

    def views(cases: Sequence[CaseFiles], found: DataSet) -> Callable[[], Iterator[View]]:
        return lambda: (_view(_read(f, found, plan.shared), found, plan) for f in cases)

    result, outcome.examples = faithfulness(
        views(sides.real_cases, sides.real),
        views(sides.synthetic_cases, sides.synthetic),
        (outcome.real, outcome.synthetic),
        plan,
        options,
        out / "faithfulness" / f"{options.steps}_steps",
        progress,
    )
    return result


def strict(value: Any) -> Any:
    """The same data as JSON can hold it: numpy numbers plain, what is not finite null."""
    if isinstance(value, dict):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def _check(options: Options) -> None:
    if options.pairs not in ("auto", "none"):
        raise SettingsError(f"pairs: found {options.pairs!r}, expected auto or none. Choose one.")
    if options.faithfulness and options.steps < 1:
        raise SettingsError(f"steps: found {options.steps}, expected 1 or more. Raise it.")
    if options.limit is not None and options.limit < 1:
        raise SettingsError(
            f"limit: found {options.limit}, expected a number of cases of 1 or more. Raise it."
        )


def _sides(real: Path, synthetic: Path, options: Options) -> Sides:
    sets = find_layout(real), find_layout(synthetic)
    problems = [
        replace(p, where=f"{side} set, {p.where}")
        for side, found in zip(("real", "synthetic"), sets, strict=True)
        for p in found.problems
    ]
    problems += [
        Problem(str(found.root), "empty", "no case with an image", "Give a folder that has some")
        for found in sets
        if not any(files.images for files in found.cases)
    ]
    if problems:
        raise DataError(problems)
    said = origins(sets[1].root, sets[1].cases)
    chosen = [spread_cases(found.cases, options.limit) for found in sets]
    partners = match(sets[0].cases, chosen[1], said) if options.pairs == "auto" else {}
    of_case = {files.case: files.patient for files in sets[0].cases}
    patients = {name: partner.patient for name, partner in partners.items()}
    for name, origin in said.items():
        if origin.source in of_case:
            patients[name] = of_case[origin.source]
    return Sides(sets[0], sets[1], chosen[0], chosen[1], partners, patients)


def _windows(sides: Sides, shared: Shared, options: Options) -> tuple[Window, ...]:
    """Fitted to some real cases, evenly spread over the set; one file in memory at a time.

    A case that cannot be read is told with all others when all are looked at.
    """
    samples: dict[str, list[np.ndarray]] = {m: [] for m in shared.modalities}
    needed = options.window is None
    for files in spread_cases(sides.real_cases, _WINDOW_CASES) if needed else ():
        with suppress(DataError):
            scan = read_scan(files_of(replace(files, labels=None), shared.modalities))
            for name, image in zip(scan.modalities, scan.image, strict=True):
                if name in samples:
                    samples[name].append(voxel_sample(image))
    nothing = [np.array([0.0, 1.0])]  # none could be read, so that no number comes of it
    return tuple(
        fit_window(name, samples[name] or nothing, options.window, options.data_range)
        for name in shared.modalities
    )


def _pass(sides: Sides, plan: Plan, progress: Progress | None) -> Outcome:
    """Look at every case once, a real partner twice; all that cannot be read is told at once."""
    outcome = Outcome([], [], [], [], [])
    problems: list[Problem] = []
    total = len(sides.real_cases) + len(sides.synthetic_cases)
    shown = {files.case for files in spread_cases(_with_partners_first(sides), _PICTURES)}
    shown_real = {files.case for files in spread_cases(sides.real_cases, _PICTURES)}
    work = [(files, False) for files in sides.real_cases]
    work += [(files, True) for files in sides.synthetic_cases]
    for number, (files, made) in enumerate(work):
        if progress:
            progress(number, total, files.case)
        try:
            if made:
                _measure_synthetic(files, sides, plan, outcome, files.case in shown)
            else:
                scan = _read(files, sides.real, plan.shared)
                case = _view(scan, sides.real, plan)
                measures = measure_case(case, plan, picture=files.case in shown_real)
                outcome.real.append(measures)
        except DataError as error:
            side = "synthetic" if made else "real"
            found = error.problems or (Problem(files.case, "data", str(error), "Mend the case"),)
            problems += [replace(p, where=f"{side} set, {p.where}") for p in found]
    if problems:
        raise DataError(problems)
    if progress:
        progress(total, total, "")
    return outcome


def _measure_synthetic(
    files: CaseFiles, sides: Sides, plan: Plan, outcome: Outcome, shown: bool
) -> None:
    scan = _read(files, sides.synthetic, plan.shared)
    case = _view(scan, sides.synthetic, plan)
    patient = sides.patients.get(files.case, "")
    measures = measure_case(case, plan, patient, picture=shown)
    outcome.synthetic.append(measures)
    partner = sides.partners.get(files.case)
    if partner is None:
        return
    _compare(_read(partner, sides.real, plan.shared), scan, sides, plan, outcome, shown)


def _compare(
    real: Scan, synthetic: Scan, sides: Sides, plan: Plan, outcome: Outcome, shown: bool
) -> None:
    """Measure a pair, oriented, voxel by voxel."""
    try:
        real, synthetic, resampled = one_grid(real, synthetic)
    except DataError as error:
        outcome.unpaired += error.problems
        return
    raw = view(real, plan.shared, sides.real.table)
    there = _ranged(raw, plan, raw)
    made = _ranged(view(synthetic, plan.shared, sides.synthetic.table), plan, raw)
    same = None
    if there.labels is not None and made.labels is not None:
        same = bool(np.array_equal(there.labels, made.labels))
    outcome.rows.append(
        {
            "case": made.case,
            "real_case": there.case,
            "patient": there.patient,
            "labels_equal": same,
            "resampled": resampled,
            "scales": fidelity.ms_ssim_scales(there.image.shape),
            "values": fidelity_of(there, made, plan.shared.lesion, plan.windows),
        }
    )
    if shown:
        picture = picture_of(made, plan.windows, lesion_mask(made, plan.shared.lesion))
        beside = picture_of(there, plan.windows, _no_mask(there), picture.number[0] - 1)
        outcome.pictures.append((beside, picture))


def _numbers(outcome: Outcome, plan: Plan, seed: int) -> dict[str, Any]:
    both = outcome.real, outcome.synthetic
    return {
        "pairs": {
            "count": len(outcome.rows),
            "not_compared": [
                {"case": p.where, "kind": p.kind, "found": p.found, "remedy": p.remedy}
                for p in outcome.unpaired
            ],
            "labels_equal": sum(row["labels_equal"] is True for row in outcome.rows),
            "resampled": sum(row["resampled"] for row in outcome.rows),
            "fidelity": summary.paired(outcome.rows, plan, seed),
            "cases": [_row(row, plan.shared.modalities) for row in outcome.rows],
        },
        "texture": feature_distances.textures(*both, plan, seed),
        "network": feature_distances.networks(*both, plan, seed),
        "intensity": summary.intensities(*both, plan, seed),
        "lesions": summary.lesions(*both, plan, seed),
        "structures": summary.structures(*both, plan, seed),
        "continuity": summary.continuities(*both, plan, seed),
    }


def _row(row: summary.PairRow, modalities: Sequence[str]) -> dict[str, Any]:
    values = {name: row["values"][str(c)] for c, name in enumerate(modalities)}
    return {**row, "values": values}


def _read(files: CaseFiles, found: DataSet, shared: Shared) -> Scan:
    return oriented(read_scan(files_of(files, shared.modalities), table=found.table))


def _view(scan: Scan, found: DataSet, plan: Plan) -> View:
    """A scan as all measures see it."""
    case = view(scan, plan.shared, found.table)
    return _ranged(case, plan, case)


def _ranged(case: View, plan: Plan, like: View) -> View:
    """A case in the units of its windows, by the ranges of itself or of its real partner."""
    return replace(case, image=in_own_ranges(case.image, plan.windows, like.image))


def _with_partners_first(sides: Sides) -> Sequence[CaseFiles]:
    paired = [files for files in sides.synthetic_cases if files.case in sides.partners]
    return paired or sides.synthetic_cases


def _no_mask(case: View) -> np.ndarray:
    return np.zeros(case.image.shape[1:], bool)
