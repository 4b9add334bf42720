"""A study in its folder: where its samples and its generators' runs are, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Generic, TypeVar

from scansmith.data.store import Store
from scansmith.scan import RunError, SettingsError
from scansmith.studies.cells import file_name
from scansmith.studies.spec import Spec, Study, words
from scansmith.train.checkpoint import read_json, write_json
from scansmith.workflow import prepare, train

R = TypeVar("R")
S = TypeVar("S", bound=Study, covariant=True)


@dataclass(frozen=True)
class Place(Generic[S]):
    """A study in its folder. Everything on disk is named by it alone, so processes can share it.

    Attributes:
        data: the data set.
        patients: so many training patients; 0: all.
        extra: data settings beside the spec's.
    """

    spec: S
    data: Path
    out: Path
    patients: int = 0
    extra: tuple[str, ...] = ()

    def store(self, generator: str = "") -> Store:
        """The samples, prepared once; of a generator with data settings, its own.

        Raises:
            SettingsError: the study was given a data setting that its generators differ in.
        """
        differing = {key for name in self.spec.generators for key in self._data_of(name)}
        if twice := sorted({word.partition("=")[0] for word in self.extra} & differing):
            raise SettingsError(
                f"{', '.join(twice)}: found in the settings of preparing, but it is what the "
                "study's generators differ in. Leave it out, or copy the study's file and change "
                "it there."
            )
        part, own = self.spec.data, self._data_of(generator)
        sets = [*words(part.sets), *words(own), *self.extra]
        if self.patients:
            sets.append(f"data.patients={self.patients}")
        return prepare(
            self.data, self.home(generator), part.method, preset=part.preset, sets=sets, workers=1
        )

    def home(self, generator: str = "") -> Path:
        """The folder of the samples that a generator learns from."""
        own = words(self._data_of(generator))
        return self.out / "stores" / file_name(" ".join(own)) if own else self.out / "store"

    def _data_of(self, generator: str) -> dict[str, Any]:
        sets = self.spec.generators[generator].sets if generator else {}
        return {name: value for name, value in sets.items() if name.startswith("data.")}

    def data_facts(self, store: Store) -> dict[str, str]:
        """What data the study was given: given, layout, what it needs, and what is cut away."""
        return {
            "given": self.data.resolve().name,
            "layout": store.source["layout"],
            "needs": self.spec.data.needs,
            "cut": store.cut_note,
        }

    def store_of(self: Place[Spec], name: str) -> Store:
        """A synthetic set from elsewhere, prepared as the real scans are."""
        part = self.spec.data
        return prepare(
            self.spec.sets[name].path,
            self.out / "sets" / file_name(name),
            part.method,
            preset=part.preset,
            sets=[*words(part.sets), *self.extra, "data.split=1,0,0"],
            workers=1,
        )

    def run_of(self, generator: str, seed: int) -> Path:
        """The folder of a generator's run."""
        return self.out / "generators" / file_name(f"{generator} seed{seed}")

    def trained(self, generator: str, seed: int) -> Path:
        """The run of a generator, trained or finished if it is not.

        Raises:
            RunError: the folder holds a run of other settings.
        """
        run, part = self.run_of(generator, seed), self.spec.generators[generator]
        if not self.is_trained(generator, seed):
            train(
                part.method,
                self.home(generator),
                run,
                preset=part.preset,
                sets=[*words(part.sets), f"train.seed={seed}"],
                resume=(run / "run.json").exists(),
            )
            write_json(_done(run), part.model_dump(mode="json"))
        return run

    def is_trained(self, generator: str, seed: int) -> bool:
        """Whether the run of a generator is finished.

        Raises:
            RunError: the folder holds a run of other settings.
        """
        run, part = self.run_of(generator, seed), self.spec.generators[generator]
        if not _done(run).exists():
            return False
        if read_json(_done(run)) != part.model_dump(mode="json"):
            raise RunError(
                f"generator {generator}, seed {seed}: {run} was trained with other settings than "
                "the study's. Give the settings that it was begun with, or another folder."
            )
        return True


def _done(run: Path) -> Path:
    return run.parent / f"{run.name}.json"


def each_seed(
    work: Callable[[Place[S], int], R], place: Place[S], seeds: Sequence[int], jobs: int = 1
) -> list[R | None]:
    """What `work` gives under each seed, `jobs` of them at once, each in a process of its own.

    A process that is killed (memory, mostly) takes those beside it along. Seeds that are not done
    then go on one after another; None for one that is killed again.
    """
    if jobs <= 1:
        return [work(place, seed) for seed in seeds]
    done = _pooled(work, place, seeds, jobs)
    for seed in seeds:
        if seed not in done:
            done |= _pooled(work, place, [seed], 1)
    return [done.get(seed) for seed in seeds]


def _pooled(
    work: Callable[[Place[S], int], R], place: Place[S], seeds: Sequence[int], jobs: int
) -> dict[int, R]:
    done, futures = dict[int, R](), dict[int, Future[R]]()
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for seed in seeds:
            with suppress(BrokenProcessPool):
                futures[seed] = pool.submit(work, place, seed)
    for seed, future in futures.items():
        with suppress(BrokenProcessPool):
            done[seed] = future.result()
    return done


def killed(seed: int) -> str:
    """A line about a seed without a result of `each_seed`."""
    return (
        f"seed {seed}: its process was killed twice, as happens where memory runs out. What it had "
        "finished is kept; the same command with --jobs 1 goes on."
    )


def check_seeds(seeds: Sequence[int], jobs: int) -> None:
    """Raises SettingsError unless the seeds differ and there is a job at least."""
    if not seeds or len(set(seeds)) < len(seeds) or jobs < 1:
        raise SettingsError(
            f"study: found seeds {', '.join(map(str, seeds)) or 'none'} and {jobs} jobs, expected "
            "seeds that differ and one job at least. For example --seeds 3 --jobs 1."
        )
