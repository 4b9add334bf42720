"""One report on synthetic data: does it help, is it faithful, does it leak.

It is put together from parts on disk, each of which may be missing, and then that is told:

    a study's folder (`scansmith study`)        does it help
    an evaluation's folder (`evaluate`)         is it faithful to its labels, how like real
    an audit's folder (`audit`)                 does it give training patients away
    a reader study's score (`reader-study`)     can experts tell it from real scans

`report.json` has every verdict and number; `report.html` shows them, and pictures.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scansmith
from scansmith.data.draws import ANY
from scansmith.evaluate.compare import RESEARCH_USE, strict
from scansmith.evaluate.overlap import MEAN
from scansmith.evaluate.protocol import protocol_id
from scansmith.evaluate.spread import LEVEL, RESAMPLES
from scansmith.io.atomic import check_folder, write_bytes
from scansmith.scan import SettingsError
from scansmith.studies.downstream_report import LEAST_PATIENTS, MARGIN, Found, sd_over_seeds
from scansmith.studies.report.convergence import convergence_of
from scansmith.studies.report.help import help_of, judged_arms
from scansmith.studies.report.parts import Reader
from scansmith.studies.report.verdicts import faithful_word, verdicts
from scansmith.studies.spec import AS_LONG, Spec

FORMAT = 1
_WORST = 6  # rows of an evaluation that are shown


@dataclass(frozen=True)
class Parts:
    """Folders that a report is made of.

    Attributes:
        study: of `scansmith study`, with what it judged.
        evaluations, audits: of `scansmith evaluate` and `audit`, besides those of the study.
        reader_study: where `reader-study score` wrote.
    """

    study: Path | None = None
    evaluations: tuple[Path, ...] = ()
    audits: tuple[Path, ...] = ()
    reader_study: Path | None = None


def write_report(parts: Parts, out: Path | str) -> dict[str, Any]:
    """Write `report.json` and `report.html`.

    Returns:
        What report.json holds.
    Raises:
        SettingsError: no part is given, or `out` is a file, an evaluation's folder or another part
            than the study.
        DataError: a folder does not hold what it should; all that do not are named.
    """
    from scansmith.studies.report.page import write_page

    out = Path(out)
    if not (parts.study or parts.evaluations or parts.audits or parts.reader_study):
        raise SettingsError(
            "report: found no part, expected one at least: --study, --evaluate, --audit or "
            "--reader-study, each with a folder."
        )
    check_folder(out, "the report")
    _refuse_part(parts, out)
    found, folders = gathered(parts)
    text = json.dumps(found, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_bytes(out / "report.json", text.encode())
    write_page(out / "report.html", found, folders)
    return found


def _refuse_part(parts: Parts, out: Path) -> None:
    """An evaluation's page is called report.html too; in a study's folder it is the study's."""
    place = out.resolve()
    given = [*parts.evaluations, *parts.audits, *filter(None, [parts.reader_study])]
    if place in [folder.resolve() for folder in given]:
        what = "is one of the parts"
    elif (out / "metrics.json").exists() and not (parts.study and place == parts.study.resolve()):
        what = "holds an evaluation (metrics.json)"
    else:
        return
    raise SettingsError(
        f"{out}: {what}, whose own pages the report would replace, expected a folder of the "
        "report's own. Choose another --out."
    )


def gathered(parts: Parts) -> tuple[dict[str, Any], dict[str, Path]]:
    """Everything that the report says, and the folder of each part by its name."""
    read = Reader()
    results = read.json(parts.study, "results.json", "a study", "spec", "arms")
    own = [] if parts.study is None else (results or {}).get("judged") or []
    evaluations = [(_name(j), parts.study / j["folder"] / "evaluate") for j in own if j["evaluate"]]
    audits = [(_name(j), parts.study / j["folder"] / "audit") for j in own if j["audit"]]
    evaluations += _called(parts.evaluations, [name for name, _ in evaluations])
    audits += _called(parts.audits, [name for name, _ in audits])
    metrics = [
        (name, path, read.json(path, "metrics.json", "an evaluation", "verdicts", "synthetic"))
        for name, path in evaluations
    ]
    audited = [
        (name, path, read.json(path, "audit.json", "an audit", "verdict", "pairs"))
        for name, path in audits
    ]
    score = read.json(parts.reader_study, "score.json", "a reader study's score", "readers")
    spec, scores = read.arms(parts.study, results)
    read.raise_problems()
    found: dict[str, Any] = {
        "format": FORMAT,
        "scansmith": scansmith.__version__,
        "intended_use": RESEARCH_USE,
        "study": _study(parts.study, results, spec, scores)
        if parts.study and results and spec and scores
        else None,
        "evaluations": [_evaluation(name, m) for name, _, m in metrics if m],
        "audits": [_audit(name, a) for name, _, a in audited if a],
        "reader_study": score,
        "apart": bool(parts.study) and bool(parts.evaluations or parts.audits or score),
    }
    found |= verdicts(found)
    folders = {f"evaluation {name}": path for name, path, _ in metrics}
    folders |= {f"audit {name}": path for name, path, _ in audited}
    if parts.reader_study is not None:
        folders["reader study"] = parts.reader_study
    return strict(found), folders


def _study(folder: Path, results: Mapping[str, Any], spec: Spec, scores: Found) -> dict[str, Any]:
    steps, seen = spec.relative_steps, spec.relative_exposure
    facts = {
        "measure_of": f"{', '.join(spec.decided_by) or 'structures'}, mean over those that are "
        "there; test patients",
        "segmenters": spec.segmenters.model_dump(
            mode="json", exclude={"numbers": {"device", "threads"}}
        ),
        "drawn": {"level": LEVEL, "resamples": RESAMPLES},
        "limits": {"margin": MARGIN, "as_long": AS_LONG, "least_patients": LEAST_PATIENTS},
        "prepared": results.get("recipe"),
        "seeds": results["seeds"],
    }
    arms = {}
    for name, told in results["arms"].items():
        each = told.get("each seed", [])
        arms[name] = {
            "dice": told["dice"],
            "each_seed": each,
            "sd_over_seeds": sd_over_seeds(each),
            "failed": told["failed"],
            "steps": steps[name],
            "exposure": seen[name],
            "showing": list(spec.arms[name].showing),
            "role": _role(spec, name),
            "published": told.get("published", {}),
        }
    protocol = protocol_id("dice", facts)
    return {
        **{key: results[key] for key in ("title", "item", "about", "published", "store", "seeds")},
        "train_patients": results["train patients"],
        "test_patients": results["test patients"],
        "problems": [_without(folder, text) for text in results["problems"]],
        "reference": spec.reference,
        "data": results.get("data"),
        "measure": MEAN,
        "decided_by": list(spec.decided_by),
        "lesion": _lesion(spec, results),
        "protocol": protocol,
        "protocols": {protocol: facts},
        "arms": arms,
        "help": [help_of(spec, scores, name, results["seeds"]) for name in judged_arms(spec)],
        "convergence": convergence_of(spec, scores),
        "generators": list(spec.generators),
        "not_judged": _not_judged(spec, results),
        "spec": _without_folders(results["spec"]),
        "command": results.get("command", ""),
    }


def _lesion(spec: Spec, results: Mapping[str, Any]) -> list[str]:
    """Names of what counts as lesion; a study of an earlier version did not keep what * was."""
    earlier = ["what counts as lesion" if name == ANY else name for name in spec.lesion]
    return list(results.get("lesion", earlier))


def _without(folder: Path, text: str) -> str:
    """A message without the place of the study's folder, which is nobody's business."""
    for name in {str(folder), str(folder.resolve())}:
        text = text.replace(f"{name}/", "")
    return text


def _without_folders(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A specification with the names of sets on disk, not their places."""
    sets = {
        name: {
            **given,
            "path": Path(given["path"]).name,
            "runs": [Path(run).name for run in given["runs"]],
        }
        for name, given in spec["sets"].items()
    }
    return {**spec, "sets": sets}


def _role(spec: Spec, name: str) -> str:
    arm = spec.arms[name]
    if name in (spec.reference, spec.classical):
        return "reference" if name == spec.reference else "classical"
    if not arm.synthetic:
        return "real scans alone"
    return "judged" if name in judged_arms(spec) else "baseline"


def _not_judged(spec: Spec, results: Mapping[str, Any]) -> dict[str, list[str]]:
    """Makers of an arm's samples whose data sets were not evaluated, or not audited."""
    makers = [name for name in (*spec.generators, *spec.sets) if name in spec.makers]
    judged = results.get("judged") or []
    return {
        what: [m for m in makers if not any(j[what] and j["generator"] == m for j in judged)]
        for what in ("evaluate", "audit")
    }


def _evaluation(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    found = metrics["faithfulness"]
    structures = (found or {}).get("structures", {})
    protocols = {entry["protocol"] for entry in structures.values() if "protocol" in entry}
    words = [row["verdict"] or "none" for row in metrics["verdicts"]]
    return {
        "name": name,
        "scansmith": metrics["scansmith"],
        "synthetic": metrics["synthetic"],
        "real": metrics["real"],
        "notes": metrics["notes"],
        "faithful": {
            "word": faithful_word(found),
            "reason": "not asked" if found is None else found.get("reason", ""),
            "facts": (found or {}).get("facts"),
            "structures": structures,
        },
        "likeness": {word: words.count(word) for word in ("far", "differs", "close", "none")},
        "modalities": metrics["settings"]["modalities"],
        "lesion_word": _lesion_word(metrics["settings"]),
        "worst": list(metrics["verdicts"][:_WORST]),
        "protocols": {key: v for key, v in metrics["protocols"].items() if key in protocols},
    }


def _lesion_word(settings: Mapping[str, Any]) -> str:
    """Without a structure that is named like a lesion, all labels together stand in for it."""
    return "labelled region" if settings["lesion_by"] == "any label" else "lesion"


def _audit(name: str, audit: Mapping[str, Any]) -> dict[str, Any]:
    kept = (
        *("scansmith", "verdict", "reasons", "needed", "not_meant", "sets", "settings"),
        *("lines", "exchange", "pairs"),
    )
    metadata = {key: audit["metadata"][key] for key in ("files", "identifying", "trace")}
    return {"name": name, **{key: audit[key] for key in kept}, "metadata": metadata}


def _name(judged: Mapping[str, Any]) -> str:
    return f"{judged['generator']}, seed {judged['seed']}"


def _called(folders: Sequence[Path], taken: Sequence[str]) -> list[tuple[str, Path]]:
    """Folders by as much of the end of their paths as tells them apart, each once."""
    paths = list(dict.fromkeys(path.resolve() for path in folders))
    names, depth = [""] * len(paths), 0
    while len({*names, *taken}) < len(names) + len(taken) or (paths and not depth):
        depth += 1
        names = ["/".join(path.parts[-depth:]) for path in paths]
    return list(zip(names, paths, strict=True))
