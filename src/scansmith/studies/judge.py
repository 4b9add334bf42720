"""The generators of a study, judged: data sets on disk, how like they are, and what they give away.

In the study's folder, each step kept when it is finished, so that a study that is stopped goes on:

    judged/train, judged/holdout    the store's training and test patients as data sets
    judged/GENERATOR-seedN/
        synthetic/                  as many cases as there are training patients
        evaluate/                   against the training patients, with label faithfulness
        audit/                      against training and test patients

What was judged stays in the report, whatever a later call asks for: a leak that was found is not
forgotten. To judge anew, its folder has to be deleted.

All four sets are written from the store, on its grid and in raw units, by the writer that
`synthesize` uses: nothing differs between real and synthetic but what the generator did.

The faithfulness of labels is asked of a segmenter that `evaluate` trains on two thirds of the
training patients, not of the study's own: that one has seen every patient whose label maps and
scans the synthetic cases were drawn from, and would find too much in them.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from scansmith.data.batches import places
from scansmith.data.store import Store
from scansmith.data.write import open_writer
from scansmith.evaluate import audit, evaluate
from scansmith.evaluate.privacy.verdict import LEAST
from scansmith.scan import DataError, RunError, Scan, SettingsError
from scansmith.studies.cells import attempt, file_name
from scansmith.studies.downstream import Tell
from scansmith.studies.place import Place
from scansmith.studies.spec import Spec
from scansmith.synthesize.make import synthesize
from scansmith.synthesize.works import written_table
from scansmith.train.checkpoint import read_json, write_json
from scansmith.workflow import Progress

LAYOUT = "nnunet"
_WRITTEN = {"evaluate": "metrics.json", "audit": "audit.json"}
"""What is said of a generator's data set -> the file that holds it."""
SETS = {"train": "train", "holdout": "test"}
"""Name of a real data set -> its split in the store."""


@dataclass(frozen=True)
class Judging:
    """How the generators are judged.

    Attributes:
        cases: synthetic ones; 0: as many as training patients, but no fewer than a pass takes.
        seeds: of how many seeds the generators are judged; the first ones.
        steps: of the segmenter that is asked whether images show what their labels say.
    """

    cases: int = 0
    seeds: int = 1
    steps: int = 1000

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        if self.cases < 0 or self.seeds < 1 or self.steps < 1:
            raise SettingsError(
                f"judge: found {self.cases} cases, {self.seeds} seeds and {self.steps} steps, "
                "expected 0 cases or more (0: as many as training patients), 1 seed and 1 step at "
                "least."
            )


def judged_folder(out: Path, generator: str, seed: int) -> Path:
    """Where a generator's data set and what is said of it lie in a study's folder."""
    return out / "judged" / file_name(f"{generator} seed{seed}")


def judge_generators(
    place: Place[Spec], seeds: Sequence[int], judging: Judging | None, tell: Tell = print
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write, evaluate and audit a data set of each generator that an arm learns from.

    Args:
        judging: None: nothing is done, and what was finished before is listed.
    Returns:
        generator, seed, folder in the study's, and which steps are done (evaluate, audit) of each,
        those of the study's other seeds that were done before too; and what went wrong or was done
        with other numbers than these: the other steps are done nevertheless.
    """
    makers = [name for name in place.spec.generators if name in place.spec.makers]
    if not makers or not (judging or (place.out / "judged").exists()):
        return [], []
    store, problems = Store.open(place.out / "store"), list[str]()
    asked = seeds[: judging.seeds] if judging else ()
    for name in SETS if judging else ():
        problems += _tried(f"judging, {name} patients", partial(_exported, place, store, name))
    exported, judged = not problems, []
    for generator in makers:
        for seed in seeds:
            if judging and exported and seed in asked:
                problems += _judged(place, store, generator, seed, judging)
            done = _finished(place, store, generator, seed)
            if seed in asked or any(done.values()):
                folder = f"judged/{judged_folder(place.out, generator, seed).name}"
                judged.append({"generator": generator, "seed": seed, "folder": folder, **done})
    for problem in problems:
        tell(problem)
    return judged, problems


def judging_of(
    place: Place[Spec], judged: Sequence[dict[str, Any]], judging: Judging | None
) -> Judging | None:
    """What the generators were judged with, whatever was asked for; None: they were not.

    Args:
        judged: as `judge_generators` has it.
    """
    done = [one for one in judged if one["evaluate"] or one["audit"]]
    if not done:
        return judging
    folder = place.out / done[0]["folder"]
    cases = _kept(folder / f"{'audit' if done[0]['audit'] else 'evaluate'}.json")["cases"]
    default = _default_cases(Store.open(place.out / "store"))
    each = Counter(one["generator"] for one in done)
    asked = judging or Judging()
    return replace(
        asked,
        cases=asked.cases if cases == (asked.cases or default) else cases,
        seeds=max(*each.values(), judging.seeds if judging else 1),
        steps=_kept(folder / "evaluate.json").get("steps", asked.steps),
    )


def _record(place: Place[Spec], store: Store, generator: str, seed: int) -> dict[str, Any]:
    """What a judged data set is of."""
    return {
        "generator": place.spec.generators[generator].model_dump(mode="json"),
        "seed": seed,
        "store": store.facts.fingerprint,
    }


def _finished(place: Place[Spec], store: Store, generator: str, seed: int) -> dict[str, bool]:
    """Which of what is said of a generator is there, of this generator and these patients."""
    folder = judged_folder(place.out, generator, seed)
    record = _record(place, store, generator, seed)
    return {
        what: (folder / what / file).is_file()
        and record.items() <= _kept(folder / f"{what}.json").items()
        for what, file in _WRITTEN.items()
    }


def _kept(done: Path) -> dict[str, Any]:
    """The record that a step was done with; {}: it was not."""
    return read_json(done) if done.is_file() else {}


def _judged(
    place: Place[Spec], store: Store, generator: str, seed: int, judging: Judging
) -> Iterator[str]:
    """Do the steps of one generator under one seed: a line about each that went wrong.

    What was begun with other numbers goes on with those, and a line tells them.
    """
    folder, real = judged_folder(place.out, generator, seed), place.out / "judged"
    asked = {"cases": judging.cases or _default_cases(store), "steps": judging.steps}
    before = {
        "cases": _kept(folder / "synthesize.json").get("cases", asked["cases"]),
        "steps": _kept(folder / "evaluate.json").get("steps", asked["steps"]),
    }
    cases, steps = before["cases"], before["steps"]
    if before != asked:
        words = ", ".join(f"{n} {name}" for name, n in before.items() if n != asked[name])
        wanted = ", ".join(f"{n} {name}" for name, n in asked.items() if n != before[name])
        yield (
            f"{generator}, seed {seed}: was judged before with {words}, which stays; expected "
            f"{wanted}. To judge anew delete judged/{folder.name} in the study's folder."
        )
    record = {**_record(place, store, generator, seed), "cases": cases}
    made = folder / "synthetic"
    train, holdout = (real / name for name in SETS)

    def stage(what: str, work: Callable[[Progress | None], object], **more: int) -> list[str]:
        title = f"{generator}, seed {seed}, {what}"

        def watched() -> None:
            with place.watched(title) as progress:
                work(progress)

        done = folder / f"{what}.json"
        return _tried(title, lambda: step(done, {**record, **more}, watched))

    failed = stage(
        "synthesize",
        lambda progress: synthesize(
            _run_of(place, generator, seed), made,
            cases=cases, seed=seed, layout=LAYOUT, resume=made.exists(), progress=progress,
        ),
    )  # fmt: skip
    if failed:
        yield from failed
        return
    yield from stage(
        "evaluate",
        lambda progress: evaluate(
            train, made, folder / "evaluate",
            faithfulness=True, steps=steps, progress=progress,
        ),
        steps=steps,
    )  # fmt: skip
    yield from stage(
        "audit",
        lambda progress: audit(made, train, holdout, folder / "audit", progress=progress),
    )


def _run_of(place: Place[Spec], generator: str, seed: int) -> Path:
    """The run that the study's arms learned from; it is not trained here."""
    if not place.is_trained(generator, seed):
        raise RunError(
            f"{place.run_of(generator, seed)}: holds no finished run, expected the one that the "
            "study's arms learned from. Mend what kept it from being trained, and run the study "
            "again."
        )
    return place.trained(generator, seed)


def step(done: Path, record: dict[str, Any], work: Callable[[], object]) -> None:
    """Do what is not done yet, and keep the record of what it was done with.

    Raises:
        RunError: it was done with another record.
    """
    if done.is_file():
        before = read_json(done)
        differing = sorted(k for k in {*before, *record} if before.get(k) != record.get(k))
        if differing:
            raise RunError(
                f"{done}: was done with other settings (differing: {', '.join(differing)}). Give "
                f"these again, or delete {done.parent.name} in the study's folder and judge anew."
            )
        return
    work()
    write_json(done, record)


def _tried(what: str, work: Callable[[], object]) -> list[str]:
    problems: list[str] = []
    attempt(what, work, problems)
    return problems


def _default_cases(store: Store) -> int:
    return max(LEAST, len({case.patient for case in _of(store, "train")}))


def _of(store: Store, name: str) -> list[Any]:
    return [store.cases[case] for case in store.names(SETS[name])]


def _exported(place: Place[Spec], store: Store, name: str) -> None:
    out = place.out / "judged" / name

    def work() -> None:
        if out.exists():  # begun and not finished: written anew, whole
            shutil.rmtree(out)
        export(store, SETS[name], out)

    record = {"store": store.facts.fingerprint, "split": SETS[name]}
    step(place.out / "judged" / f"{name}.json", record, work)


def export(store: Store, split: str, out: Path) -> None:
    """Write the patients of a split as a data set, as `synthesize` would write them.

    Of stores for methods that draw single slices, the slices that these are drawn from are written
    one by one. Every method asks for labels in every case, so none is without.

    Raises:
        DataError: there is nobody in the split.
    """
    if not store.names(split):
        raise DataError(
            f"{store.path}: no case in the {split} split, expected one at least. Give data.split a "
            "share for it (--data-set data.split=0.8,0,0.2)."
        )
    table = written_table(store.table, LAYOUT)
    writer = open_writer(LAYOUT, out, store.facts.modalities, table, f"real-{split}")
    for scan in _scans(store, split):
        writer.write(_written(store, scan))
    writer.close({"synthetic": False, "description": f"Real patients, {split} split of a study."})


def _scans(store: Store, split: str) -> Iterator[Scan]:
    edits = store.recipe.edits
    if edits.unit == "case":
        yield from (store.scan(name, *store.volume(name)) for name in store.names(split))
        return
    draw = next(d for d in store.recipe.draws if d.name == edits.draw)
    for name, number in (place for case in places(store, split, draw) for place in case):
        image, labels = store.sample(name, number)
        yield store.scan(name, image[None], labels[None], f"{name}_{number:03}", number)


def _written(store: Store, scan: Scan) -> Scan:
    """In the values of the written table, as `Works.as_written` has it."""
    assert scan.labels is not None
    table = written_table(store.table, LAYOUT)
    if table.values == store.table.written.values:
        return scan
    return Scan(
        scan.case, scan.image, scan.affine, scan.modalities,
        store.table.written.encode(scan.labels), scan.patient,
    )  # fmt: skip
