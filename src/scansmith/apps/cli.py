"""The command line: every verb is a thin layer over the Python function of the same name.

Nothing heavy is imported before a verb runs, so that help is there at once.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from scansmith import __version__
from scansmith.apps.classify_verb import judging
from scansmith.apps.data_verbs import data
from scansmith.apps.options import (
    Config,
    Device,
    Layout,
    MethodName,
    Preset,
    Seed,
    Sets,
    Split,
    paths_of,
    shard_of,
)
from scansmith.apps.progress import shown
from scansmith.apps.reader_verbs import reader_study
from scansmith.apps.report_verbs import reporting
from scansmith.scan import ScansmithError


class _InOrder(TyperGroup):
    """Verbs in the order in which they are used."""

    def list_commands(self, ctx: Any) -> list[str]:
        order = ["demo", "methods", "data", "train", "synthesize", "heal", "translate"]
        order += ["evaluate", "classify", "study", "audit", "reader-study", "report"]
        return sorted(super().list_commands(ctx), key=order.index)


app = typer.Typer(
    name="scansmith",
    cls=_InOrder,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make labelled medical images with published GANs, and measure whether they help.\n\n"
    "To see it all at work: [cyan]scansmith demo[/]. On scans of your own: "
    "[cyan]data check[/], [cyan]data prepare[/], [cyan]train[/], [cyan]synthesize[/], "
    "[cyan]evaluate[/], in this order.",
    epilog="Research use only. Not a medical device.",
)
app.add_typer(data, name="data")
app.add_typer(judging)
app.add_typer(reader_study, name="reader-study")
app.add_typer(reporting)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scansmith {__version__}")
        raise typer.Exit()


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="say it and leave")
    ] = False,
) -> None:
    pass


@app.command(epilog="Example: [cyan]scansmith methods[/]")
def methods() -> None:
    """The systems, their papers, and what data each needs."""
    from scansmith.apps.tables import method_table
    from scansmith.methods import METHODS, find_method

    _print(method_table([find_method(name) for name in METHODS]))


@app.command(epilog="Example: [cyan]scansmith train magan liver.store --out runs/liver[/]")
def train(
    method: MethodName,
    store: Annotated[
        Path | None,
        typer.Argument(
            metavar="STORE",
            help="from `scansmith data prepare`; needed unless --print-config is given",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="run folder to write; needed likewise")
    ] = None,
    preset: Preset = "cpu",
    config: Config = None,
    sets: Sets = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on from the last checkpoint")
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", help="write every setting as commented YAML, and leave"),
    ] = False,
) -> None:
    """Train a method on a store.

    Later settings win: preset, then --config, then --set. The store's `data.*` stand.
    """
    words = tuple(sets or ())
    if print_config:
        typer.echo(_printed_config(method, preset, config, words), nl=False)
        return
    if store is None or out is None:
        raise typer.BadParameter(
            "needed, unless --print-config is given", param_hint="STORE and --out"
        )
    from scansmith.workflow import train as train_run

    try:
        with shown("train") as progress:
            run = train_run(
                method,
                store,
                out,
                preset=preset,
                config=config,
                sets=words,
                resume=resume,
                progress=progress,
            )
    except KeyboardInterrupt:
        typer.echo("stopped; the same command with --resume goes on", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"run in {run}: pictures in {run / 'samples'}, losses in {run / 'log.jsonl'}")


@app.command(
    epilog="Example: [cyan]scansmith synthesize runs/liver --out synthetic --cases 100 --seed 1[/]"
)
def synthesize(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="from `scansmith train`")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="data set to write")],
    cases: Annotated[
        int | None,
        typer.Option(min=1, help="how many; with --no-edit, default: one of each source case"),
    ] = None,
    seed: Seed = 0,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="STORE", help="take label maps from here; default: the run's"
        ),
    ] = None,
    layout: Annotated[Layout, typer.Option(help="layout to write")] = "nnunet",
    task: Annotated[
        str,
        typer.Option(help="what to make, with methods that have several tasks: ant-gan's heal"),
    ] = "",
    split: Annotated[Split, typer.Option(help="patients whose label maps are used")] = "train",
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="make part I of N only (I from 1), for clusters"),
    ] = None,
    lesions: Annotated[
        tuple[int, int], typer.Option(metavar="MIN MAX", help="new lesions in a case")
    ] = (1, 3),
    from_healthy: Annotated[
        bool,
        typer.Option(
            "--from-healthy/--from-all",
            help="place lesions in cases without one, if there are three or more; or in all",
        ),
    ] = True,
    edit: Annotated[
        bool,
        typer.Option("--edit/--no-edit", help="change the label maps, or take them as they are"),
    ] = True,
    device: Device = "auto",
    resume: Annotated[
        bool, typer.Option("--resume", help="go on with an unfinished data set")
    ] = False,
) -> None:
    """Make a labelled data set from a trained run and (edited) label maps.

    A case depends on (run, seed, case number) only, however the work is divided.
    """
    from scansmith.synthesize.make import synthesize as make_cases

    if cases is None and edit:
        raise typer.BadParameter("needed, unless --no-edit is given", param_hint="--cases")
    part = None if shard is None else shard_of(shard)
    with shown("synthesize") as progress:
        made = make_cases(
            run,
            out,
            cases=cases,
            seed=seed,
            source=source,
            layout=layout,
            shard=part,
            resume=resume,
            task=task,
            edit=edit,
            split=split,
            lesions=lesions,
            from_healthy=from_healthy,
            device=device,
            progress=progress,
        )
    typer.echo(f"synthetic data set in {made}")


@app.command(epilog="Example: [cyan]scansmith heal runs/flair patient_flair.nii.gz --out healed[/]")
def heal(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="of ant-gan")],
    scan: Annotated[
        list[str],
        typer.Argument(
            metavar="SCAN", help="image; for a run of several modalities MODALITY=PATH of each"
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="new folder for what is made")],
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="where the organ is, for runs trained on scans cut to it"
        ),
    ] = None,
    device: Device = "auto",
) -> None:
    """Show a scan as it might look without its lesions. No mask of these is needed.

    Writes the healed image and the change, on the scan's own grid, and a preview.
    """
    from scansmith.synthesize.rework import heal as heal_scan

    named = dict(paths_of(scan)) if len(scan) > 1 or "=" in scan[0] else scan[0]
    made = heal_scan(run, named, out, labels=labels, device=device)
    typer.echo(f"healed scan and preview.png in {made}")


@app.command(
    epilog="Example: [cyan]scansmith translate runs/brain p1_flair.nii.gz --to t2 --out drawn[/]"
)
def translate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="of registered-multimodal")],
    scan: Annotated[Path, typer.Argument(metavar="SCAN", help="image of one modality")],
    to: Annotated[str, typer.Option(metavar="MODALITY", help="what to draw, for example t2")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="new folder for what is made")],
    modality: Annotated[
        str | None,
        typer.Option("--from", metavar="MODALITY", help="of SCAN; default: as its file name ends"),
    ] = None,
    device: Device = "auto",
) -> None:
    """Draw another modality of a scan.

    Writes the drawn image on the scan's own grid, and a preview.
    """
    from scansmith.synthesize.rework import translate as translate_scan

    made = translate_scan(run, scan, to, out, modality=modality, device=device)
    typer.echo(f"drawn {to} and preview.png in {made}")


@app.command(epilog="Example: [cyan]scansmith demo --organ heart[/]")
def demo(
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="default: scansmith-demo/ORGAN")
    ] = None,
    organ: Annotated[
        Literal["liver", "heart"],
        typer.Option(help="liver: MAGAN paints tumours; heart: heart GAN"),
    ] = "liver",
) -> None:
    """The main job on phantoms, in minutes: prepare, train, synthesize, evaluate, report."""
    from scansmith.apps.demo import run_demo

    typer.echo(run_demo(out or Path("scansmith-demo") / organ, organ))


def _printed_config(method: str, preset: str, config: Path | None, sets: tuple[str, ...]) -> str:
    from scansmith.settings import commented_yaml
    from scansmith.workflow import method_settings

    settings = method_settings(method, preset=preset, config=config, sets=sets)
    return (
        f"# scansmith train {method} STORE --out RUN --config THIS_FILE\n"
        f"# From preset {preset}. In brackets: where the default is from.\n"
        f"{commented_yaml(settings)}"
    )


def _print(what: Any) -> None:
    from rich.console import Console

    Console().print(what)


def main() -> None:
    """Run the command line. A mistake that the user can mend is printed, and the exit code is 2."""
    # PyTorch's threads spin while they wait. Beside any other busy program that costs far more
    # than it gains: a training step on two busy cores took 10 s instead of 0.3 s.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # how schedulers say Ctrl-C
    try:
        app()
    except ScansmithError as error:
        from rich.console import Console

        console = Console(stderr=True, soft_wrap=True)
        console.print("Error", style="bold red", end=": ")
        console.print(str(error), markup=False, highlight=False)
        sys.exit(2)
