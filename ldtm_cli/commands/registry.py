"""`ldtm registry`: versions, model cards, and lifecycle actions by hand."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ldtm_cli.invocation import NOTHING, AsJson, console, print_json, ready_project
from ldtm_cli.tables import bullets, rows_table
from ldtm_lib.errors import ConfigurationError, UnknownTicker
from ldtm_lib.wording import counted, mib_of

if TYPE_CHECKING:
    from ldtm_lib.gate.verdict import Verdict
    from ldtm_lib.project import Project
    from ldtm_lib.registry.listing import JudgedNetwork, VersionEntry
    from ldtm_lib.registry.retention import RemovedFile


app = typer.Typer(help="Trained models: the active one of each ticker, the gate's verdicts, and lifecycle actions.")

Ticker = Annotated[str, typer.Argument(help="The ticker.")]
Why = Annotated[str, typer.Option(help="The reason, for the record.")]
By = Annotated[str | None, typer.Option(help="Who requests it, for the record. Default: the system's user.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List each ticker's active model and newest candidate, and the gate's last verdict with its reasons."""
    rows = registry_rows(ready_project())
    print_json(rows) if as_json else print_registry(console, rows)


@app.command("show")
def show(ticker: Ticker, as_json: AsJson = False) -> None:
    """Show the gate's verdicts on a ticker's models in plain words, their uncertainty, and a coin's chance to pass."""
    cards = model_cards(ready_project(), ticker)
    print_json(cards) if as_json else print_model_cards(console, cards)


@app.command("history")
def history(ticker: Ticker, as_json: AsJson = False) -> None:
    """List every version of a ticker: active period, file, and the author and reason of each rollback or retirement."""
    versions = versions_of(ready_project(), ticker)
    print_json([asdict(entry) for entry in versions]) if as_json else print_versions(console, ticker, versions)


@app.command("rollback")
def rollback(
    ticker: Ticker,
    why: Why,
    to: Annotated[
        str | None,
        typer.Option(
            help="The version to restore. Default: the newest older version that has a checkpoint file and was never "
            "retired by a lifecycle action or rolled back from."
        ),
    ] = None,
    by: By = None,
) -> None:
    """Make an earlier network of a ticker active again, as a new version; the present one retires.

    A network that a lifecycle action retired, or that was rolled back from, is restored only if --to names it; without
    an active model, --to is required. Forecasts on record do not change. The next candidate that passes the gate
    replaces the network.
    """
    from ldtm_lib.registry import lifecycle

    project = ready_project()
    with project.database.transaction() as conn:
        done = lifecycle.rollback(
            conn,
            project.checkpoint_folder,
            ticker,
            to=to,
            requested_by=requested_by(by),
            why=why,
            architecture=project.settings.architecture,
        )
    console.print(escape(done.message), highlight=False, soft_wrap=True)


@app.command("retire")
def retire(ticker: Ticker, why: Why, by: By = None) -> None:
    """Retire a ticker's active model without a successor; the ticker abstains until a candidate passes the gate."""
    from ldtm_lib.registry import lifecycle

    project = ready_project()
    with project.database.transaction() as conn:
        done = lifecycle.retire(conn, ticker, requested_by=requested_by(by), why=why)
    console.print(escape(done.message), highlight=False, soft_wrap=True)


@app.command("prune")
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed and change nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove unneeded checkpoint files: those of old retired versions and of candidates without a forecast on record.

    The section `registry` of the configuration says how many of each a ticker keeps. Files of active models are never
    removed.
    """
    from ldtm_lib.registry import retention

    project = ready_project()
    files = retention.prune(
        project.database, project.checkpoint_folder, config=project.settings.registry, dry_run=dry_run
    )
    print_json([asdict(file) for file in files]) if as_json else print_removed(console, files, dry_run=dry_run)


def registry_rows(project: "Project") -> list[dict[str, Any]]:
    """One row per ticker that was ever trained or judged, with the rules that failed in the gate's newest verdict."""
    from ldtm_lib.registry.listing import list_registry

    with project.database.transaction() as conn:
        return [
            asdict(entry)
            | _judged(entry.verdict)
            | {"out_of_service": entry.out_of_service and entry.out_of_service.sentence}
            for entry in list_registry(conn)
        ]


def _judged(verdict: "Verdict | None") -> dict[str, Any]:
    return {
        "passed": None if verdict is None else verdict.passed,
        "failed": [] if verdict is None else [rule.reason for rule in verdict.failures],
    }


def print_registry(console: Console, rows: list[dict[str, Any]]) -> None:
    """Print the active models, the newest candidates, and the reasons of the gate."""
    if not rows:
        console.print(
            "No model is trained yet. Run `ldtm train`, or materialize backtests, checkpoints and registry in the UI."
        )
        return
    table = rows_table()
    for name in ("ticker", "active", "candidate,\nbars up to"):
        table.add_column(name, no_wrap=True)
    table.add_column("retired\nversions", justify="right", no_wrap=True)
    table.add_column("newest verdict of the gate", min_width=24)
    for row in rows:
        table.add_row(
            row["ticker"],
            row["active_version"] or NOTHING,
            str(row["candidate_trained_on"] or NOTHING),
            str(row["num_retired"]),
            escape(_last_words(row)),
        )
    console.print(table)


def _last_words(row: dict[str, Any]) -> str:
    """Lifecycle action that keeps a passing network out of service, and failed rules, else that every rule passed."""
    said = [row["out_of_service"]] if row["out_of_service"] else []
    said += row["failed"]
    return ";\n".join(said) or ("every rule passed" if row["passed"] else NOTHING)


def requested_by(by: str | None) -> str:
    """The name that goes on record with a lifecycle action: the given one, or the operating system's user."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigurationError("the user of this process has no name; name who requests this with --by") from None


def versions_of(project: "Project", ticker: str) -> "list[VersionEntry]":
    """Every version of a ticker; raises UnknownTicker for one that is neither in the registry nor in the universe."""
    from ldtm_lib.registry.listing import list_versions

    with project.database.transaction() as conn:
        versions = list_versions(conn, ticker)
    if not versions and ticker not in project.settings.tickers:
        raise UnknownTicker(
            f"{ticker} is neither in the registry nor in the universe of {project.settings.path.name}; "
            "`ldtm registry list` shows the tickers that were trained"
        )
    return versions


def print_versions(console: Console, ticker: str, versions: "Sequence[VersionEntry]") -> None:
    """Show the versions of a ticker, when each was active and why, the newest first."""
    if not versions:
        console.print(
            f"No network of {escape(ticker)} was promoted yet; `ldtm registry list` shows the verdicts of the gate."
        )
        return
    table = rows_table(f"{escape(ticker)}, newest version first")
    for name in ("version", "trained on\nbars up to", "active from\nuntil (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("forecasts", justify="right")
    table.add_column("beginning, end,\ncheckpoint")
    for entry in versions:
        until = f"{entry.retired_at:%Y-%m-%d %H:%M}" if entry.retired_at else "[green]now[/]"
        table.add_row(
            f"[bold green]{entry.version}[/]" if entry.status == "active" else entry.version,
            str(entry.trained_on),
            f"{entry.activated_at:%Y-%m-%d %H:%M}\n{until}",
            str(entry.num_forecasts),
            escape("\n".join(line for line in (_beginning(entry), _end(entry), _file(entry)) if line)),
        )
    console.print(table)


def _beginning(entry: "VersionEntry") -> str:
    if entry.restores is None:
        return "passed the gate"
    return f"{entry.restores} restored by {entry.restored_by or 'hand'}: {entry.restored_why or 'no reason on record'}"


def _end(entry: "VersionEntry") -> str:
    if entry.retired_at is None:
        return ""
    if entry.retired_by is not None:
        return f"retired by {entry.retired_by}: {entry.retired_why}"
    return f"{'rolled back to' if entry.next_is_rollback else 'replaced by'} {entry.next_version or 'nothing'}"


def _file(entry: "VersionEntry") -> str:
    return f"checkpoint removed on {entry.file_removed_at:%Y-%m-%d}" if entry.file_removed_at else "checkpoint kept"


def print_removed(console: Console, files: "Sequence[RemovedFile]", *, dry_run: bool) -> None:
    """Show the files that were or would be removed, and the space that this frees."""
    if not files:
        console.print("No checkpoint file is unneeded: nothing to remove.")
        return
    table = rows_table()
    for name in ("ticker", "file", "model", "KiB"):
        table.add_column(name, justify="right" if name == "KiB" else "left")
    for file in files:
        table.add_row(escape(file.ticker), escape(file.file_name), _owner(file), f"{file.num_bytes / 1024:,.0f}")
    console.print(table)
    console.print()
    room = sum(file.num_bytes for file in files)
    shown = f"{mib_of(room):,} MiB" if room >= 2**20 else f"{room / 2**10:,.0f} KiB"
    console.print(
        f"{'Would remove' if dry_run else 'Removed'} {counted(len(files), 'file')}, {shown}."
        + (" Nothing was changed." if dry_run else " The rows of the registry stay."),
        highlight=False,
    )


def _owner(file: "RemovedFile") -> str:
    if file.was == "promoted":
        return f"candidate promoted as {file.version}"
    return f"retired {file.version}" if file.was == "retired" else f"candidate of {file.trained_on}"


def model_cards(project: "Project", ticker: str) -> list[dict[str, Any]]:
    """Gate results of a ticker's networks in plain words; raises UnknownTicker for a ticker that was never judged."""
    from ldtm_lib.registry.listing import judged_networks

    with project.database.transaction() as conn:
        judged = judged_networks(conn, ticker)
    if not judged:
        raise UnknownTicker(
            f"{ticker} was never judged by the gate; run `ldtm train {ticker}`, or see `ldtm registry list` for the "
            "tickers that were"
        )
    return [
        {
            "ticker": ticker,
            "version": network.version,
            "decided_at": network.decided_at,
            "passed": network.verdict.passed,
            "retired_version": network.decommissioned and network.decommissioned.version,
            "model_card": _model_card(ticker, network),
            "rules": [asdict(rule) for rule in network.verdict.rules],
            "evidence": network.verdict.evidence and network.verdict.evidence.as_dict(),
            "multiple_testing": network.verdict.multiple_testing and network.verdict.multiple_testing.as_dict(),
        }
        for network in judged
    ]


def _model_card(ticker: str, network: "JudgedNetwork") -> list[str]:
    from ldtm_lib.gate.model_card import model_card
    from ldtm_lib.registry.gate_run import decommissioned_card

    if network.decommissioned is not None:
        return decommissioned_card(network.decommissioned.sentence, ticker, network.verdict)
    return model_card(ticker, network.version, network.verdict)


def print_model_cards(console: Console, cards: list[dict[str, Any]]) -> None:
    """Show each card as a list of sentences."""
    for number, shown in enumerate(cards):
        if number:
            console.print()
        version = shown["version"] or shown["retired_version"]
        status = "active" if shown["version"] else "retired" if version else "not active"
        what = f"{shown['ticker']} {version}, {status}" if version else f"{shown['ticker']}, {status}"
        console.print(
            f"[bold]{escape(what)}[/], [dim]judged {shown['decided_at']:%Y-%m-%d %H:%M} UTC[/]", highlight=False
        )
        console.print(bullets(shown["model_card"]), highlight=False)
