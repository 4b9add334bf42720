"""Pictures for a Turing test (MAGAN's Table 4): synthetic slices, and real ones of test patients.

Synthetic cases come from the training patients' scans, real ones are of patients whom the generator
never saw, so that no patient is on both sides. The readers get a folder; the key is beside it, and
they must not see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scansmith.data.layouts import find_layout
from scansmith.data.store import Store
from scansmith.evaluate.reader_study.cases import TooFewPictures
from scansmith.evaluate.reader_study.make import make_study, reach
from scansmith.evaluate.reader_study.options import (
    MOST_READERS,
    StudyOptions,
    check_options,
    key_place,
)
from scansmith.evaluate.reader_study.statistics import LEAST_CASES
from scansmith.scan import RunError, SettingsError
from scansmith.settings import Section, number
from scansmith.synthesize.folder import PLAN
from scansmith.synthesize.make import synthesize
from scansmith.train.checkpoint import read_json, write_json
from scansmith.workflow import load_run


class ReaderOptions(Section):
    """What readers are shown."""

    cases: int = number(
        100, "pictures in all, half of them real", "MAGAN, Table 4", ge=LEAST_CASES, multiple_of=2
    )
    per_case: int = number(1, "slices of one case, at most", gt=0)
    readers: int = number(2, "answer sheets", "MAGAN, Table 4", gt=0, le=MOST_READERS)
    seed: int = number(0, "of the synthetic set and of what is drawn", ge=0)


def check(options: ReaderOptions, store: Store) -> None:
    """Refuse what no pictures can be made of, before a generator is trained for them.

    Raises:
        SettingsError: several slices of a volume, or fewer test cases than are to be shown.
    """
    check_options(asked_of(options, store))
    tested = len(store.names("test"))
    if tested * options.per_case < options.cases // 2:
        raise SettingsError(
            f"cases: found {options.cases}, half of them of test cases, which are {tested}, "
            f"{options.per_case} slice(s) of each at most. Ask for fewer, for more slices of each "
            "(per_case), or give data.split a larger share for testing."
        )


def asked_of(options: ReaderOptions, store: Store, leave_out: tuple[str, ...] = ()) -> StudyOptions:
    """The options of the reader study."""
    return StudyOptions(
        options.cases,
        options.seed,
        store.facts.dims,
        per_case=options.per_case,
        readers=options.readers,
        leave_out=leave_out,
    )


def make(
    run: Path, store: Store, data: Path, folder: Path, options: ReaderOptions
) -> dict[str, Any]:
    """A synthetic set and blinded pictures of it and of the test cases, if they are not made yet.

    Args:
        data: the data set that the store was prepared from.
        folder: for the readers; the key, what decided it and the set are put beside it.
    Returns:
        Where things are and what the pictures could find out; not what is what.
    Raises:
        DataError: too few cases on one side.
        RunError: the folder holds pictures of other weights or options.
    """
    tested = set(store.names("test"))
    leave_out = tuple(f.case for f in find_layout(data).cases if f.case not in tested)
    asked = asked_of(options, store, leave_out)
    check_options(asked)
    record = {
        "weights": load_run(run).fingerprint,
        "store": store.facts.fingerprint,
        **options.model_dump(mode="json"),
    }
    done = folder.parent / f"{folder.name}.json"
    if not done.exists():
        found = _made(run, data, folder, asked)
        facts = {name: found[name] for name in ("detectable_accuracy", "notes", "grid", "study")}
        write_json(done, {"record": record, "facts": facts})
    kept = read_json(done)
    if kept["record"] != record:
        wrong = sorted(name for name in record if kept["record"].get(name) != record[name])
        raise RunError(
            f"{folder}: was made from others (differing: {', '.join(wrong)}), and readers may "
            "have judged it. Give the settings that it was made with, or another folder."
        )
    key = key_place(folder, None)
    places = {
        "folder": f"{folder.parent.name}/{folder.name}",
        "key": f"{key.parent.name}/{key.name}",
    }
    return {"cases": options.cases, **places, **kept["facts"]}


def _made(run: Path, data: Path, folder: Path, asked: StudyOptions) -> dict[str, Any]:
    """The key of a study with as many synthetic cases as its pictures need."""
    made = folder.parent / f"{folder.name}-synthetic"
    begun = made.is_dir() and any(made.iterdir())
    count = -(-asked.cases // (2 * asked.per_case))
    if (made / PLAN).is_file():
        count = max(count, read_json(made / PLAN)["cases"])
    while True:
        synthesize(run, made, cases=count, seed=asked.seed, resume=begun)
        try:
            return make_study(data, made, folder, asked)
        except TooFewPictures as error:
            if error.missing["real"] or count >= asked.cases // 2:
                raise
            # Some of the cases can show less than `per_case` slices; each can show one.
            count, begun = count + error.missing["synthetic"], True


def as_markdown(result: Mapping[str, Mapping[str, Any]]) -> str:
    """What to do next with each name's pictures: what `make` returned, and the generator's seed."""
    lines = []
    for name, found in result.items():
        lines += [
            f"**{name}**: {found['cases']} pictures in `{found['folder']}`, half of them real, of "
            "patients who were held out, half of the generator that was trained under seed "
            f"{found['seed']}. The key is `{found['key']}`: keep it from the readers. "
            f"{reach(found)} Nobody has judged them yet: with the answers, `scansmith "
            "reader-study score`.",
            "",
            *(f"* {note}" for note in found["notes"]),
            "",
        ]
    return "\n".join(lines)
