"""Preparing: raw scans of any layout become the store that one recipe asks for, once.

Cases are worked on side by side in threads: what takes the time (unpacking, resampling, rounding,
writing) leaves Python's lock alone. All cases are read before anything is fit, all problems are
told at once, and store.json is written last, so that a store is whole or is none. What a case gave
is noted beside its arrays; a run that was interrupted goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from scansmith.data.intensity import fit_codecs, merge
from scansmith.data.layouts import DataSet, find_layout
from scansmith.data.needs import check_recipe, same_images, unmet, unserved
from scansmith.data.prepare_case import Finding, Task, alone, pack_case, read_case
from scansmith.data.regions import with_regions
from scansmith.data.signatures import signature, source_of, timeless
from scansmith.data.split import split_patients
from scansmith.data.store import FORMAT, Store, StoredCase, write_json
from scansmith.labels.table import LabelTable
from scansmith.recipe import Codec, Draw, Facts, Recipe
from scansmith.scan import DataError, Problem, SettingsError

#: Told after each case: how many steps are done, of how many, and what was done.
Progress = Callable[[int, int, str], None]

_MARK = "preparing.json"
In = TypeVar("In")
Out = TypeVar("Out")


def prepare(
    src: Path | str,
    store: Path | str,
    recipe: Recipe,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> Store:
    """Turn a data set on disk into a store for one recipe.

    A finished store of the same data and recipe is returned as it is; if the files have other
    times, as copies have, they are read again to see. An interrupted one goes on; the result is the
    same as without the interruption.

    Args:
        src: data set in any layout that `find_layout` knows.
        store: folder to write; new, empty, or left by an earlier run.
        workers: cases worked on at a time; 0: one for each processor. The store does not depend
            on it.
        progress: called with (steps done, all steps, what was done).
    Raises:
        DataError: with every problem of every case; then nothing is left behind.
        SettingsError: there is a store for another recipe.
        RunError: the disk is full.
    """
    src, store = Path(src), Path(store)
    check_recipe(recipe)
    dataset = find_layout(src)
    problems = [p for p in dataset.problems if p.kind not in ("modality", "unlabelled")]
    problems += unmet(dataset, recipe)  # these two again, but only where the recipe minds
    problems += dataset.unmatched
    splits = _splits(dataset, recipe, problems)
    if problems:
        raise DataError([*problems, *_content_problems(dataset, recipe, problems, workers)])
    source = source_of(dataset)
    if (store / "store.json").exists():
        found = _same_recipe(store, recipe)
        if found.source != source:
            _same_content(found, source, lambda other: prepare(src, other, recipe, workers=workers))
        _clear(store)
        return Store.open(store)
    _claim(store, recipe)
    tasks = _tasks(dataset, recipe, splits, store / "cases")
    steps = _Steps(progress, 2 * len(tasks))
    try:
        findings = _read_all(tasks, workers, steps)
        codecs = _shared_codecs(tasks, findings, src)
        cases = _pack_all(tasks, findings, codecs, workers, steps)
    except (DataError, SettingsError):
        _withdraw(store)
        raise
    left_out = [t.files.case for t, found in zip(tasks, findings, strict=True) if not found.samples]
    _finish(store, tasks[0], cases, left_out, source)
    steps.end()
    return Store.open(store)


def _splits(dataset: DataSet, recipe: Recipe, problems: list[Problem]) -> dict[str, str]:
    try:
        patients = [files.patient for files in dataset.cases]
        return split_patients(patients, recipe.split, recipe.seed, recipe.patients)
    except DataError as error:
        problems += error.problems
        return {}


def _read_all(tasks: Sequence[Task], workers: int, steps: _Steps) -> list[Finding]:
    """Stage one: every case read, checked and brought to its grid."""
    findings = list(_side_by_side(read_case, tasks, workers, steps.one))
    problems = [problem for finding in findings for problem in finding.problems]
    names = (task.files.case for task in tasks)
    problems += same_images(zip(names, (found.digest for found in findings), strict=True))
    problems = problems or unserved(tasks, findings)
    if problems:
        raise DataError(problems)
    return findings


def _pack_all(
    tasks: Sequence[Task],
    findings: Sequence[Finding],
    codecs: tuple[Codec, ...] | None,
    workers: int,
    steps: _Steps,
) -> list[StoredCase]:
    """Stage two: every case that has samples in network range, as int16."""

    def pack(pair: tuple[Task, Finding]) -> StoredCase:
        return pack_case(*pair, _codecs_of(pair[1], codecs))

    whole = [(task, found) for task, found in zip(tasks, findings, strict=True) if found.samples]
    return list(_side_by_side(pack, whole, workers, steps.one))


def _content_problems(
    dataset: DataSet, recipe: Recipe, known: Sequence[Problem], workers: int
) -> list[Problem]:
    """Problems inside the files of the cases that are complete, so that all are told at once."""
    broken = {problem.where for problem in known}
    needless = {"structures": (), "needs": (), "draws": (Draw(name="any"),)}
    tasks = _tasks(dataset, recipe.model_copy(update=needless), {}, None)
    tasks = [
        task
        for task in tasks
        if task.files.case not in broken
        and task.modalities
        and set(task.modalities) <= set(task.files.images)
    ]
    findings = _side_by_side(read_case, tasks, workers)
    return [problem for finding in findings for problem in finding.problems]


def _tasks(
    dataset: DataSet, recipe: Recipe, splits: Mapping[str, str], folder: Path | None
) -> list[Task]:
    kept = with_regions(
        dataset.table.keep(recipe.structures), recipe.regions, max(dataset.table.known)
    )
    modalities = recipe.modalities or dataset.modalities
    rule = f"{FORMAT} {recipe.model_dump_json()} {_names(dataset.table)} {modalities}"
    tasks = []
    for files in sorted(dataset.cases, key=lambda each: each.case):
        key = hashlib.sha256(f"{rule} {signature(files)}".encode()).hexdigest()
        place = None if folder is None else folder / files.case
        split = splits.get(files.patient, "")
        tasks.append(Task(files, split, modalities, recipe, dataset.table, kept, place, key))
    return tasks


def _shared_codecs(
    tasks: Sequence[Task], findings: Sequence[Finding], src: Path
) -> tuple[Codec, ...] | None:
    """The codecs that all cases share, fitted to the training cases; None if each has its own."""
    recipe = tasks[0].recipe
    if alone(recipe):
        return None
    training = [
        finding.statistics
        for task, finding in zip(tasks, findings, strict=True)
        if task.split == "train" and finding.samples
    ]
    whole = [merge(parts, recipe.intensity) for parts in zip(*training, strict=True)]
    return fit_codecs(recipe.intensity, whole, str(src))


def _codecs_of(finding: Finding, shared: tuple[Codec, ...] | None) -> tuple[Codec, ...]:
    if shared is not None:
        return shared
    assert finding.plain is not None
    return tuple(Codec(**codec) for codec in finding.plain["codecs"])


def _finish(
    store: Path,
    task: Task,
    cases: Sequence[StoredCase],
    left_out: Sequence[str],
    source: Mapping[str, Any],
) -> None:
    """Clear away what was only needed on the way, and write store.json."""
    recipe, kept = task.recipe, task.kept
    example = next(case for case in cases if case.split == "train")
    facts = Facts(
        dims=recipe.dims,
        size=recipe.size,
        modalities=task.modalities,
        structures=kept.structures,
        codecs=example.codecs,
    )
    content = {
        "format": FORMAT,
        "recipe": recipe.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json"),
        "table": _names(kept),
        "cases": [case.as_dict() for case in cases],
        "left_out": list(left_out),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    content["facts"] = facts.model_copy(update={"fingerprint": digest}).model_dump(mode="json")
    content["source"] = source
    for folder in (store / "cases").iterdir():
        if folder.name not in {case.case for case in cases}:
            shutil.rmtree(folder)
    write_json(store / "store.json", content)
    _clear(store)


def _clear(store: Path) -> None:
    """Take away what a finished store does not need; again, if a run was killed at just that."""
    if not (store / _MARK).exists():
        return
    for leftover in [*store.glob("cases/*/case.json"), *store.rglob(".*.part")]:
        leftover.unlink()
    (store / _MARK).unlink()


def _names(table: LabelTable) -> dict[str, str]:
    """Every value of a table with its structure's name, aliases included, for JSON."""
    names = dict(table.names) | {a: table.names[v] for a, v in table.aliases.items()}
    return {str(value): name for value, name in sorted(names.items())}


def _same_recipe(store: Path, recipe: Recipe) -> Store:
    found = Store.open(store)
    if found.recipe != recipe:
        there, asked = found.recipe.model_dump(), recipe.model_dump()
        differing = [
            f"{k}: {there[k]} there, {asked[k]} asked" for k in asked if asked[k] != there[k]
        ]
        raise SettingsError(
            f"{store}: a store for another recipe ({'; '.join(differing)}). Choose another folder, "
            "or delete this one."
        )
    return found


def _same_content(found: Store, source: Mapping[str, Any], again: Callable[[Path], Store]) -> None:
    """Let a store stand for files that differ from its own in their times alone.

    Args:
        again: prepares them anew in a folder.
    Raises:
        DataError: they are others.
    """
    writable = all(os.access(folder, os.W_OK) for folder in (found.path, found.path.parent))
    if writable and timeless(found.source) == timeless(source):
        with tempfile.TemporaryDirectory(dir=found.path.parent, prefix=".again-") as scratch:
            same = again(Path(scratch) / "store").facts.fingerprint == found.facts.fingerprint
        if same:
            plain = json.loads((found.path / "store.json").read_text(encoding="utf-8"))
            write_json(found.path / "store.json", {**plain, "source": source})
            return
    raise DataError(
        f"{found.path}: a store of other files ({found.source['layout']}, "
        f"{len(found.source['files'])} cases); the data set was changed or is another one. "
        "Choose another folder, or delete this one."
    )


def _claim(store: Path, recipe: Recipe) -> None:
    """Mark the folder as a store in the making; refuse one with other things in it."""
    taken = store.exists() and (not store.is_dir() or any(store.iterdir()))
    if taken and not (store / _MARK).exists():
        raise DataError(f"{store}: not empty, and not a store. Choose a new folder for the store.")
    write_json(store / _MARK, {"recipe": recipe.model_dump(mode="json")})


def _withdraw(store: Path) -> None:
    shutil.rmtree(store / "cases", ignore_errors=True)
    (store / _MARK).unlink(missing_ok=True)
    if not any(store.iterdir()):
        store.rmdir()


class _Steps:
    """Counts steps for a progress bar."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def one(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(
                self.done, self.total, "read" if 2 * self.done <= self.total else "packed"
            )

    def end(self) -> None:
        if self.progress is not None:
            self.progress(self.total, self.total, "finished")


def _side_by_side(
    work: Callable[[In], Out],
    tasks: Iterable[In],
    workers: int,
    after_each: Callable[[], None] = lambda: None,
) -> Iterator[Out]:
    """Results in the order of the tasks, several worked on at a time; on an error none is begun."""
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        for result in pool.map(work, tasks):
            after_each()
            yield result
    finally:
        pool.shutdown(cancel_futures=True)
