"""`scansmith study`: from a specification and a data set to a folder with the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scansmith.io.atomic import write_bytes
from scansmith.scan import SettingsError
from scansmith.settings import load_settings
from scansmith.studies.downstream import Downstream, Place, Tell, run_cells
from scansmith.studies.downstream_report import as_markdown, rows_csv, save_plot, summarise
from scansmith.studies.judge import Judging, judge_generators
from scansmith.studies.repeat import command_of
from scansmith.studies.spec import Segmenters, Spec, find_spec
from scansmith.studies.study_report import Parts, write_report
from scansmith.train.checkpoint import write_json


def run_study(
    study: str | Spec,
    data: Path | str,
    out: Path | str,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    jobs: int = 1,
    patients: int = 0,
    data_sets: Sequence[str] = (),
    segmenter_sets: Sequence[str] = (),
    judging: Judging | None = None,
    tell: Tell = print,
) -> dict[str, Any]:
    """Do a study, or what of it is not done yet.

    Args:
        study: PAPER/ITEM, a YAML file, or the specification itself.
        data: the data set, in any layout that is known.
        out: the study's folder; the same one goes on with it.
        patients: learn from so many training patients alone; 0: all.
        data_sets: data settings over the specification's, a.b=c.
        segmenter_sets: settings of `spec.Segmenters` over the specification's, a.b=c.
        judging: write, evaluate and audit what the generators make; None: leave that out.
    Returns:
        What results.json holds. `report.html` and `report.json` tell the whole.
    Raises:
        SettingsError, DataError: the study or its data cannot be used.
    """
    spec = study if isinstance(study, Spec) else find_spec(study)
    if segmenter_sets:
        told = _flat(spec.segmenters.model_dump(mode="python"))
        changed = load_settings(Segmenters, preset=told, sets=segmenter_sets)
        spec = spec.model_copy(update={"segmenters": changed})
    if not seeds or len(set(seeds)) < len(seeds) or jobs < 1:
        raise SettingsError(
            f"study: found seeds {', '.join(map(str, seeds)) or 'none'} and {jobs} jobs, expected "
            "seeds that differ and one job at least. For example --seeds 3 --jobs 1."
        )
    place = Place(spec, Path(data), Path(out), patients, tuple(data_sets))
    found, problems = run_cells(place, seeds, jobs, tell)
    judged, more = ([], []) if judging is None else judge_generators(place, seeds, judging, tell)
    first = Downstream(place, seeds[0])
    result = {
        "title": spec.title,
        "item": spec.item,
        "about": spec.about,
        "published": spec.published.model_dump(mode="json"),
        "store": first.opened.facts.fingerprint,
        "train patients": len({case.patient for case in first.real}),
        "test patients": len({case.patient for case in first.test}),
        "seeds": list(seeds),
        "spec": spec.model_dump(mode="json"),
        "problems": [*problems, *more],
        "judged": judged,
        "command": command_of(study, place, seeds, judging, segmenter_sets),
        **summarise(spec, found),
    }
    write_json(place.out / "results.json", result)
    write_bytes(place.out / "results.md", as_markdown(result).encode())
    write_bytes(place.out / "patients.csv", rows_csv(seeds, found).encode())
    save_plot(result, place.out / "results.png")
    write_report(Parts(study=place.out), place.out)
    return result


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}, as presets are."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= (
            _flat(value, f"{prefix}{name}.")
            if isinstance(value, dict)
            else {f"{prefix}{name}": value}
        )
    return found
