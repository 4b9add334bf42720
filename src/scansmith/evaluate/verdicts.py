"""What a reader should see first: each aspect in one word, the worst first.

A distance is judged beside the spread of real patients (`spread.compare`). Bias and spread inside
the lesion of pairs are judged by fixed limits, which are this project's conventions: they say
where to look, not what is good enough for a purpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import exp, inf, isfinite, log
from typing import Any

#: Inside the lesion, mean over pairs, whichever way each is off: limits of close and differs.
BIAS_OF_RANGE = (0.02, 0.05)  # 8 HU and 20 HU of a 400 HU window
SD_FACTOR = (1.25, 2.0)

LEVEL, SPREAD = ("brighter", "darker"), ("more uneven", "flatter")

ORDER = ("far", "differs", "close", None)
Verdict = dict[str, Any]


def verdicts(metrics: dict[str, Any]) -> list[Verdict]:
    """Every aspect with its verdict: {aspect, modality, region, verdict, sentence, ...}."""
    found = [
        *_paired(metrics),
        *_distances(metrics),
        *_lesions(metrics),
        *_neighbours(metrics),
        *_continuity(metrics),
        *_faithfulness(metrics),
    ]
    return sorted(found, key=lambda row: (ORDER.index(row["verdict"]), -(row.get("ratio") or 0)))


def _distances(metrics: dict[str, Any]) -> Iterator[Verdict]:
    for modality, regions in metrics["intensity"].items():
        for region, entry in regions.items():
            yield _judged("grey values", modality, region, entry["wasserstein"])
    for modality, regions in metrics["texture"].items():
        for region, entry in regions.items():
            yield _judged("texture", modality, region, entry["frechet"])
    for modality, entry in (metrics["network"] or {}).items():
        if isinstance(entry, dict):
            yield _judged("network features", modality, "whole", entry["frechet"])
            three = entry["three_planes"]["frechet"]
            yield _judged("network features, three planes", modality, "whole", three)


def _lesions(metrics: dict[str, Any]) -> Iterator[Verdict]:
    for name, entry in metrics["lesions"].items():
        yield _judged(name, "", "lesion", entry["wasserstein"])
    for name, entry in metrics["structures"].items():
        yield _judged(f"volume of {name}", "", "structures", entry["wasserstein"])


def _neighbours(metrics: dict[str, Any]) -> Iterator[Verdict]:
    """Coverage and precision, as what they lack to 1, so that less is better as with distances."""
    words = {"coverage": "variety (coverage)", "precision": "realism (precision)"}
    for modality, regions in metrics["texture"].items():
        for region, entry in regions.items():
            for measure, aspect in words.items():
                found = dict(entry["neighbours"][measure])
                for name in ("real_vs_real", "real_vs_synthetic"):
                    found[name] = _lacking(found.get(name))
                yield _judged(aspect, modality, region, found)


def _lacking(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    low, high = found["interval"]
    return {"median": 1 - found["median"], "interval": [1 - high, 1 - low]}


def _continuity(metrics: dict[str, Any]) -> Iterator[Verdict]:
    for modality, measures in metrics["continuity"].items():
        of_labels = modality == "labels"
        for measure, entry in measures.items():
            name, where = ("", "structures") if of_labels else (modality, "whole")
            yield _judged(f"{measure} from slice to slice", name, where, entry["wasserstein"])


def _faithfulness(metrics: dict[str, Any]) -> Iterator[Verdict]:
    found = metrics["faithfulness"]
    if found is None:
        return
    row: Verdict = {"modality": "", "region": "structures"}
    if "structures" not in found:
        yield {**row, "aspect": "faithfulness", "verdict": None, "sentence": found["reason"]}
        return
    for name, entry in found["structures"].items():
        sentence = entry.get("reason", "")
        if entry["verdict"]:
            real, made = entry["real"]["mean"], entry["synthetic"]["mean"]
            sentence = (
                f"a segmenter of real cases finds it with Dice {made:.2f}, in real {real:.2f}"
            )
        aspect = f"faithfulness of {name}"
        yield {**row, "aspect": aspect, "verdict": entry["verdict"], "sentence": sentence}


def _judged(aspect: str, modality: str, region: str, found: dict[str, Any]) -> Verdict:
    row: Verdict = {"aspect": aspect, "modality": modality, "region": region}
    row |= {"verdict": found.get("verdict"), "ratio": found.get("ratio")}
    among, across = found.get("real_vs_real"), found.get("real_vs_synthetic")
    if among and across:
        row |= {"real_vs_real": among, "real_vs_synthetic": across}
    if row["verdict"] is None:
        return {**row, "sentence": str(found.get("reason") or "too little data")}
    sentence = {
        "close": "within the spread of real patients",
        "differs": "beyond the spread of real patients",
        "far": "more than three times beyond it and beyond chance",
    }[row["verdict"]]
    return {**row, "sentence": sentence}


def _paired(metrics: dict[str, Any]) -> Iterator[Verdict]:
    for modality, regions in metrics["pairs"]["fidelity"].items():
        entry = regions.get("lesion")
        if not entry:
            continue
        width = metrics["windows"][modality]["data_range"]
        biases = _of_pairs(metrics["pairs"]["cases"], modality, "bias")
        ratios = _of_pairs(metrics["pairs"]["cases"], modality, "sd_ratio")
        if biases:
            off = sum(map(abs, biases)) / len(biases)
            yield {
                "aspect": "mean, in pairs",
                "modality": modality,
                "region": "lesion",
                "verdict": _by_limits(off / width, *BIAS_OF_RANGE),
                "sentence": f"{off:.3g} {_side(biases, *LEVEL)}, {100 * off / width:.2g} % of the "
                "data range",
            }
        if ratios:
            # Half and twice the real spread are equally far off; none at all is beyond all limits.
            logs = [log(ratio) if ratio > 0 else -inf for ratio in ratios]
            off, none = exp(sum(map(abs, logs)) / len(logs)), logs.count(-inf)
            told = f"a factor of {off:.3g}" if not none else f"0 in {none} of {len(logs)} cases,"
            yield {
                "aspect": "spread, in pairs",
                "modality": modality,
                "region": "lesion",
                "verdict": _by_limits(off, *SD_FACTOR),
                "sentence": f"standard deviation {told} {_side(logs, *SPREAD)}",
            }


def _of_pairs(rows: Sequence[dict[str, Any]], modality: str, measure: str) -> list[float]:
    """A measure of the lesion in each pair that has it."""
    found = [row["values"].get(modality, {}).get("lesion", {}).get(measure) for row in rows]
    return [float(value) for value in found if value is not None and isfinite(value)]


def _side(errors: Sequence[float], more: str, less: str) -> str:
    """To which side cases lie off, or to how many sides: opposite ones do not make up for it."""
    above, below = sum(error > 0 for error in errors), sum(error < 0 for error in errors)
    if above and below:
        cases = f"{above} of {len(errors)} cases, {less} in {below}"
        return f"off real in the mean case ({more} in {cases})"
    return f"{more} than real" if above else f"{less} than real" if below else "off real"


def _by_limits(value: float, close: float, differs: float) -> str:
    return "close" if value <= close else "differs" if value <= differs else "far"
