"""`scansmith study`: from a specification and a data set to a folder with the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scansmith.io.atomic import check_folder, write_bytes
from scansmith.settings import check_model, leaves, load_settings
from scansmith.studies.analyses import run_analysis
from scansmith.studies.downstream import Downstream, Tell, run_cells
from scansmith.studies.downstream_report import as_markdown, rows_csv, save_plot, summarise
from scansmith.studies.judge import Judging, judge_generators, judging_of
from scansmith.studies.place import Place, Watch
from scansmith.studies.processes import check_seeds
from scansmith.studies.repeat import command_of
from scansmith.studies.report.write import Parts, write_report
from scansmith.studies.spec import Analysis, Segmenters, Spec, find_spec
from scansmith.train.checkpoint import write_json


def run_study(
    study: str | Spec | Analysis,
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
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Do a study, or what of it is not done yet.

    Args:
        study: PAPER/ITEM, a YAML file, or the specification itself.
        data: the data set, in any layout that is known.
        out: the study's folder; the same one goes on with it.
        patients: learn from so many training patients alone; 0: all.
        data_sets: data settings over the specification's, a.b=c.
        segmenter_sets: settings of what measures over the specification's, a.b=c: of
            `spec.Segmenters`, or an analysis' options.
        judging: write, evaluate and audit what the generators make; None: leave that out, and
            tell what was judged before. An analysis looks at generators itself, and does not judge.
        tell: told what has to be known, line by line.
        watch: who is told how far trainings and judging are; see `Place`.
    Returns:
        What results.json holds. But for an analysis `report.html` and `report.json` tell the whole.
    Raises:
        SettingsError, DataError: the study or its data cannot be used.
        RunError: the folder holds another study, or no cell at all could be finished; what it held
            stays as it is.
    """
    check_folder(Path(out), "the study")
    spec = find_spec(study) if isinstance(study, str) else study
    if isinstance(spec, Analysis):
        there = Place(spec, Path(data), Path(out), patients, tuple(data_sets), watch)
        return run_analysis(there, seeds, jobs=jobs, sets=segmenter_sets, tell=tell)
    if segmenter_sets:
        told = dict(leaves(spec.segmenters.model_dump(mode="python")))
        changed = load_settings(Segmenters, preset=told, sets=segmenter_sets)
        spec = check_model(Spec, {**dict(spec), "segmenters": changed})
    check_seeds(seeds, jobs)
    place = Place(spec, Path(data), Path(out), patients, tuple(data_sets), watch)
    found, problems = run_cells(place, seeds, jobs, tell)
    judged, more = judge_generators(place, seeds, judging, tell)
    judging = judging_of(place, judged, judging)
    first = Downstream(place, seeds[0])
    result = {
        "title": spec.title,
        "item": spec.item,
        "about": spec.about,
        "data": place.data_facts(first.opened),
        "published": spec.published.model_dump(mode="json"),
        "store": first.opened.facts.fingerprint,
        "recipe": first.opened.recipe.model_dump(mode="json"),
        "train patients": len({case.patient for case in first.real}),
        "test patients": len({case.patient for case in first.test}),
        "seeds": list(seeds),
        "spec": spec.model_dump(mode="json"),
        "lesion": list(first.spec.lesion),
        "problems": [*problems, *more],
        "judged": judged,
        "command": command_of(
            study if isinstance(study, str) else spec, place, seeds, judging, segmenter_sets
        ),
        **summarise(spec, found),
    }
    write_json(place.out / "results.json", result)
    write_bytes(place.out / "results.md", as_markdown(result).encode())
    write_bytes(place.out / "patients.csv", rows_csv(seeds, found).encode())
    save_plot(result, place.out / "results.png")
    write_report(Parts(study=place.out), place.out)
    return result
