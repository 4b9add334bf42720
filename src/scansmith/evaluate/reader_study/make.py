"""Reader study: can experts tell synthetic from real? Cases that show nothing but the picture.

As in MAGAN's Table 4 (Turing test: readers judge as many real as synthetic pictures). The readers
get a folder; what is what lies in a key elsewhere. Within the folder both sides have the same
names, order by chance, one grid, one range of grey, one number type, the same header to the byte,
the same file size and the same time stamp.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import scansmith
from scansmith.data.layouts import DataSet
from scansmith.evaluate.compare import strict
from scansmith.evaluate.pairs import lesion_mask
from scansmith.evaluate.pictures import upright
from scansmith.evaluate.reader_study.answers import Key
from scansmith.evaluate.reader_study.cases import SIDES, Chosen, Truth, choose, open_sets
from scansmith.evaluate.reader_study.grid import (
    Common,
    Greys,
    Shape,
    common_grid,
    compare_sides,
    fit_greys,
    greys_apart,
    spread_slices,
)
from scansmith.evaluate.reader_study.options import (
    StudyOptions,
    check_options,
    check_places,
    check_sets,
    key_place,
)
from scansmith.evaluate.reader_study.pages import Pages
from scansmith.evaluate.reader_study.pictures import write_case
from scansmith.evaluate.view import Shared, View, files_of, oriented, share, view, with_slices
from scansmith.evaluate.windows import voxel_sample
from scansmith.io import read_scan
from scansmith.io.atomic import write_bytes
from scansmith.scan import DataError, Problem, RunError, SettingsError

FORMAT = 1
#: Of every file in the readers' folder: 1 January 2000, 12:00 UTC.
TIME_STAMP = 946_728_000
Progress = Callable[[int, int, str], None]


def make_study(
    real: Path | str,
    synthetic: Path | str,
    out: Path | str,
    options: StudyOptions,
    *,
    key: Path | str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the readers' folder and the key.

    Args:
        out: a new folder for the readers: `cases/`, `study.html`, an answer sheet for each reader,
            instructions. Nothing in it says what is what.
        key: a new file outside of `out`; None: OUT-key.json beside it.
    Returns:
        What the key holds.
    Raises:
        SettingsError: too few cases, one folder for both sets, a place for the key where readers
            would find it.
        TooFewPictures: a side has too few cases, or too few slices of them.
        DataError: the sets share no modality, or have cases that cannot be read or shown like the
            others (all named).
        RunError: the folder or the key is there already, or cannot be written.
    """
    check_options(options)
    check_sets(Path(real), Path(synthetic))
    out = Path(out)
    key = key_place(out, key)
    check_places(out, key)
    sets = open_sets(Path(real), Path(synthetic), options.leave_out)
    shared = _shared(sets, options)
    plan = _Plan(sets, shared, options, progress or (lambda done, total, text: None))
    chosen = plan.choose()
    grid, greys = plan.fit(chosen)
    digest = _digest(plan, chosen)
    # By the pictures too: with the seed alone, who knows one study's order knows the next one's.
    order = np.random.default_rng([options.seed, *digest])
    chosen = [chosen[n] for n in order.permutation(len(chosen))]
    tag = "".join("bcdfghjkmnpqrstvwxz"[byte % 19] for byte in digest[:4])
    record = _record(plan, grid, greys, tag)
    staging = out.parent / f".{out.name}.part"
    try:
        shutil.rmtree(staging, ignore_errors=True)
        pages = Pages(tag, grid, greys, len(chosen))
        for number, picture in enumerate(plan.pictures(chosen, grid, greys), 1):
            name = f"{tag}_{number:0{len(str(len(chosen)))}}"
            files = write_case(staging / "cases", name, picture, grid, shared.modalities)
            pages.add(name, picture)
            record["cases"][name] = {**plan.facts(chosen[number - 1]), "sha256": _hashes(files)}
        record["detectable_accuracy"] = _detectable(record)
        record["notes"] = [*shared.notes, *plan.notes, *_notes(record)]
        pages.write(staging, options.readers)
        for path in staging.rglob("*"):
            os.utime(path, (TIME_STAMP, TIME_STAMP))
        write_bytes(key, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
        _put(staging, out, key)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return record


def reach(found: Mapping[str, Any]) -> str:
    """What a study could find out, in words; of its key, or whatever holds that much of it."""
    least = found["detectable_accuracy"]
    if least is None:
        return (
            "So few patients could not find out even a reader who is always right: show pictures "
            "of more patients."
        )
    return (
        f"A single reader who is right in {100 * least:.0f} % of the cases would be found out four "
        "times in five; of several, only one who is right more often."
    )


class _Plan:
    """The two passes over the chosen cases: what they are like, then their pictures."""

    def __init__(
        self,
        sets: Mapping[Truth, DataSet],
        shared: Shared,
        options: StudyOptions,
        progress: Progress,
    ):
        self.sets, self.shared, self.options = sets, shared, options
        self.progress, self.done, self.total = progress, 0, 0
        self.shapes: dict[tuple[Truth, str], Shape] = {}
        self.samples: dict[tuple[Truth, str], list[np.ndarray]] = {}
        self.slices: dict[tuple[Truth, str], list[int]] = {}
        self.lesions: dict[tuple[Truth, str], bool] = {}
        self.seen: dict[tuple[Truth, str], str] = {}
        self.notes: list[str] = []

    def choose(self) -> list[Chosen]:
        """Draw, look at what was drawn, and draw again knowing how many slices it can show, until
        all that is drawn was looked at: the slices of a case are known when it has been read."""
        options = self.options
        while True:
            shows = {place: len(numbers) for place, numbers in self.slices.items()}
            rng = np.random.default_rng(options.seed)
            chosen = choose(self.sets, options.cases // 2, options.per_case, rng, shows)
            drawn = {(c.truth, c.files.case): c for c in chosen}
            unseen = {place: one for place, one in drawn.items() if place not in self.shapes}
            if not unseen:
                return chosen
            self.total = len(self.shapes) + len(unseen) + len(chosen)
            self._look(unseen)

    def _look(self, unseen: Mapping[tuple[Truth, str], Chosen]) -> None:
        """Read these cases; every one that cannot be shown is named."""
        problems: list[Problem] = []
        for place, one in unseen.items():
            try:
                case = self._view(one)
                self._note_slices(place, case)
            except DataError as error:
                found = error.problems or (Problem(one.files.case, "data", str(error), "Mend it"),)
                problems += [replace(p, where=f"{one.truth} set, {p.where}") for p in found]
                continue
            name = f"{one.truth} set, {case.case}"
            self.shapes[place] = Shape(name, case.image.shape[1:], case.spacing_mm, case.axes)
            self.seen[place] = self._hash(place, case)
            self.samples[place] = [voxel_sample(image) for image in case.image]
        if problems:
            raise DataError(problems)

    def fit(self, chosen: Sequence[Chosen]) -> tuple[Common, list[Greys]]:
        """The common grid and the greys; every case that does not fit is named.

        How unlike the two sides are goes to `notes`.
        """
        places = dict.fromkeys((c.truth, c.files.case) for c in chosen)
        seen = {side: [self.samples[p] for p in places if p[0] == side] for side in SIDES}
        greys, notes = [], list[str]()
        for n, modality in enumerate(self.shared.modalities):
            values = {str(side): [samples[n] for samples in of] for side, of in seen.items()}
            greys.append(fit_greys(modality, values["real"], self.options.window))
            notes += greys_apart(modality, greys[-1], values)
        grid = common_grid([self.shapes[place] for place in places], self.options.dims)
        sides: dict[str, list[Shape]]
        sides = {side: [self.shapes[p] for p in places if p[0] == side] for side in SIDES}
        self.notes = compare_sides(sides, self.options.dims) + notes
        return grid, greys

    def pictures(
        self, chosen: Sequence[Chosen], grid: Common, greys: Sequence[Greys]
    ) -> Iterator[np.ndarray]:
        """Grey levels uint8 (C, D, H, W) of each; D = 1 for slices."""
        for one in chosen:
            case = self._view(one)
            image = case.image
            if self.options.dims == 2:
                number = self.slice_of(one)
                image = image[:, number : number + 1]
            image = grid.applied(image, case.spacing_mm)
            grey = np.stack([g.of(channel) for g, channel in zip(greys, image, strict=True)])
            yield upright(grey, grid.axes) if self.options.dims == 2 else grey
        self.progress(self.total, self.total, "")

    def slice_of(self, one: Chosen) -> int:
        """Which slice is shown."""
        return self.slices[one.truth, one.files.case][one.rank]

    def facts(self, one: Chosen) -> dict[str, Any]:
        """What the key says of a case."""
        found: dict[str, Any] = {
            "truth": one.truth,
            "case": one.files.case,
            "patient": one.patient,
            "lesion": self.lesions[one.truth, one.files.case],
        }
        if self.options.dims == 2:
            found["slice"] = self.slice_of(one) + 1
        return found

    def _view(self, one: Chosen) -> View:
        self.progress(self.done, self.total, one.files.case)
        self.done += 1
        table = self.sets[one.truth].table
        scan = read_scan(files_of(one.files, self.shared.modalities), table=table)
        return view(oriented(scan), self.shared, table)

    def _hash(self, place: tuple[Truth, str], case: View) -> str:
        """Of what a case may show: other voxels, steps or slices give another."""
        image = case.image[:, self.slices[place]] if self.options.dims == 2 else case.image
        found = hashlib.sha256(np.array([*image.shape, *case.spacing_mm], np.float64).tobytes())
        found.update(image.tobytes())
        return found.hexdigest()

    def _note_slices(self, place: tuple[Truth, str], case: View) -> None:
        lesion = lesion_mask(case, self.shared.lesion)
        self.lesions[place] = bool(lesion.any())
        if self.options.dims == 2:
            numbers = spread_slices(case, lesion, self.options.per_case)
            # In an order by chance: if one side shows fewer slices of a case than the other, these
            # must not be its lowest ones.
            order = np.random.default_rng([self.options.seed, len(case.case), *case.case.encode()])
            self.slices[place] = [numbers[n] for n in order.permutation(len(numbers))]
        elif case.image.shape[1] < 2:
            found = "is a single picture, expected a volume"
            raise DataError(Problem(case.case, "dimensions", found, "Show slices (dims 2)"))


def _shared(sets: Mapping[Truth, DataSet], options: StudyOptions) -> Shared:
    real, synthetic = sets["real"], sets["synthetic"]
    found = share(
        (real.modalities, synthetic.modalities), (real.table, synthetic.table), options.lesion
    )
    found = with_slices(found, real.cases)
    if not options.modalities:
        return found
    missing = [m for m in options.modalities if m not in found.modalities]
    if missing:
        raise SettingsError(
            f"modality: found {', '.join(missing)}, which not both sets have. Choose among "
            f"{', '.join(found.modalities)}."
        )
    return replace(found, modalities=tuple(m for m in found.modalities if m in options.modalities))


def _digest(plan: _Plan, chosen: Sequence[Chosen]) -> bytes:
    """Tells one study from another: its letters come from here, so that answers meet no wrong key.

    By what is shown and not by names alone: a set that is made anew may have the old names.
    """
    said = [(c.truth, c.files.case, c.rank, plan.seen[c.truth, c.files.case]) for c in chosen]
    names = [plan.sets[side].root.resolve().name for side in SIDES]
    text = json.dumps([names, said, asdict(plan.options)], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def _record(plan: _Plan, grid: Common, greys: Sequence[Greys], tag: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "scansmith": scansmith.__version__,
        "what": "KEY of a reader study. Keep it from the readers.",
        "study": tag,
        "sets": {side: plan.sets[side].root.resolve().name for side in SIDES},
        "options": strict(asdict(plan.options)),
        "grid": {"shape": list(grid.shape), "spacing_mm": list(grid.spacing_mm)},
        "grey": {g.modality: g.words for g in greys},
        "detectable_accuracy": None,
        "notes": [],
        "cases": {},
    }


def _detectable(record: dict[str, Any]) -> float | None:
    """As the score will tell it of a single reader."""
    rows = record["cases"].items()
    truth, patients = ({name: row[what] for name, row in rows} for what in ("truth", "patient"))
    return Key(truth, patients, record).detectable()


def _notes(record: Mapping[str, Any]) -> list[str]:
    """What may let readers tell the sides apart, or makes intervals too narrow."""
    found, rows = [], list(record["cases"].values())
    of = {side: [row for row in rows if row["truth"] == side] for side in SIDES}
    ill = {side: sum(row["lesion"] for row in of[side]) for side in SIDES}
    if ill["real"] != ill["synthetic"]:
        found.append(
            f"{ill['real']} of {len(of['real'])} real and {ill['synthetic']} of "
            f"{len(of['synthetic'])} synthetic cases have a lesion: readers may go by that."
        )
    for side in SIDES:
        patients = {row["patient"] for row in of[side]}
        if len(patients) < len(of[side]):
            found.append(
                f"The {len(of[side])} {side} pictures are of {len(patients)} patients: pictures of "
                "one patient are not independent, and intervals will be too narrow."
            )
    return found


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _put(staging: Path, out: Path, key: Path) -> None:
    """Last of all the folder appears; without it there is no key either."""
    try:
        if out.exists():
            out.rmdir()
        os.replace(staging, out)
    except OSError as error:
        key.unlink(missing_ok=True)
        raise RunError(
            f"{out}: could not be written ({error.strerror}). Choose a folder that you may write "
            "to, then run it again."
        ) from error
