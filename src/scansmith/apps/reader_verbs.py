"""The verbs under `scansmith reader-study`: make the cases, score the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scansmith.apps.options import Seed
from scansmith.apps.progress import shown

reader_study = typer.Typer(
    no_args_is_help=True, help="Can experts tell synthetic from real? Blinded cases, and the score."
)


@reader_study.command(
    epilog="Example: [cyan]scansmith reader-study make real synthetic --out study --cases 60[/]"
)
def make(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="data set on disk")],
    synthetic: Annotated[
        Path, typer.Argument(metavar="SYNTHETIC", help="data set on disk, anybody's")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="new folder for the readers")],
    cases: Annotated[int, typer.Option(metavar="N", help="in all, half of them real; 8 or more")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="where the key goes; default: DIR-key.json beside DIR"),
    ] = None,
    seed: Seed = 0,
    dims: Annotated[int, typer.Option(help="2: slices as PNG; 3: volumes as NIfTI")] = 2,
    modality: Annotated[
        list[str] | None,
        typer.Option(metavar="MODALITY", help="default: all that both have; repeatable"),
    ] = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="intensities from black to white, for all pictures"),
    ] = None,
    lesion: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STRUCTURE", help="slices with most of it are shown; default: found by name"
        ),
    ] = None,
    per_case: Annotated[
        int, typer.Option(min=1, metavar="K", help="slices of one case, at most")
    ] = 1,
    readers: Annotated[int, typer.Option(min=1, help="answer sheets to write")] = 2,
    leave_out: Annotated[
        list[str] | None, typer.Option(metavar="CASE", help="do not show it; repeatable")
    ] = None,
) -> None:
    """Write blinded, shuffled cases, half of them real, and a key that readers must not see."""
    from scansmith.evaluate.reader_study.make import make_study, reach
    from scansmith.evaluate.reader_study.options import StudyOptions, key_place

    options = StudyOptions(
        cases=cases,
        seed=seed,
        dims=dims,
        modalities=tuple(modality or ()),
        window=window,
        lesion=tuple(lesion) if lesion else None,
        per_case=per_case,
        readers=readers,
        leave_out=tuple(leave_out or ()),
    )
    with shown("reader study") as progress:
        record = make_study(real, synthetic, out, options, key=key, progress=progress)
    for note in record["notes"]:
        typer.echo(f"note: {note}", err=True)
    typer.echo(
        f"{cases} cases in {out}: give that folder to the readers. The key is "
        f"{key_place(out, key)}: keep it from them.\n{reach(record)}"
    )


@reader_study.command(
    epilog="Example: [cyan]scansmith reader-study score answers-*.csv --key study-key.json "
    "--out score[/]"
)
def score(
    answers: Annotated[
        list[Path], typer.Argument(metavar="ANSWERS", help="CSV of each reader, filled in")
    ],
    key: Annotated[Path, typer.Option(metavar="FILE", help="the key that `make` wrote")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="where score.json, score.md and score.png go")
    ],
    seed: Seed = 0,
) -> None:
    """Tables, exact intervals and tests of each reader, and how far readers agree."""
    from scansmith.evaluate.reader_study.score import score_study

    found = score_study(list(answers), key, out, seed=seed)
    for name, row in found["readers"].items():
        typer.echo(f"{name}: {row['verdict']}")
    typer.echo(found["verdict"])
    typer.echo(f"score in {out / 'score.md'}, numbers in {out / 'score.json'}")
