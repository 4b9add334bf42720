"""The verbs in which methods, data and the training loop meet: prepare, train, load_run."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

import scansmith
from scansmith.augment import refuse_swapped_sides
from scansmith.data.batches import Batches
from scansmith.data.prepare import prepare as prepare_store
from scansmith.data.store import Store
from scansmith.game import Game
from scansmith.methods import find_method
from scansmith.methods.base import Method
from scansmith.recipe import Facts, Recipe
from scansmith.scan import Batch, DataError, RunError, SettingsError
from scansmith.settings import Settings, load_settings
from scansmith.train.checkpoint import load_weights, match, read_json
from scansmith.train.loop import fit

Progress = Callable[[int, int, str], None]
SHOWN = 4  # samples in a grid: enough to see variety, few enough to see each


@dataclass(frozen=True)
class LoadedRun:
    """A trained method, ready to make scans.

    Attributes:
        record: what run.json holds.
        store: the store that it was trained from.
        fingerprint: hash of the weights; names the run in what is made with it.
    """

    method: Method
    record: dict[str, Any]
    store: Path
    settings: Settings
    fingerprint: str


def method_settings(
    method: str,
    *,
    preset: str | None = None,
    config: Path | str | None = None,
    sets: Iterable[str] = (),
) -> Settings:
    """A method's settings: its defaults (the paper's), preset, YAML file, then `sets`."""
    kind = find_method(method)
    if preset is not None and preset not in kind.presets:
        raise SettingsError(
            f"preset {preset!r}: {method} has no such preset. Choose one of "
            f"{', '.join(kind.presets)}."
        )
    chosen = kind.presets[preset] if preset is not None else None
    return load_settings(kind.settings_type, preset=chosen, file=config, sets=sets)


def prepare(
    src: Path | str,
    store: Path | str,
    method: str,
    *,
    preset: str | None = "cpu",
    config: Path | str | None = None,
    sets: Iterable[str] = (),
    workers: int = 0,
    progress: Progress | None = None,
) -> Store:
    """Do a method's preprocessing once, into a store that training reads without decoding.

    Args:
        src: a data set in any layout that `scansmith.data.layouts` knows.
        store: the folder to write; an unfinished one is completed.
        workers: processes; 0 takes all cores.
    Raises:
        DataError: every problem of every case; nothing is written then.
        SettingsError: every setting that is wrong.
    """
    settings = method_settings(method, preset=preset, config=config, sets=sets)
    recipe = _stated(find_method(method), settings)
    return prepare_store(Path(src), Path(store), recipe, workers=workers, progress=progress)


def train(
    method: str,
    store: Path | str,
    out: Path | str,
    *,
    preset: str | None = "cpu",
    config: Path | str | None = None,
    sets: Iterable[str] = (),
    resume: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Train a method on a store; returns the run folder.

    The data settings are the store's; a `data.` setting that contradicts them is an error. Without
    validation samples there are no validation metrics and no best checkpoint: run.json says why.

    Args:
        store: what `prepare` wrote for this method.
        out: the run folder; a new or empty one, or with `resume` the run to go on with.
        preset, config, sets: settings, later ones win; see `method_settings`.
    Raises:
        SettingsError: a setting is wrong or contradicts the store, or structures that name a side
            are to be mirrored left to right.
        RunError: the folder holds something else, a loss is not finite, the disk is full; the
            last checkpoint is whole in each case.
    """
    opened = Store.open(Path(store))
    kind = find_method(method)
    settings = _settings_for(opened, method, preset, config, sets)
    facts = opened.facts
    refuse_swapped_sides(settings.train.augment, facts.structures, facts.dims)
    torch.manual_seed(settings.train.seed)
    game = kind(settings, facts)
    shares = settings.train
    batches = Batches(opened, "train", shares.batch, shares.seed)
    held_out, validation = _held_out(opened)
    if progress is not None and held_out is None:
        progress(0, shares.steps, f"no validation: {validation}")
    shown = {name: _first(b, SHOWN) for name, b in (held_out or batches.fixed(SHOWN)).items()}
    record = {
        "method": method,
        "settings": settings.model_dump(mode="json"),
        "facts": facts.model_dump(mode="json"),
        "store": str(Path(store).resolve()),
        "validation": validation,
        "versions": versions(),
    }
    fit(
        game,
        lambda step: game.learned_from(batches(step)),
        Path(out),
        settings.train,
        record=record,
        spacing_mm=opened.spacing_mm,
        resume=resume,
        validate=_validator(held_out) if held_out else None,
        panels=lambda played: _panels(played, shown),
        modalities=facts.modalities,
        progress=progress,
    )
    return Path(out)


def load_run(
    run: Path | str, *, which: Literal["last", "best"] = "last", device: str = "cpu"
) -> LoadedRun:
    """The trained method of a run folder, in evaluation mode.

    Args:
        which: "last" or "best" checkpoint.
    Raises:
        RunError: the folder holds no finished checkpoint, or not one of this project's.
    """
    folder = Path(run)
    record = read_record(folder)
    try:
        kind = find_method(record["method"])
        settings = kind.settings_type.model_validate(record["settings"])
        facts = Facts.model_validate(record["facts"])
        store = Path(record["store"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{folder / 'run.json'}: not a run that this version can read ({error}). "
            "Train again, or use the version named in the file."
        ) from error
    method = kind(settings, facts)
    weights = load_weights(folder, which=which, ema=settings.train.ema > 0)
    match(weights, method.state_dict(), str(folder))
    method.load_state_dict(weights)
    method.to(device).eval()
    return LoadedRun(method, record, store, settings, weights_hash(weights))


def read_record(run: Path) -> dict[str, Any]:
    """What run.json says. Raises RunError if there is none that can be read."""
    if not (run / "run.json").is_file():
        raise RunError(f"{run}: no run.json here. Give the folder that train wrote.")
    return read_json(run / "run.json")


def seed_of(run: Path) -> int:
    """The seed that a run was trained under. Raises RunError if it cannot be read."""
    return int(read_record(run)["settings"]["train"]["seed"])


def weights_hash(weights: dict[str, Tensor]) -> str:
    """Hash of names and bytes of all weights, 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """What a run was made with."""
    return {
        "scansmith": scansmith.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _stated(kind: type[Method], settings: Settings) -> Recipe:
    """A method's recipe, with the data settings that it was stated from."""
    plain = settings.data.model_dump(mode="json")
    return kind.recipe(settings).model_copy(update={"settings": plain})


def _settings_for(
    store: Store,
    method: str,
    preset: str | None,
    config: Path | str | None,
    sets: Iterable[str],
) -> Settings:
    """Settings of a training on a store: the data section is the store's."""
    if store.recipe.method != method:
        raise SettingsError(
            f"{store.path}: prepared for {store.recipe.method}, not for {method}. "
            f"Prepare a store with --method {method}."
        )
    asked = method_settings(method, preset=preset, config=config, sets=sets)
    held = dict(store.recipe.settings)
    settings = load_settings(
        type(asked),
        preset={f"data.{name}": value for name, value in held.items()},
        sets=sets,
        file=config,
    )
    found = settings.data.model_dump(mode="json")
    contradictions = [
        f"data.{name}: found {found[name]!r}, the store was prepared with {value!r}."
        for name, value in held.items()
        if found.get(name) != value
    ]
    if contradictions:
        raise SettingsError(
            "\n".join(contradictions)
            + "\nLeave the data settings out, or prepare another store with them."
        )
    chosen = asked.model_copy(update={"data": settings.data})
    if _stated(find_method(method), chosen) != store.recipe:
        raise SettingsError(
            f"{store.path}: prepared by another version of {method}, or with settings that this "
            "one reads otherwise. Prepare the store again."
        )
    return chosen


def _held_out(store: Store, count: int = 16) -> tuple[dict[str, Batch] | None, str]:
    """An evenly spread set of validation samples, or None; and in words what there is."""
    names = store.names("validation")
    if not names:
        return None, "the split has no validation patients"
    try:
        drawn = Batches(store, "validation", 1, 0).fixed(count)
    except DataError as error:  # a few patients, none of whom has what the method draws
        return None, str(error)
    return drawn, f"{len(names)} cases"


def _first(batch: Batch, count: int) -> Batch:
    return Batch(
        batch.image[:count], batch.labels[:count], batch.cases[:count], batch.samples[:count]
    )


def _source(draws: dict[str, Batch], game: Method) -> Batch:
    device = next(game.parameters()).device
    return next(iter(draws.values())).to(device)


def _validator(held_out: dict[str, Batch]) -> Callable[[Game], dict[str, float]]:
    def validate(game: Game) -> dict[str, float]:
        assert isinstance(game, Method)
        chance = torch.Generator().manual_seed(0)
        return game.validate(_source(held_out, game), chance)

    return validate


def _panels(game: Game, shown: dict[str, Batch]) -> dict[str, Tensor]:
    assert isinstance(game, Method)
    chance = torch.Generator().manual_seed(0)
    device = next(game.parameters()).device
    return game.gallery({name: batch.to(device) for name, batch in shown.items()}, chance)
