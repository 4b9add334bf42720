"""Tables on the terminal: the methods, and what a check of a data set found."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def method_table(methods: Sequence[Any]) -> Table:
    """One row for each method class: name, what it is, what it needs, its paper."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("method", style="cyan", no_wrap=True)
    table.add_column("dims", no_wrap=True)
    for head in ("what it does", "data it needs", "paper"):
        table.add_column(head, overflow="fold")
    for method in methods:
        dims = method.recipe(method.settings_type()).dims
        table.add_row(
            Text(method.name),
            f"{dims}D",
            Text(method.title),
            Text(method.needs),
            Text(method.paper),
        )
    return table


def study_table() -> Table:
    """One row for each study that comes with the project."""
    from scansmith.studies.spec import Spec, find_spec, paper_specs

    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    table.add_column("study", style="cyan", no_wrap=True)
    table.add_column("question; in the papers; data it needs; what is compared", overflow="fold")
    for name in paper_specs():
        spec = find_spec(name)
        of, what = (
            (spec.arms, "segmenter") if isinstance(spec, Spec) else (spec.generators, "generator")
        )
        compared = f"{len(of)} {what}{'s' * (len(of) > 1)}"
        words = [word for word in (spec.item, spec.data.needs, compared) if word]
        table.add_row(Text(name), Text.assemble(spec.title, "\n", ("; ".join(words), "dim")))
    return table


def print_report(report: Any) -> None:
    """A check's report: what was found, then every problem under its case."""
    console, found = Console(soft_wrap=True), report.dataset
    console.print(f"[bold]{found.layout}[/] data set, {len(found.cases)} cases")
    patients = len({case.patient for case in found.cases})
    console.print(Text(f"patients    {patients}"))
    console.print(Text(f"modalities  {', '.join(found.modalities) or 'none named'}"))
    names = ", ".join(f"{value} {name}" for value, name in found.table.names.items() if value)
    console.print(Text(f"labels      {names or 'none'}"))
    if not report.problems:
        console.print("[green]No problems found.[/]")
        return
    console.print(f"[red]{len(report.problems)} problems[/]")
    for where, problems in groupby(report.problems, key=lambda problem: problem.where):
        console.print(Text(where, style="bold"))
        for problem in problems:
            console.print(Text(f"  {problem.found}. {problem.remedy}."))
