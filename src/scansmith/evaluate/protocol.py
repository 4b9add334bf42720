"""Protocols: a short name for everything that decides a number, so that like is set beside like.

`ssim/1/5e0c2a917b34` is a measure, the version of its formula, and a hash of its constants, the
window, what counts as lesion, which cases are taken, how patients are drawn, the seed. Two numbers
with one protocol were measured alike. The data are no part of it; what was fitted to them is: a
window from the real set's percentiles is another for another real set.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from scansmith.evaluate import (
    cases,
    continuity,
    feature_distances,
    feature_network,
    features,
    fidelity,
    grids,
    information,
    neighbours,
    planes,
    spread,
    statistics,
    summary,
)
from scansmith.evaluate.cases import Plan
from scansmith.evaluate.facts import Options
from scansmith.evaluate.view import AXES
from scansmith.evaluate.windows import SHARES

#: Version of each measure's formula: raised by whoever changes what it comes to. What it is taken
#: of (texture, lesions, slices that follow each other) has versions of its own, below.
VERSIONS = {
    **dict.fromkeys(("psnr", "ssim", "ms_ssim", "mae", "mse", "mi", "nmi", "bias", "sd_ratio"), 1),
    **dict.fromkeys(("frechet", "kernel", "wasserstein", "kolmogorov_smirnov"), 1),
    **dict.fromkeys(neighbours.MEASURES, 1),
    "faithfulness": 3,
    "dice": 2,
}
_SSIM = {
    "sigma": fidelity.SSIM_SIGMA,
    "radius": fidelity.SSIM_RADIUS,
    "k": (fidelity.K1, fidelity.K2),
}
_INFORMATION = {"bins": information.BINS, "least_voxels": information.LEAST_VOXELS}
_PAIRED: dict[str, dict[str, Any]] = {
    "ssim": _SSIM,
    "ms_ssim": {**_SSIM, "weights": fidelity.MS_SSIM_WEIGHTS},
    "mi": _INFORMATION,
    "nmi": _INFORMATION,
}
_TEXTURE = {
    "texture_version": 1,
    "features": hashlib.sha256("\n".join(features.FEATURES).encode()).hexdigest()[:12],
    "levels": features.LEVELS,
    "distances": features.DISTANCES,
    "sigmas": features.LOG_SIGMAS,
    "slices": features.SLICES,
    "least_pixels": features.LEAST_PIXELS,
    "scaled": "standard deviations of the real set",
}
_NEIGHBOURS = {
    "k": neighbours.NEIGHBOURS,
    "most_samples": neighbours.MOST_SAMPLES,
    "thinned": "evenly over all samples",
    "splits": neighbours.SPLITS,
    "least_lack": neighbours.LEAST_LACK,
}
_LESIONS = {
    "lesions_version": 1,
    "least_voxels": statistics.LEAST_VOXELS,
    "shell_mm": statistics.SHELL_MM,
    "least_shell": statistics.LEAST_SHELL,
}
_CONTINUITY = {
    "continuity_version": 1,
    "places": continuity.PLACES,
    "least_slices": continuity.LEAST_SLICES,
    **_SSIM,
}

Entry = dict[str, Any]
#: Where a number stands: its entry, measure, aspect, modality, region, and its own facts.
Place = tuple[Entry, str, str, str, str, Mapping[str, Any]]


def protocol_id(measure: str, facts: Mapping[str, Any]) -> str:
    """The measure, the version of its formula and 12 digits that stand for the facts."""
    decided = {**facts, "measure": measure, "version": VERSIONS[measure]}
    text = json.dumps(decided, sort_keys=True, separators=(",", ":"))
    return f"{measure}/{VERSIONS[measure]}/{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def state_protocols(metrics: Entry, plan: Plan, options: Options) -> dict[str, Entry]:
    """Write `protocol`, and `data_range` where there is a window, into every entry of the metrics.

    Returns:
        protocol -> everything that it stands for.
    """
    windows = {
        name: {k: v for k, v in window.as_dict().items() if k != "source"}
        | ({"of_own_range": SHARES} if window.own else {})
        for name, window in zip(plan.shared.modalities, plan.windows, strict=True)
    }
    shared = _shared(plan, options)
    table: dict[str, Entry] = {}
    for entry, measure, aspect, modality, region, own in _places(metrics, options):
        facts = {**shared, "aspect": aspect, "modality": modality, "region": region, **own}
        if modality in windows:
            facts["window"] = windows[modality]
            entry["data_range"] = windows[modality]["data_range"]
        entry["protocol"] = protocol_id(measure, facts)
        table[entry["protocol"]] = {"measure": measure, "version": VERSIONS[measure], **facts}
    return table


def _shared(plan: Plan, options: Options) -> Entry:
    """What decides every number: which cases, which labels, and how patients are drawn."""
    return {
        "structures": plan.shared.structures,
        "lesion": [plan.shared.structures[i] for i in plan.shared.lesion],
        "sliced_across": AXES[plan.shared.slices],
        "limit": options.limit,
        "seed": options.seed,
        "drawn": {
            "level": spread.LEVEL,
            "means": spread.RESAMPLES,
            "distances": spread.DRAWS,
            "splits": spread.SPLITS,
            "matched": "as many patients and samples",
            "least_patients": spread.LEAST_PATIENTS,
            "far": spread.FAR,
            "far_of": "the larger of the real upper end and the interval's half width",
            "no_verdict": "the interval reaches 0",
        },
    }


def _places(metrics: Entry, options: Options) -> Iterator[Place]:
    """Every number of the metrics that is measured by a protocol."""
    rows = metrics["pairs"]["cases"]
    grid = {
        "pairs": options.pairs,
        "least_shared": grids.LEAST_SHARED,
        "same": grids.SAME,
        "resampled": sorted({row["resampled"] for row in rows}),
    }
    scales = {"ms_ssim": {"scales": sorted({row["scales"] for row in rows if row["scales"]})}}
    for modality, regions in metrics["pairs"]["fidelity"].items():
        for region, found in regions.items():
            for measure, entry in found.items():
                own = {**grid, **_PAIRED.get(measure, {}), **scales.get(measure, {})}
                yield entry, measure, "pairs", modality, region, own
    for modality, regions in metrics["texture"].items():
        for region, found in regions.items():
            yield from _of_features(found, "texture", modality, region, _TEXTURE)
    yield from _network(metrics["network"])
    voxels = {"of_case": cases.VOXELS, "of_set": summary.MOST_VOXELS}
    for modality, regions in metrics["intensity"].items():
        for region, found in regions.items():
            yield from _of_values(found, "grey values", modality, region, voxels)
    for name, found in metrics["lesions"].items():
        yield from _of_values(found, name, name.partition(", ")[2], "lesion", _LESIONS)
    for name, found in metrics["structures"].items():
        yield from _of_values(found, "volume", "", name, {})
    for modality, measures in metrics["continuity"].items():
        for name, found in measures.items():
            yield from _of_values(found, f"{name} of slices", modality, "whole", _CONTINUITY)
    yield from _faithfulness(metrics["faithfulness"], list(metrics["windows"].values()))


def _of_values(
    found: Entry, aspect: str, modality: str, region: str, own: Mapping[str, Any]
) -> Iterator[Place]:
    for measure in ("wasserstein", "kolmogorov_smirnov"):
        yield found[measure], measure, aspect, modality, region, own


def _of_features(
    found: Entry, aspect: str, modality: str, region: str, own: Mapping[str, Any]
) -> Iterator[Place]:
    effort = {"many": feature_distances.MANY_FEATURES, "effort": feature_distances.EFFORT}
    for measure in ("frechet", "kernel"):
        yield found[measure], measure, aspect, modality, region, {**own, **effort}
    for measure, entry in found.get("neighbours", {}).items():
        yield entry, measure, aspect, modality, region, {**own, **_NEIGHBOURS}


def _network(network: Entry | None) -> Iterator[Place]:
    if network is None:
        return
    own = {
        "weights": network["weights_sha256"],
        "slices": cases.NETWORK_SLICES,
        "longer_side": feature_network.SIDES,
        "least_pixels": features.LEAST_PIXELS,
        "scaled": "standard deviations of the real set",
    }
    cuts = {**own, "least_side": planes.LEAST_SIDE, "most_pixels": planes.MOST_PIXELS}
    for modality, found in network.items():
        if modality != "weights_sha256":
            yield from _of_features(found, "network", modality, "whole", own)
            three = found["three_planes"]
            yield from _of_features(three, "network, three planes", modality, "whole", cuts)


def _faithfulness(found: Entry | None, windows: list[Entry]) -> Iterator[Place]:
    if found is None or "structures" not in found:
        return
    from scansmith.evaluate.faithfulness import protocol_facts

    own = {**protocol_facts(found["facts"]), "windows": windows}  # their source decides the scale
    for name, entry in found["structures"].items():
        yield entry, "faithfulness", "label faithfulness", "", name, own
