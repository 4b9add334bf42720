"""The verbs under `scansmith data`: phantoms, checks, preparation, DICOM import."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from scansmith.apps.options import Cases, Config, Organ, Preset, Seed, Sets, grid_of, name_of
from scansmith.apps.progress import shown
from scansmith.scan import DataError, SettingsError

data = typer.Typer(no_args_is_help=True, help="Phantoms, checks, preparation and DICOM import.")


@data.command(
    epilog="Example: [cyan]scansmith data phantom phantoms --organ liver --cases 12 --seed 1[/]"
)
def phantom(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="folder to write")],
    organ: Annotated[
        Organ, typer.Option(help="brain: BraTS layout; liver: nnU-Net raw; heart: MM-WHS")
    ] = "liver",
    cases: Cases = 10,
    seed: Seed = 0,
    size: Annotated[
        str | None, typer.Option(metavar="I,J,K", help="voxels of a scan; default: the organ's own")
    ] = None,
) -> None:
    """Write phantom scans with exact labels, and their lesion-free twins."""
    from scansmith.data.phantom import write_phantoms

    shape = None if size is None else grid_of(size)
    with shown("phantoms") as progress:
        written = write_phantoms(out, organ, cases, seed, size=shape, progress=progress)
    typer.echo(f"{cases} {organ} cases in {written}")


@data.command(epilog="Example: [cyan]scansmith data check Dataset003_Liver --method magan[/]")
def check(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="data set; its layout is found")],
    method: Annotated[
        str | None, typer.Option(metavar="METHOD", help="check what this method needs, too")
    ] = None,
    preset: Preset = "cpu",
    config: Config = None,
    sets: Sets = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="for machines, on standard output")
    ] = False,
) -> None:
    """Say what a data set holds and list every problem by case. Exit code 2 if there is any.

    Preset and settings are the method's, as `prepare` takes them.
    """
    from scansmith.apps.tables import print_report
    from scansmith.data.check import check as check_data

    if method is None and (config or sets):
        raise SettingsError(
            "data check: found settings, expected the method that they are of. Give --method."
        )
    recipe = None if method is None else _recipe(method, preset, config, sets or ())
    try:
        with shown("check") as progress:
            report = check_data(src, recipe, progress)
    except DataError as error:
        if not as_json:
            raise
        problems = [vars(problem) for problem in error.problems]
        typer.echo(
            json.dumps({"layout": None, "error": str(error), "problems": problems}, indent=2)
        )
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        print_report(report)
    if not report.ok:
        raise typer.Exit(2)


@data.command(
    epilog="Example: [cyan]scansmith data prepare Dataset003_Liver liver.store --method magan[/]"
)
def prepare(
    src: Annotated[Path, typer.Argument(metavar="SRC", help="data set; its layout is found")],
    store: Annotated[
        Path, typer.Argument(metavar="STORE", help="folder to write; run again to go on")
    ],
    method: Annotated[str, typer.Option(metavar="METHOD", help="one of `scansmith methods`")],
    preset: Preset = "cpu",
    config: Config = None,
    sets: Sets = None,
    workers: Annotated[int, typer.Option(min=0, help="processes; 0: one for each core")] = 0,
) -> None:
    """Do a method's preprocessing once, into a store that training reads without decoding.

    Size, intensities, and the split by patient are fixed here (settings `data.*`).
    """
    from scansmith.workflow import prepare as prepare_store

    with shown("prepare") as progress:
        made = prepare_store(
            src,
            store,
            method,
            preset=preset,
            config=config,
            sets=tuple(sets or ()),
            workers=workers,
            progress=progress,
        )
    counts = ", ".join(f"{len(made.names(s))} {s}" for s in ("train", "validation", "test"))
    unused = len(made.cases) - sum(len(made.names(s)) for s in ("train", "validation", "test"))
    counts += f", {unused} unused" if unused else ""
    size = " x ".join(str(n) for n in made.facts.size)
    typer.echo(f"{len(made.cases)} cases ({counts}) of {size} pixels in {made.path}")
    if made.cut_note:
        typer.echo(made.cut_note, err=True)


@data.command(
    "import-dicom",
    epilog="Example: [cyan]scansmith data import-dicom DICOM/ --labels masks/ Dataset900_Mine[/]",
)
def import_dicom(
    series: Annotated[Path, typer.Argument(metavar="SERIES_DIR", help="folder of one series")],
    out: Annotated[
        Path, typer.Argument(metavar="OUT", help="nnU-Net raw data set to add the case to")
    ],
    labels: Annotated[
        Path, typer.Option(metavar="MASKS", help="folder of PNGs, a NIfTI file or a DICOM-SEG")
    ],
    structure: Annotated[
        list[str] | None,
        typer.Option(metavar="VALUE=NAME", help="what a label value is called; repeatable"),
    ] = None,
) -> None:
    """Turn a DICOM series and its masks into a case, de-identified.

    Voxels, geometry and a short allow-list of imaging terms survive; no name, id or date does.
    """
    from scansmith.data.import_dicom import import_dicom as import_series

    names = dict(name_of(word) for word in structure or ()) or None
    typer.echo(f"case in {import_series(series, labels, out, names)}")


def _recipe(method: str, preset: str, config: Path | None, sets: Sequence[str]) -> Any:
    from scansmith.methods import find_method
    from scansmith.workflow import method_settings

    settings = method_settings(method, preset=preset, config=config, sets=sets)
    return find_method(method).recipe(settings)
