"""`ldtm doctor`: a diagnosis of the installation."""

import os
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import EXIT_FAILED, AsJson, console, current_config, print_json
from ldtm_cli.tables import facts_table

if TYPE_CHECKING:
    from ldtm_cli.finding import Finding

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    as_json: AsJson = False,
    gpu: Annotated[
        bool,
        typer.Option(
            "--gpu",
            help="Test only the GPU, in about a minute: one training step, one epoch, and a comparison of one network "
            "with its training on the CPU.",
        ),
    ] = False,
) -> None:
    """Check versions, database, GPU, calendar, source and disk; print each result and the remedy."""
    if gpu:
        from ldtm_cli.gpu_trial import try_gpu
        from ldtm_lib.project import open_project

        if not try_gpu(open_project(current_config(), os.environ)):
            raise typer.Exit(EXIT_FAILED)
        return
    from ldtm_cli.diagnosis import examine

    findings = examine(current_config(), os.environ)
    if as_json:
        print_json([finding.as_dict() for finding in findings])
    else:
        print_findings(console, findings)
    if any(finding.level == "fail" for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def print_findings(console: Console, findings: "list[Finding]") -> None:
    """Show the findings as a table."""
    table = facts_table(num_names=2)
    for finding in findings:
        colour = COLOURS[finding.level]
        remedy = f"\n[{colour}]-> {escape(finding.remedy)}[/]" if finding.remedy else ""
        text = escape(finding.found) + remedy
        table.add_row(f"[{colour}]{finding.level}[/]", finding.what, text)
    console.print(table)
