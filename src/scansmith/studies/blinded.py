"""Pictures for a Turing test (MAGAN's Table 4): synthetic slices, and real ones of test patients.

Synthetic cases come from the training patients' scans, real ones are of patients whom the generator
never saw, so that no patient is on both sides. The first run of each name gives a folder for the
readers, and a key beside it that they must not see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scansmith.data.layouts import find_layout
from scansmith.data.store import Store
from scansmith.evaluate.reader_options import StudyOptions, check_options, key_place
from scansmith.evaluate.reader_study import make_study
from scansmith.scan import RunError
from scansmith.studies.cells import file_name
from scansmith.synthesize.make import synthesize
from scansmith.train.checkpoint import read_json, write_json
from scansmith.workflow import load_run


def study(
    runs: Mapping[str, Sequence[Path]],
    store: Store,
    data: Path,
    out: Path,
    *,
    cases: int,
    per_case: int,
    readers: int,
    seed: int,
) -> dict[str, Any]:
    """Make what is not made yet: out/readers/NAME, its key, and the synthetic set.

    Args:
        cases: pictures in all, half of them real.
        per_case: slices of one case at most.
    Raises:
        RunError: the folder holds pictures of other weights or options.
    """
    tested = set(store.names("test"))
    others = tuple(f.case for f in find_layout(data).cases if f.case not in tested)
    options = StudyOptions(
        cases, seed, store.facts.dims, per_case=per_case, readers=readers, leave_out=others
    )
    check_options(options)
    told = {}
    for name, folders in runs.items():
        run, folder = folders[0], out / "readers" / file_name(name)
        record = {
            "weights": load_run(run).fingerprint,
            "store": store.facts.fingerprint,
            "cases": cases,
            "per_case": per_case,
            "readers": readers,
            "seed": seed,
        }
        done = out / "readers" / f"{folder.name}.json"
        if not done.exists():
            made = out / "synthetic" / run.name
            begun = made.is_dir() and any(made.iterdir())
            count = -(-cases // (2 * per_case))
            synthesize(run, made, cases=count, seed=seed, resume=begun)
            found = make_study(data, made, folder, options)
            facts = {key: found[key] for key in ("detectable_accuracy", "notes", "grid", "study")}
            write_json(done, {"record": record, "facts": facts})
        kept = read_json(done)
        if kept["record"] != record:
            wrong = sorted(k for k in record if kept["record"].get(k) != record[k])
            raise RunError(
                f"{folder}: was made from others (differing: {', '.join(wrong)}), and readers may "
                "have judged it. Give the settings that it was made with, or another folder."
            )
        key = key_place(folder, None)
        told[name] = {"folder": _in(folder, out), "key": _in(key, out), **kept["facts"]}
    return {"cases": cases, "sets": told}


def as_markdown(result: Mapping[str, Any]) -> str:
    """What to do next."""
    lines = []
    for name, found in result["sets"].items():
        lines += [
            f"**{name}**: {result['cases']} pictures in `{found['folder']}`, half of them real, of "
            f"patients who were held out. The key is `{found['key']}`: keep it from the readers. A "
            f"reader who is right in {found['detectable_accuracy']:.0%} of the cases would be "
            "found out four times in five.",
            "",
            *(f"* {note}" for note in found["notes"]),
            "",
        ]
    lines += ["Nobody has judged them yet. With the answers: `scansmith reader-study score`."]
    return "\n".join(lines) + "\n"


def _in(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
