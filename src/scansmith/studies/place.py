"""A study in its folder: where its samples and its generators' runs are, each made once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from scansmith.data.store import Store
from scansmith.scan import RunError, SettingsError
from scansmith.studies.cells import file_name
from scansmith.studies.spec import Spec, Study, words
from scansmith.train.checkpoint import read_json, write_json
from scansmith.train.folder import begun_alike
from scansmith.workflow import Progress, method_settings, prepare, train

S = TypeVar("S", bound=Study, covariant=True)

Watch = Callable[[str], AbstractContextManager[Progress]]
"""Title of a piece of long work -> who is told how far it is, while it lasts."""


@dataclass(frozen=True)
class Place(Generic[S]):
    """A study in its folder. Everything on disk is named by it alone, so processes can share it.

    Attributes:
        data: the data set.
        patients: so many training patients; 0: all.
        extra: data settings beside the spec's.
        watch: who is told how far trainings are; None: nobody. Of several processes it goes to
            each, so that it has to be picklable.
    """

    spec: S
    data: Path
    out: Path
    patients: int = 0
    extra: tuple[str, ...] = ()
    watch: Watch | None = None

    def watched(self, title: str) -> AbstractContextManager[Progress | None]:
        """Who is told how far a piece of work of this study is."""
        return nullcontext() if self.watch is None else self.watch(title)

    def store(self, generator: str = "") -> Store:
        """The samples, prepared once; of a generator with data settings, its own.

        Raises:
            SettingsError: the study was given a data setting that its generators differ in.
        """
        differing = {key for name in self.spec.generators for key in self._data_of(name)}
        given = {word.partition("=")[0] for word in self.extra}
        given |= {"data.patients"} if self.patients else set()
        if twice := sorted(given & differing):
            raise SettingsError(
                f"{', '.join(twice)}: found in the settings of preparing, but it is what the "
                "study's generators differ in. Leave it out, or copy the study's file and change "
                "it there."
            )
        part, own = self.spec.data, self._data_of(generator)
        sets = [*words(part.sets), *words(own), *self.extra]
        if self.patients:
            sets.append(f"data.patients={self.patients}")
        with self.watched("prepare") as progress:
            return prepare(
                self.data,
                self.home(generator),
                part.method,
                preset=part.preset,
                sets=sets,
                workers=1,
                progress=progress,
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
        """A synthetic set from elsewhere, prepared as the real scans are, all of it.

        Raises:
            DataError: it cannot be prepared, or was changed since it was.
        """
        part = self.spec.data
        return prepare(
            self.spec.sets[name].path,
            self.out / "sets" / file_name(name),
            part.method,
            preset=part.preset,
            sets=[*words(part.sets), *self.extra, "data.split=1,0,0", "data.patients=0"],
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
            with self.watched(f"{generator}, seed {seed}") as progress:
                train(
                    part.method,
                    self.home(generator),
                    run,
                    preset=part.preset,
                    sets=[*words(part.sets), f"train.seed={seed}"],
                    resume=(run / "run.json").exists(),
                    progress=progress,
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
            if (run / "run.json").exists():
                settings = method_settings(
                    part.method,
                    preset=part.preset,
                    sets=[*words(part.sets), f"train.seed={seed}"],
                )
                told = settings.model_dump(mode="json", exclude={"data"})  # the store has its own
                begun_alike(run, {f"settings.{name}": own for name, own in told.items()})
            return False
        if read_json(_done(run)) != part.model_dump(mode="json"):
            raise RunError(
                f"generator {generator}, seed {seed}: {run} was trained with other settings than "
                "the study's. Give the settings that it was begun with, or another folder."
            )
        return True


def _done(run: Path) -> Path:
    return run.parent / f"{run.name}.json"
