"""The verb that puts parts together: `scansmith report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

reporting = typer.Typer()


@reporting.command(
    epilog="Example: [cyan]scansmith report --study study --audit audit --out one-page[/]"
)
def report(
    out: Annotated[Path, typer.Option(metavar="DIR", help="where report.html and .json go")],
    study: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of `scansmith study`, with what it judged")
    ] = None,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option("--evaluate", metavar="DIR", help="of `scansmith evaluate`; repeatable"),
    ] = None,
    audits: Annotated[
        list[Path] | None,
        typer.Option("--audit", metavar="DIR", help="of `scansmith audit`; repeatable"),
    ] = None,
    reader_study: Annotated[
        Path | None, typer.Option(metavar="DIR", help="of `scansmith reader-study score`")
    ] = None,
) -> None:
    """Does it help, is it faithful, does it leak: one page, from what was measured before.

    Each part may be left out, one at least has to be there; what is missing is told.
    """
    from scansmith.studies.report.write import Parts, write_report

    parts = Parts(study, tuple(evaluations or ()), tuple(audits or ()), reader_study)
    found = write_report(parts, out)
    for question, told in found["verdicts"].items():
        if told and "headline" in told:
            rests = f" ({told['rests_on']})" if told["rests_on"] else ""
            typer.echo(f"{question}: {told['headline'][0].lower()}{told['headline'][1:]}{rests}")
    for text in found["missing"]:
        typer.echo(f"missing: {text}")
    typer.echo(f"report in {out / 'report.html'}, numbers in {out / 'report.json'}")
