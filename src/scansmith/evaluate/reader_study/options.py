"""What a reader study is asked to be, and where its folder and its key may go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scansmith.evaluate.reader_study.statistics import LEAST_CASES
from scansmith.scan import RunError, SettingsError

MOST_READERS = 100


@dataclass(frozen=True)
class StudyOptions:
    """What is shown, and how.

    Attributes:
        cases: pictures in all, half of them real.
        dims: 2: one slice each, PNG. 3: volumes, NIfTI.
        modalities: which to show; empty: all that both sets have.
        window: (low, high) in the images' units; None: see `grid.fit_greys`.
        lesion: names of structures; slices with most of them are shown. None: found by name.
        per_case: slices of one case at most.
        readers: how many answer sheets.
        leave_out: names of cases.
    """

    cases: int
    seed: int = 0
    dims: int = 2
    modalities: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    lesion: tuple[str, ...] | None = None
    per_case: int = 1
    readers: int = 2
    leave_out: tuple[str, ...] = ()


def key_place(out: Path, key: Path | str | None) -> Path:
    """Where the key goes: as asked for, or beside the readers' folder."""
    if key is not None:
        return Path(key)
    return out.parent / f"{out.resolve().name}-key.json"


def check_options(options: StudyOptions) -> None:
    """Raises SettingsError with everything that cannot be."""
    wrong = []
    if options.dims not in (2, 3):
        wrong.append(f"dims: found {options.dims}, expected 2 (slices) or 3 (volumes). Choose one.")
    if options.cases < LEAST_CASES or options.cases % 2:
        wrong.append(
            f"cases: found {options.cases}, expected an even number from {LEAST_CASES}, half of "
            f"them real. With fewer, even a reader who is always right could be guessing (p > .05)."
        )
    if options.per_case < 1 or (options.per_case > 1 and options.dims == 3):
        wrong.append(
            f"slices of a case: found {options.per_case}, expected 1 or more, and 1 for volumes. "
            "Change it."
        )
    if not 1 <= options.readers <= MOST_READERS:
        wrong.append(f"readers: found {options.readers}, expected 1 to {MOST_READERS}. Change it.")
    if wrong:
        raise SettingsError("\n".join(wrong))


def check_sets(real: Path, synthetic: Path) -> None:
    """Refuse one folder for both: nothing could tell its cases apart."""
    if real.resolve() == synthetic.resolve():
        raise SettingsError(
            f"real and synthetic set: found {real} for both, expected two data sets. Name the "
            "folder of the synthetic one."
        )


def check_places(out: Path, key: Path) -> None:
    """Refuse a key where readers would find it, and anything that would be overwritten."""
    folder, target = out.resolve(), key.resolve()
    if target == folder or folder in target.parents:
        raise SettingsError(
            f"{key}: the key would lie in the readers' folder {out}. Put it where no reader "
            "looks, or leave --key out."
        )
    if target.exists():
        raise RunError(
            f"{key}: is there already, and a study cannot be scored without its key. Choose "
            "another place, or move the old key away."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(
            f"{out}: is there already, expected a new or an empty folder. Choose another --out."
        )
