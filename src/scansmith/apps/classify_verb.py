"""The verb that trains classifiers: has a slice a lesion, and do synthetic scans help to tell?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scansmith.apps.judge_verbs import Lesion, judging
from scansmith.scan import SettingsError

Words = list[str] | None


@judging.command(
    epilog="Example: [cyan]scansmith classify MY_BRAINS --out lesions --synthetic gan=synthetic[/]"
)
def classify(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="data set on disk, with labels")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="its folder; given again, it goes on")],
    synthetic: Annotated[
        Words, typer.Option(metavar="NAME=DIR", help="data set to learn from as well; repeatable")
    ] = None,
    lesion: Lesion = None,
    seeds: Annotated[int, typer.Option(min=1, help="how many, from 0")] = 3,
    data_sets: Annotated[
        Words,
        typer.Option("--data-set", metavar="NAME=VALUE", help="one data setting of ant-gan"),
    ] = None,
    sets: Annotated[
        Words, typer.Option("--set", metavar="NAME=VALUE", help="of classifiers, e.g. steps=2000")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN", help="that made a synthetic set; repeatable"),
    ] = None,
    learned: Annotated[
        Words,
        typer.Option(
            metavar="PATIENT",
            help="that a set's generator learned from, if nothing tells; nobody: none of them",
        ),
    ] = None,
) -> None:
    """Which slices show a lesion? Train classifiers on a split by patient; score and compare."""
    from scansmith.studies.classify import classify as do

    do(
        real,
        out,
        synthetic=_named(synthetic or []),
        lesion=lesion or (),
        seeds=range(seeds),
        data_sets=data_sets or (),
        sets=sets or (),
        runs=runs or (),
        learned=learned or (),
    )
    typer.echo((out / "results.md").read_text(encoding="utf-8"))


def _named(words: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for word in words:
        name, _, path = word.partition("=")
        if not name or not path or name in found:
            raise SettingsError(
                f"--synthetic: found {word!r}, expected NAME=DIR, each NAME once. For example "
                "gan=synthetic."
            )
        found[name] = Path(path)
    return found
