"""The main job on phantoms, start to end, in minutes on two CPU cores."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from scansmith.apps.progress import Advance, shown
from scansmith.scan import RunError, SettingsError

_MARK = "demo.json"


@dataclass(frozen=True)
class Demo:
    """What a demo does: enough to see the method at work, little enough for minutes."""

    method: str
    organ: str
    sets: tuple[str, ...]
    look: str
    #: HU that the report looks at: the method's own window.
    window: tuple[float, float]
    phantoms: int = 12
    #: The grid of data.size, so that pairs can be subtracted.
    size: tuple[int, int, int] = (64, 64, 32)
    made: int = 6
    seed: int = 0


DEMOS = {
    "liver": Demo(
        method="magan",
        organ="liver",
        sets=(
            "data.size=64,64",
            "method.base=16",
            "method.init=skips-first",
            "method.critic_crop=32",
            "method.learning_rate=5e-4",
            "train.batch=4",
            "train.steps=700",
        ),
        look="tumours that MAGAN painted where the new labels say, into livers of other cases",
        window=(-200.0, 250.0),
    ),
    "heart": Demo(
        method="heart-gan",
        organ="heart",
        sets=(
            "data.size=64,64",
            "method.base=16",
            "method.patch=8",
            "train.batch=8",
            "train.steps=700",
        ),
        look="hearts that were drawn from label maps alone, bent a little to make new ones",
        window=(-400.0, 800.0),
    ),
}


@dataclass(frozen=True)
class Paths:
    """Where a demo puts things."""

    root: Path
    parts: tuple[str, ...] = field(
        default=("phantoms", "store", "run", "synthetic", "reconstructed", "report")
    )

    def __getitem__(self, part: str) -> Path:
        assert part in self.parts
        return self.root / part


Show = Callable[[str], AbstractContextManager[Advance]]


def run_demo(out: Path | str, organ: str = "liver", *, plan: Demo | None = None) -> str:
    """Run the demo of an organ into a folder; returns what to tell the user.

    An interrupted demo goes on where it was; a finished one only says where things are.

    Args:
        plan: sizes other than the organ's own; for tests.
    Raises:
        SettingsError: no such demo.
        RunError: the folder holds something else.
    """
    if organ not in DEMOS:
        raise SettingsError(f"organ {organ!r}: no such demo. Choose one of {', '.join(DEMOS)}.")
    demo, at = plan or DEMOS[organ], Paths(Path(out))
    _claim(at.root, demo)
    _make_data(demo, at)
    _train(demo, at)
    _make_and_measure(demo, at)
    return _told(demo, at)


def _claim(root: Path, demo: Demo) -> None:
    mark, wanted = root / _MARK, json.loads(json.dumps(vars(demo)))
    if mark.is_file():
        if json.loads(mark.read_text(encoding="utf-8")) != wanted:
            raise RunError(
                f"{root}: holds a demo of another organ or version. Choose another --out, or "
                "remove the folder."
            )
        return
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise RunError(
            f"{root}: holds other files, expected an empty folder. Choose another --out."
        )
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(wanted, indent=2) + "\n", encoding="utf-8")


def _make_data(demo: Demo, at: Paths) -> None:
    from scansmith.data.phantom import write_phantoms
    from scansmith.workflow import prepare

    if not at["phantoms"].exists():  # it appears when all of it is there
        with shown("phantoms") as progress:
            write_phantoms(
                at["phantoms"],
                demo.organ,
                demo.phantoms,
                demo.seed,
                size=demo.size,
                progress=progress,
            )
    with shown("prepare") as progress:
        prepare(at["phantoms"], at["store"], demo.method, sets=demo.sets, progress=progress)


def _train(demo: Demo, at: Paths) -> None:
    from scansmith.workflow import train

    with shown("train") as progress:
        train(
            demo.method,
            at["store"],
            at["run"],
            sets=demo.sets,
            resume=(at["run"] / "run.json").exists(),
            progress=progress,
        )


def _make_and_measure(demo: Demo, at: Paths) -> None:
    from scansmith.evaluate import evaluate
    from scansmith.synthesize.make import synthesize

    with shown("synthesize") as progress:
        synthesize(
            at["run"],
            at["synthetic"],
            cases=demo.made,
            seed=demo.seed,
            resume=at["synthetic"].exists(),
            progress=progress,
        )
    with shown("held-out") as progress:
        synthesize(
            at["run"],
            at["reconstructed"],
            cases=None,
            seed=demo.seed,
            edit=False,
            split="test",
            resume=at["reconstructed"].exists(),
            progress=progress,
        )
    for made, report in (("synthetic", at["report"]), ("reconstructed", at["report"] / "held-out")):
        with shown("evaluate") as progress:
            evaluate(at["phantoms"], at[made], report, window=demo.window, progress=progress)


def _told(demo: Demo, at: Paths) -> str:
    return f"""
Done. Open these in a browser:

  {(at["report"] / "report.html").resolve()}
      {demo.made} new labelled cases beside the phantoms: intensities, lesions, distances.
      Look at {demo.look}.
  {(at["report"] / "held-out" / "report.html").resolve()}
      Held-out cases made again from their own labels: real | label | synthetic | difference,
      with PSNR and SSIM.

The new data set is {at["synthetic"]} (README.md there says what it is), pictures of the training
are in {at["run"] / "samples"}. These are phantoms and minutes of training: a tour, not a result."""
