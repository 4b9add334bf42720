"""Cases made one after another: sources read ahead, images drawn, files written behind.

Reading and writing run in threads while the method draws. Compression and hashing leave Python's
lock, so that several cases are written at once.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from os import cpu_count
from typing import Any, TypeVar

import numpy as np
import torch

from scansmith.data.layouts import LAYOUTS
from scansmith.data.store import Store
from scansmith.data.write import open_writer
from scansmith.labels.table import LabelTable
from scansmith.methods.base import Made, Method
from scansmith.scan import Batch, RunError, Scan, SettingsError, UnfitLabels
from scansmith.synthesize.folder import Folder
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import (
    Origin,
    Row,
    data_card,
    mark,
    row_of,
    rows_by_file,
    write_sidecar,
)
from scansmith.synthesize.source import Source, Sources, chance
from scansmith.workflow import versions

Progress = Callable[[int, int, str], None]
CHUNK = 8  # samples drawn at a time; part of what a case is, so not a setting
LABELS = 20  # tried for a case number, where a method can make nothing of some
_WRITERS = 4  # threads; a case's compression takes longer than a GPU's drawing of it
_READ_AHEAD = 2  # cases: editing the labels of one can take as long as drawing it
T = TypeVar("T")
R = TypeVar("R")


class Works:
    """Makes the cases of an order, one after another.

    Args:
        splits: which split each patient was in when the run was trained; None: not known.
    """

    def __init__(
        self,
        method: Method,
        sources: Sources,
        order: Order,
        origin: Origin,
        splits: Mapping[str, str] | None = None,
    ):
        self.method, self.sources, self.order, self.origin = method, sources, order, origin
        self.store, self.splits = sources.store, splits
        self.versions = versions()
        self.cases = len(sources) if order.cases is None else order.cases
        self.table = written_table(self.store.table, order.layout)
        if not order.edit and self.cases > len(sources):
            raise SettingsError(
                f"cases: found {self.cases}, but split {order.split!r} has {len(sources)} source "
                "cases and labels are not edited. Ask for that many, or have labels edited."
            )

    def plan(self, shapes: Store) -> dict[str, Any]:
        """What every process that works on the folder must agree on."""
        order = asdict(self.order)
        del order["shard"], order["edit"]
        if not self.order.task:
            del order["task"]
        plan = order | {
            "edits": self.sources.kind or "none",
            "dataset": f"{self.origin.run}-seed{self.order.seed}",
            "cases": self.cases,
            "run": self.origin.run,
            "weights": self.origin.weights,
            "method": self.origin.method,
            "source": self.store.facts.fingerprint,
            "shapes": shapes.facts.fingerprint,
            "modalities": self.store.facts.modalities,
            "versions": self.versions,
        }
        return json.loads(json.dumps(plan))

    def fill(self, folder: Folder, progress: Progress) -> None:
        """Make what is not there yet."""
        i, n = self.order.shard
        numbers = range(i - 1, self.cases, n)
        there = folder.made(numbers)
        progress(len(there), len(numbers), "looked through the folder")
        missing = [number for number in numbers if number not in there]
        threads = min(_WRITERS, cpu_count() or 1)
        pool = ThreadPoolExecutor(threads, thread_name_prefix="scansmith-write")
        try:
            taken = _in_order(pool, self.sources.take, missing, ahead=_READ_AHEAD)
            made = (self.drawn(source) for source in taken)
            rows = _in_order(pool, lambda each: self.write(folder, *each), made, ahead=threads)
            for done, row in enumerate(rows, start=len(there) + 1):
                folder.index(lambda rows: self.describe(folder, rows), at_once=False)
                progress(done, len(numbers), str(row["case"]))
        finally:
            pool.shutdown(cancel_futures=True)
            folder.index(lambda rows: self.describe(folder, rows), at_once=True)
            folder.finish()

    def drawn(
        self, source: Source
    ) -> tuple[Source, np.ndarray, np.ndarray, list[Mapping[str, Any]]]:
        """What the method makes of a source, or of other labels where it can make nothing of these.

        Returns:
            The source that was taken in the end, and what `draw` made of it.
        Raises:
            UnfitLabels: it can make nothing of any; or the labels are not edited.
        """
        for turn in range(1, LABELS + 1):
            try:
                return (source, *self.draw(source))
            except UnfitLabels as error:
                if self.sources.kind in ("", "keep"):
                    raise
                last = error
                source = self.sources.take(source.number, turn)
        raise UnfitLabels(
            f"case number {source.number}: {LABELS} edited label maps were tried. {last}"
        ) from last

    def draw(self, source: Source) -> tuple[np.ndarray, np.ndarray, list[Mapping[str, Any]]]:
        """What the method makes of a source.

        Returns:
            image float32 (N, C, *S) in network range, labels uint8 (N, *S), and notes.
        """
        device = next((p.device for p in self.method.parameters()), torch.device("cpu"))
        made: list[Made] = []
        self.method.eval()
        for k, start in enumerate(range(0, len(source.labels), CHUNK)):
            part = slice(start, start + CHUNK)
            labels = torch.from_numpy(source.labels[part].astype(np.int64))
            batch = Batch(
                torch.from_numpy(source.image[part]),
                labels,
                (source.case,) * len(labels),
                tuple(source.first + start + n for n in range(len(labels))),
            )
            state = chance("make", self.order.seed, source.number, k).generate_state(1, np.uint64)
            seeded = torch.Generator().manual_seed(int(state[0]))
            # One algorithm for one shape, so that a GPU too makes the same case again.
            fixed = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
            with torch.inference_mode(), fixed:
                made.append(self.method.sample(batch.to(device), seeded, self.order.task))
        image = np.concatenate([each.image.float().cpu().numpy() for each in made])
        drawn = np.concatenate([each.labels.cpu().numpy().astype(np.uint8) for each in made])
        wrong = image.shape != source.image.shape or drawn.shape != source.labels.shape
        if wrong or not np.isfinite(image).all():
            raise RunError(
                f"{self.origin.run}: drew {image.shape} for case number {source.number}, expected "
                f"{source.image.shape} and finite values. Synthesize from an earlier checkpoint."
            )
        return image, drawn, [note for each in made for note in each.notes]

    def write(
        self,
        folder: Folder,
        source: Source,
        image: np.ndarray,
        labels: np.ndarray,
        notes: Sequence[Mapping[str, Any]],
    ) -> Row:
        """Write one case, and say what it is."""
        name = self.case_name(source)
        row: Row = {
            "case": name,
            "number": source.number,
            "synthetic": True,
            "paired": not self.order.edit,
            "source_case": source.case,
            "source_split": self.source_split(source.case),
            "source_kept": share_kept(source.image, image),
            "edits": source.edits,
            "run": self.origin.run,
            "weights": self.origin.weights,
            "method": self.origin.method,
            "trained_on": self.origin.trained_on,
            "seed": self.order.seed,
            "versions": self.versions,
        }
        if self.sources.edits.unit == "sample":
            row["source_sample"] = source.first
        if notes:
            row["notes"] = list(notes)
        scan = self.as_written(self.store.scan(source.case, image, labels, name, source.first))
        writer = open_writer(self.order.layout, folder.staging, scan.modalities, self.table)
        sidecar = folder.staging / "sidecars" / f"{name}.json"
        write_sidecar(sidecar, row)
        # The labels come last: a case whose labels are in place is whole.
        folder.place([sidecar, *writer.write(scan)], row)
        return row

    def source_split(self, case: str) -> str | None:
        """Where the run's training had the patient of a source case.

        Returns:
            "train", "validation" or "test"; "none": the run's data have no patient of that name;
            None: what the run's data had is not known.
        """
        if self.splits is None:
            return None
        return self.splits.get(self.store.cases[case].patient, "none")

    def case_name(self, source: Source) -> str:
        """synth_000017; a paired reconstruction is called like its source."""
        if not self.order.edit:
            part = f"_{source.first:03}" if self.sources.edits.unit == "sample" else ""
            return source.case + part
        # Readers of PNG slices take what follows the last "_" for the number of the slice.
        single = self.order.layout == "slices" and len(source.labels) == 1
        return f"synth_{source.number:06}" + ("_000" if single else "")

    def as_written(self, scan: Scan) -> Scan:
        """The scan in the values of the written table, marked as synthetic.

        A reconstruction is of the patient whose scan it reconstructs, all others are of nobody.
        """
        assert scan.labels is not None
        labels = scan.labels
        if self.table.values != self.store.table.written.values:
            labels = self.store.table.written.encode(labels)
        notes = {**scan.notes, "description": mark(self.origin.method)}
        patient = scan.case if self.order.edit else scan.patient
        return replace(scan, labels=labels, notes=notes, patient=patient)

    def describe(self, folder: Folder, rows: list[Row]) -> None:
        """dataset.json, patients.json and the data card, for the cases that are there."""
        plan = folder.plan
        writer = open_writer(
            self.order.layout,
            folder.path,
            self.store.facts.modalities,
            self.table,
            str(plan["dataset"]),
        )
        writer.close(
            {
                "synthetic": True,
                "description": f"{mark(self.origin.method)}, run {self.origin.run}, seed "
                f"{self.order.seed}. Made or changed by a program: no scan as it was taken.",
            }
        )
        if patients := self.patients(folder, rows):
            folder.put_text("patients.json", json.dumps(patients, indent=2, sort_keys=True) + "\n")
        folder.put_text("README.md", data_card(self.origin, plan, self.table, rows))

    def patients(self, folder: Folder, rows: Sequence[Row]) -> dict[str, str]:
        """Whose reconstructions are that a reader would not tell from their names.

        It is worked out for all that lies there, whoever wrote it, since cases are written by
        several threads and processes.

        Returns:
            case as readers of the layout name it -> patient.
        """
        if self.order.edit or not rows:
            return {}
        found = LAYOUTS[self.order.layout](folder.path)
        listed, patients = rows_by_file(rows), dict[str, str]()
        for files in found.cases if found else ():
            row = row_of(files, folder.path, listed)
            patient = files.patient if row is None else self.store.cases[row["source_case"]].patient
            if patient != files.patient:
                patients[files.case] = patient
        return patients


def share_kept(source: np.ndarray, made: np.ndarray) -> float:
    """The share of a source scan's voxels that a made image took over as they were.

    A method that paints lesions into scans keeps what lies around them, and that is a patient's.

    Args:
        source, made: (N, C, *S), network range.
    Returns:
        0 to 1, to three digits, among voxels between the scan's lowest and highest value: air and
        padding are alike everywhere.
    """
    telling = (source > source.min()) & (source < source.max())
    return round(float((source == made)[telling].mean()), 3) if telling.any() else 0.0


def written_table(table: LabelTable, layout: str) -> LabelTable:
    """The label table of the files: nnU-Net wants values without gaps, the others keep them."""
    if layout != "nnunet":
        return table.written
    return LabelTable(dict(enumerate(table.written.structures)))


def _in_order(
    pool: ThreadPoolExecutor, do: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[R]:
    """What `do` makes of each item, in order, with at most `ahead` waiting beside the next one.

    Items are drawn in the calling thread. An error in any of them is raised here.
    """
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(pool.submit(do, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
