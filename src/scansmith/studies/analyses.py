"""Studies of the generators themselves: trained for each seed, then looked at by an analysis.

Everything is kept in the study's folder, so that a study that is stopped goes on:

    store/, stores/ the samples; patients are dealt out here, before anything is trained
    generators/     a run for each generator and seed, trained on the store's training patients
    results.md      what was found, with the paper's numbers beside it; results.json; pictures

A generator that fails is told and does not keep the others from being looked at. What an analysis
of some kind does is in `analysis_kinds`; KINDS names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scansmith.data.store import Store
from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError, RunError, SettingsError
from scansmith.settings import Section, leaves, load_settings
from scansmith.studies import analysis_checks as checks
from scansmith.studies import analysis_kinds as kinds
from scansmith.studies import healed_kinds
from scansmith.studies.analysis_checks import Planned
from scansmith.studies.analysis_kinds import Job, Rows, Told
from scansmith.studies.blinded import ReaderOptions
from scansmith.studies.cells import attempt, file_name
from scansmith.studies.place import Place
from scansmith.studies.processes import check_seeds, each_seed, killed
from scansmith.studies.spec import Analysis
from scansmith.studies.tables import data_line, plain, published
from scansmith.train.checkpoint import write_json

Runs = dict[str, list[Path]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Kind:
    """A kind of analysis.

    Attributes:
        work: looks at runs that were trained on one store.
        options: its settings, which a study and `--set` may change.
        measures: what published numbers may be of; empty: none stands beside ours.
        beside: names of rows that are not generators'.
        check: tells what its options ask of data and generators in vain, before they are trained.
        single: looks at one run of each generator, that of the first seed; no other is trained.
    """

    work: Callable[[Job], Told]
    options: type[Section] = Section
    measures: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    check: Callable[[Planned], Iterable[str]] = checks.anything
    single: bool = False


#: Name -> kind. A new one is a function from a Job to what it Told, and a line here.
KINDS: Mapping[str, Kind] = {
    "painting": Kind(kinds.painting, kinds.PaintingOptions, kinds.PAINTED, kinds.FILLS),
    "healing": Kind(
        kinds.healing, kinds.HealingOptions, kinds.HEALED, kinds.UNTRAINED, checks.healing
    ),
    "label-to-image": Kind(kinds.likeness, Section, kinds.LIKENESS, kinds.MEANS),
    "training": Kind(kinds.training, kinds.CourseOptions),
    "lesion-guidance": Kind(
        kinds.guidance, kinds.GuidanceOptions, ("MSE", "Dice"), ("real",), checks.segmenters
    ),
    "registration": Kind(kinds.registered, kinds.RegistrationOptions),
    "translation": Kind(kinds.translated, kinds.TranslationOptions),
    "modality-quality": Kind(kinds.quality, kinds.QualityOptions, check=checks.segmenters),
    "reader-study": Kind(kinds.readers, ReaderOptions, check=checks.readers, single=True),
    "healed-channel": Kind(healed_kinds.channel, healed_kinds.ChannelOptions, check=checks.channel),
    "lesion-classification": Kind(
        healed_kinds.classification,
        healed_kinds.ClassificationOptions,
        check=checks.classification,
    ),
}


def run_analysis(
    place: Place[Analysis],
    seeds: Sequence[int],
    *,
    jobs: int = 1,
    sets: Sequence[str] = (),
    tell: Tell = print,
) -> dict[str, Any]:
    """Train what is not trained yet, look at all of it and write the results.

    Args:
        jobs: seeds at work at once, each in a process of its own; training alone.
        sets: the analysis' options over the specification's, a.b=c.
    Returns:
        What results.json holds.
    Raises:
        SettingsError, DataError: the study or its data cannot be used.
        RunError: no generator could be trained.
    """
    check_seeds(seeds, jobs)
    spec = place.spec
    kind, options = kind_of(spec), options_of(spec, sets)
    if kind.single and len(seeds) > 1:
        seen = f"one training of each generator is looked at, that of seed {seeds[0]}"
        tell(f"{spec.analysis}: {seen}; no other is done.")
        seeds = seeds[:1]
    stores = _stores(place)
    _check(place, stores, kind, options)
    runs, problems = train_all(place, seeds, jobs)
    if not runs:
        raise RunError("\n".join([f"{place.out}: no generator was trained.", *problems]))
    parts = {}
    for heading, out, names in _parts(place):
        group = {name: runs[name] for name in names if name in runs}
        if not group:
            continue
        job = Job(group, stores[place.home(names[0])], place.data, out, options)
        part = attempt(heading or spec.analysis, partial(kind.work, job), problems)
        if part is not None:
            parts[heading] = part
            problems += part.problems
    if not parts:
        raise RunError("\n".join([f"{place.out}: nothing could be looked at.", *problems]))
    for problem in problems:
        tell(problem)
    some = next(iter(stores.values()))
    result = {
        "title": spec.title,
        "item": spec.item,
        "about": spec.about,
        "data": place.data_facts(some),
        "analysis": spec.analysis,
        "published": spec.published.model_dump(mode="json"),
        "stores": {name: stores[place.home(name)].facts.fingerprint for name in spec.generators},
        **_patients(some, options),
        "seeds": list(seeds),
        "trained": {name: len(found) for name, found in runs.items()},
        "options": options.model_dump(mode="json"),
        "spec": spec.model_dump(mode="json"),
        "problems": problems,
        "rows": _rows(parts),
        "found": {heading or "all": told.numbers for heading, told in parts.items()},
    }
    result = plain(result)
    write_json(place.out / "results.json", result)
    write_bytes(place.out / "results.md", as_markdown(result, parts).encode())
    return result


def _patients(store: Store, options: Section) -> dict[str, int | None]:
    """How many are learned from and tested on; None where folds are dealt, which tell their own."""
    dealt = getattr(options, "folds", 1) > 1
    return {
        f"{split} patients": None
        if dealt
        else len({store.cases[name].patient for name in store.names(split)})
        for split in ("train", "test")
    }


def kind_of(spec: Analysis) -> Kind:
    """What a study asks for.

    Raises:
        SettingsError: there is no such kind, or published numbers are of nothing that it measures.
    """
    if spec.analysis not in KINDS:
        raise SettingsError(
            f"analysis: found {spec.analysis!r}, expected one of {', '.join(KINDS)}. Correct it."
        )
    kind = KINDS[spec.analysis]
    rows = {*spec.generators, *kind.beside}
    wrong = [
        f"published.arms: found {name!r}, expected one of {', '.join(sorted(rows))}. Numbers of "
        "what is not done here go under published.cited."
        for name in spec.published.arms
        if name not in rows
    ]
    wrong += [
        f"published.arms.{name}: found {measure!r}, expected one of "
        f"{', '.join(kind.measures) or 'none, for this analysis'}."
        for name, row in spec.published.arms.items()
        for measure in row
        if measure not in kind.measures
    ]
    if wrong:
        raise SettingsError("\n".join(wrong))
    return kind


def options_of(spec: Analysis, sets: Sequence[str] = ()) -> Section:
    """An analysis' options: its defaults, the specification's, then `sets`.

    Raises:
        SettingsError: with all that is wrong.
    """
    options = KINDS[spec.analysis].options
    if not options.model_fields and (sets or spec.options):
        raise SettingsError(
            f"{', '.join([*sets, *spec.options])}: a {spec.analysis} analysis trains no segmenter "
            "and has no options. Leave it out; generators' settings are in the study's file."
        )
    return load_settings(options, preset=dict(leaves(spec.options)), sets=sets)


def _stores(place: Place[Analysis]) -> dict[Path, Store]:
    """Every store that a generator learns from, by its folder. Raises DataError."""
    found: dict[Path, Store] = {}
    for name in place.spec.generators:
        if place.home(name) not in found:
            found[place.home(name)] = place.store(name)
    for path, store in found.items():
        if not store.names("test"):
            raise DataError(
                f"{path}: no case in the test split, which is what generators are measured on. "
                "Give data.split a share for testing (--data-set data.split=0.8,0,0.2)."
            )
    return found


def train_all(
    place: Place[Analysis], seeds: Sequence[int], jobs: int = 1
) -> tuple[Runs, list[str]]:
    """Every generator under every seed; the stores have been prepared.

    Returns:
        generator -> its runs, those that could be trained; and what went wrong.
    """
    done = [
        ({}, [killed(seed)]) if found is None else found
        for seed, found in zip(seeds, each_seed(_trained, place, seeds, jobs), strict=True)
    ]
    runs = {
        name: [found[name] for found, _ in done if name in found] for name in place.spec.generators
    }
    problems = [problem for _, told in done for problem in told]
    return {name: found for name, found in runs.items() if found}, problems


def _trained(place: Place[Analysis], seed: int) -> tuple[dict[str, Path], list[str]]:
    """Every generator under one seed, and what went wrong."""
    found, problems = dict[str, Path](), list[str]()
    for name in place.spec.generators:
        run = attempt(f"{name}, seed {seed}", partial(place.trained, name, seed), problems)
        if run is not None:
            found[name] = run
    return found, problems


def _check(
    place: Place[Analysis], stores: Mapping[Path, Store], kind: Kind, options: Section
) -> None:
    """Raises SettingsError with all that the options ask of data and generators in vain."""
    wrong = list[str]()
    for _, _, names in _parts(place):
        generators = {name: place.spec.generators[name] for name in names}
        wrong += kind.check(Planned(generators, stores[place.home(names[0])], options))
    if wrong:
        raise SettingsError("\n".join(dict.fromkeys(wrong)))


def _parts(place: Place[Analysis]) -> Iterator[tuple[str, Path, list[str]]]:
    """The generators of each store, with a heading and a folder; of a single store, without.

    All of them, so that one that is trained later does not move the folder.
    """
    homes: dict[Path, list[str]] = {}
    for name in place.spec.generators:
        homes.setdefault(place.home(name), []).append(name)
    for names in homes.values():
        heading = ", ".join(names) if len(homes) > 1 else ""
        yield heading, place.out / file_name(heading) if heading else place.out, names


def _rows(parts: Mapping[str, Told]) -> Rows:
    """All rows; those that several stores have alike are told apart by the heading."""
    names = [name for told in parts.values() for name in told.rows]
    return {
        f"{name} ({heading})" if names.count(name) > 1 else name: row
        for heading, told in parts.items()
        for name, row in told.rows.items()
    }


def as_markdown(result: Mapping[str, Any], parts: Mapping[str, Told]) -> str:
    """The study as a page of text; a part's pictures are in the folder of its heading."""
    lines = [f"# {result['title']}", "", result["about"], "", data_line(result["data"]), ""]
    counts = ""
    if result["test patients"] is not None:
        counts = f"{result['test patients']} test patients, {result['train patients']} to learn "
        counts += "from, "
    seeds = f"{'seeds' if counts else 'Seeds'} {', '.join(map(str, result['seeds']))}"
    lines += [f"{counts}{seeds}. Intervals are 95 % bootstrap intervals over patients.", ""]
    for heading, told in parts.items():
        lines += [f"## {heading}", ""] if heading else []
        lines += [told.text.rstrip(), ""]
        folder = f"{file_name(heading)}/" if heading else ""
        lines += [f"* [{file}]({folder}{file}): {words}." for file, words in told.pictures.items()]
        lines += [""] if told.pictures else []
    paper = {"item": result["item"], **result["published"]}
    lines += [*published(paper, result["rows"]), ""]
    if result["problems"]:
        lines += ["Not done:", "", *(f"* {problem}" for problem in result["problems"]), ""]
    return "\n".join(lines).rstrip() + "\n"
