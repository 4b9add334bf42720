"""The verbs that judge: synthetic data sets on disk, and what training with them brings."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from scansmith.apps.options import Seed
from scansmith.apps.progress import lines, shown
from scansmith.scan import SettingsError

judging = typer.Typer()

Lesion = Annotated[
    list[str] | None,
    typer.Option(
        metavar="STRUCTURE", help="what counts as the lesion; default: found by name; repeatable"
    ),
]


@judging.command(
    epilog="Example: [cyan]scansmith evaluate Dataset003_Liver synthetic --out report[/]"
)
def evaluate(
    real: Annotated[Path, typer.Argument(metavar="REAL", help="data set on disk")],
    synthetic: Annotated[
        Path, typer.Argument(metavar="SYNTHETIC", help="data set on disk, anybody's")
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="where metrics.json and report.html go")],
    lesion: Lesion = None,
    window: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH",
            help="intensities that count, in the images' units; others are clipped",
        ),
    ] = None,
    data_range: Annotated[
        float | None,
        typer.Option(metavar="WIDTH", help="for PSNR and SSIM; without --window, nothing is cut"),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="safetensors of a feature network, for FID-like distance"
        ),
    ] = None,
    pairs: Annotated[
        Literal["auto", "none"],
        typer.Option(help="auto: case by case where provenance.jsonl or the names say so"),
    ] = "auto",
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="at most so many cases of each set")
    ] = None,
    seed: Seed = 0,
    faithfulness: Annotated[
        bool,
        typer.Option(
            "--faithfulness",
            help="train a segmenter on real cases; does it find the synthetic labels? Minutes",
        ),
    ] = False,
    steps: Annotated[int, typer.Option(min=1, help="of the segmenter's training")] = 1000,
) -> None:
    """Compare a synthetic data set with a real one; case by case where they are paired."""
    from scansmith.evaluate import evaluate as measure

    try:
        with shown("evaluate") as progress:
            measure(
                real,
                synthetic,
                out,
                lesion=lesion or None,
                window=window,
                data_range=data_range,
                features=features,
                pairs=pairs,
                limit=limit,
                seed=seed,
                faithfulness=faithfulness,
                steps=steps,
                progress=progress,
            )
    except KeyboardInterrupt:
        left = "nothing of it is kept, the same command begins anew"
        if faithfulness:
            left = "the same command measures anew and goes on with the segmenter's training"
        typer.echo(f"stopped; {left}", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"report in {out / 'report.html'}, numbers in {out / 'metrics.json'}")


@judging.command(
    epilog="Example: [cyan]scansmith study mm-gan/help --data MY_BRAINS --out study --seeds 3[/]"
)
def study(
    spec: Annotated[
        str, typer.Argument(metavar="SPEC", help="PAPER/ITEM (see --list) or a YAML file")
    ] = "",
    data: Annotated[Path | None, typer.Option(metavar="DIR", help="data set on disk")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="the study's folder; given again, it goes on")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="how many, from 0")] = 3,
    jobs: Annotated[int, typer.Option(min=1, help="seeds at once, a process each")] = 1,
    patients: Annotated[
        int, typer.Option(min=0, metavar="N", help="learn from N training patients; 0: all")
    ] = 0,
    data_sets: Annotated[
        list[str] | None,
        typer.Option("--data-set", metavar="NAME=VALUE", help="one setting of preparing"),
    ] = None,
    segmenter_sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="of what measures: of segmenters (steps=2000), or an analysis' options",
        ),
    ] = None,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge/--no-judge", help="write, evaluate and audit what generators make; minutes"
        ),
    ] = True,
    judge_cases: Annotated[
        int, typer.Option(min=0, metavar="N", help="so many; 0: as many as training patients")
    ] = 0,
    judge_seeds: Annotated[int, typer.Option(min=1, help="of so many seeds, the first ones")] = 1,
    judge_steps: Annotated[
        int, typer.Option(min=1, help="of the segmenter that is asked about their labels")
    ] = 1000,
    show: Annotated[bool, typer.Option("--list", help="the studies there are, and leave")] = False,
) -> None:
    """Do synthetic scans help? How good are they? Train on a split by patient; compare.

    A study compares segmenters that learn from real and synthetic scans, or looks at the
    generators themselves: the tables and figures of the papers are there as PAPER/ITEM.
    """
    from rich.console import Console

    from scansmith.apps.tables import study_table
    from scansmith.studies.judge import Judging
    from scansmith.studies.run import run_study

    if show:
        Console().print(study_table())
        return
    if not spec or data is None or out is None:
        raise SettingsError(
            "study: expected SPEC, --data and --out. For example scansmith study mm-gan/help "
            "--data MY_BRAINS --out study; the studies there are: scansmith study --list."
        )
    try:
        found = run_study(
            spec,
            data,
            out,
            seeds=range(seeds),
            jobs=jobs,
            patients=patients,
            data_sets=data_sets or (),
            segmenter_sets=segmenter_sets or (),
            judging=Judging(judge_cases, judge_seeds, judge_steps) if judge else None,
            tell=typer.echo,
            watch=partial(shown if jobs == 1 else lines, every_s=60.0),  # hours: fewer lines
        )
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on with what is not finished", err=True)
        raise typer.Exit(130) from None
    typer.echo((out / "results.md").read_text(encoding="utf-8"))
    if (out / "report.html").exists():  # an analysis has its results alone
        typer.echo(f"report in {out / 'report.html'}, numbers in {out / 'report.json'}")
    if count := len(found["problems"]):
        typer.echo(f"not done: {count} part(s), listed above", err=True)
        raise typer.Exit(1)


@judging.command(
    epilog="Example: [cyan]scansmith audit synthetic --train TRAIN --holdout HOLDOUT --out audit[/]"
)
def audit(
    synthetic: Annotated[
        Path, typer.Argument(metavar="SYNTHETIC", help="data set on disk, anybody's")
    ],
    train: Annotated[
        Path, typer.Option(metavar="REAL", help="the real cases that the generator was trained on")
    ],
    holdout: Annotated[
        Path, typer.Option(metavar="REAL", help="real cases of other patients, never shown to it")
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="where audit.json, audit.html and pairs/ go"),
    ] = None,
    lesion: Lesion = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="safetensors of a feature network, for the embedding"),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="at most so many cases of each set, as many of each real patient; misses copies",
        ),
    ] = None,
    pictures: Annotated[
        bool,
        typer.Option("--pictures/--no-pictures", help="show the nearest pairs (real patients)"),
    ] = True,
    seed: Seed = 0,
) -> None:
    """Search a synthetic data set for what it gives away about the patients it was learned from.

    The verdict is pass, leak or inconclusive; the exit code is 0 for each of them. A pass is no
    guarantee: docs/privacy.md.
    """
    from scansmith.evaluate import audit as search

    with shown("audit") as progress:
        found = search(
            synthetic,
            train,
            holdout,
            out,
            lesion=lesion or None,
            features=features,
            limit=limit,
            pictures=pictures,
            seed=seed,
            progress=progress,
        )
    typer.echo(f"verdict: {found['verdict']}")
    for reason in found["reasons"]:
        typer.echo(f"- {reason}")
    if found["needed"]:
        words = ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in found["needed"].items())
        typer.echo(f"- About this many would do: {words}.")
    if found["verdict"] == "pass":
        typer.echo("A pass is no guarantee and no proof of anonymity.")
    if out is not None:
        typer.echo(f"page in {out / 'audit.html'}, numbers in {out / 'audit.json'}")
