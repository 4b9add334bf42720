"""From a trained run and label maps to a labelled data set on disk."""

from __future__ import annotations

from pathlib import Path

from scansmith.data.store import Store
from scansmith.methods.base import Method
from scansmith.scan import DataError, RunError
from scansmith.synthesize.folder import Folder
from scansmith.synthesize.order import Order
from scansmith.synthesize.provenance import Origin
from scansmith.synthesize.source import Sources, check_source
from scansmith.synthesize.works import Progress, Works
from scansmith.train.allocator import keep_freed_memory
from scansmith.train.loop import choose_device
from scansmith.train.monitor import read_rows as read_log
from scansmith.workflow import LoadedRun, load_run


def synthesize(
    run: Path | str,
    out: Path | str,
    *,
    cases: int | None,
    seed: int,
    source: Path | str | None = None,
    layout: str = "nnunet",
    shard: tuple[int, int] | None = None,
    resume: bool = False,
    task: str = "",
    edit: bool = True,
    split: str = "train",
    lesions: tuple[int, int] = (1, 3),
    from_healthy: bool = True,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Make a labelled data set with a trained run.

    What a case holds is a function of (run, seed, case number): the same for every sharding,
    whatever was made before, and after a kill and `resume`.

    Args:
        run: folder that `train` wrote.
        out: new or empty folder; with `resume`, or for another shard, the one begun before.
        cases: how many; None makes one of every source case.
        source: store to take label maps (and scans to paint into) from, prepared for the same
            method; None: the run's own. How many of its cases are of patients who were held out of
            the run's training is told in the data card, and of each case in provenance.jsonl.
        shard: (i, n) makes part i of n, i from 1. Parts may share `out`; if not, copy their
            folders into one and run any of them there with `resume`.
        task: what to make, for methods that have several tasks; "": their first.
        edit: change the labels as the method's recipe says. Without, each case is a paired
            reconstruction of a source case, under that case's name and of its patient.
        split: patients whose cases are taken. The default keeps held-out patients out.
        lesions: fewest and most new lesions of a case, for methods that place lesions.
        from_healthy: place lesions in cases without one, if there are three or more.
    Returns:
        `out`.
    Raises:
        SettingsError, DataError, RunError: with all that is to be mended.
    """
    order = Order(cases, seed, layout, task, edit, split, lesions, from_healthy, shard or (1, 1))
    loaded = load_run(run, device=str(choose_device(device)))
    keep_freed_memory()
    own = Store.open(loaded.store) if source is None or loaded.store.is_dir() else None
    if own is not None and own.facts.fingerprint != loaded.method.facts.fingerprint:
        if source is None:
            raise DataError(
                f"{own.path}: is not the store that {run} was trained on any more (fingerprint "
                f"{own.facts.fingerprint}, expected {loaded.method.facts.fingerprint}), so "
                "held-out patients may be in its training split. Put the old one back, or name one "
                "with --from."
            )
        own = None
    store = own if source is None else Store.open(Path(source))
    assert store is not None
    return synthesize_with(
        loaded.method,
        store,
        Path(out),
        order,
        _origin(Path(run), loaded),
        shapes=own,
        resume=resume,
        progress=progress,
    )


def _origin(run: Path, loaded: LoadedRun) -> Origin:
    kind = type(loaded.method)
    measured = [row["validation"] for row in read_log(run / "log.jsonl") if "validation" in row]
    return Origin(
        run=run.resolve().name,
        weights=loaded.fingerprint,
        method=kind.name,
        title=kind.title,
        paper=kind.paper,
        trained_on=loaded.method.facts.fingerprint,
        metrics=measured[-1] if measured and isinstance(measured[-1], dict) else {},
    )


def _splits_of(origin: Origin, *stores: Store | None) -> dict[str, str] | None:
    """Patient -> split in the store that the run was trained on, if it is among these."""
    for store in stores:
        if store is not None and store.facts.fingerprint == origin.trained_on:
            return {case.patient: case.split for case in store.cases.values()}
    return None


def synthesize_with(
    method: Method,
    store: Store,
    out: Path,
    order: Order,
    origin: Origin,
    *,
    shapes: Store | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Make a labelled data set with a method that is at hand; see `synthesize`.

    Args:
        shapes: the store whose training patients' lesions are placed; None: `store`.
    Raises:
        SettingsError, DataError, RunError: with all that is to be mended.
    """
    check_source(method, store)
    sources = Sources(
        store,
        order.seed,
        task=order.task,
        edit=order.edit,
        split=order.split,
        lesions=order.lesions,
        from_healthy=order.from_healthy,
        shapes=shapes,
    )
    works = Works(method, sources, order, origin, _splits_of(origin, shapes, store))
    folder = Folder(out, works.plan(shapes or store), order.shard, resume)
    try:
        works.fill(folder, progress or (lambda done, total, text: None))
    except OSError as error:
        raise RunError(
            f"{out}: cannot be written ({error.strerror or error}). Free disk space or choose "
            "another folder, then go on with --resume."
        ) from error
    return out
