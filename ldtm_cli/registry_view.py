"""The registry in a terminal and as JSON, and what is ordered of it by hand."""

import getpass
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ldtm_lib.errors import ConfigurationError, UnknownTicker
from ldtm_lib.gate.model_card import model_card
from ldtm_lib.gate.verdict import Verdict
from ldtm_lib.project import Project
from ldtm_lib.registry import lifecycle as orders
from ldtm_lib.registry.gate_run import decommissioned_card
from ldtm_lib.registry.listing import JudgedNetwork, VersionEntry, judged_networks, list_registry, list_versions
from ldtm_lib.registry.retention import RemovedFile, prune

NOTHING = "–"


def registry_rows(project: Project) -> list[dict[str, Any]]:
    """One row per ticker that was ever trained or judged, with what failed in the gate's newest verdict."""
    with project.database.transaction() as conn:
        return [
            asdict(entry)
            | _judged(entry.verdict)
            | {"out_of_service": entry.out_of_service and entry.out_of_service.sentence}
            for entry in list_registry(conn)
        ]


def _judged(verdict: Verdict | None) -> dict[str, Any]:
    return {
        "passed": None if verdict is None else verdict.passed,
        "failed": [] if verdict is None else [rule.reason for rule in verdict.failures],
    }


def print_registry(console: Console, rows: list[dict[str, Any]]) -> None:
    """Show what is active, what waits, and why."""
    if not rows:
        console.print("Nothing was trained yet: materialize backtests, checkpoints and registry.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("ticker", "active", "candidate of", "retired"):
        table.add_column(name, no_wrap=True)
    table.add_column("the gate's last words", min_width=24)
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
    """What failed, or that nothing did; and before it the order that took a network out which had passed."""
    said = [row["out_of_service"]] if row["out_of_service"] else []
    said += row["failed"]
    return "\n".join(said) or ("every rule passed" if row["passed"] else NOTHING)


def who_orders(by: str | None) -> str:
    """The name that goes on record with an order: the given one, or that of the operating system's user."""
    if by is not None:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ConfigurationError("the user of this process has no name; say who orders this with --by") from None


def rollback_now(project: Project, ticker: str, to: str | None, *, by: str, why: str) -> orders.Rollback:
    """Bring an earlier network of a ticker back."""
    with project.database.transaction() as conn:
        return orders.rollback(
            conn,
            project.checkpoint_folder,
            ticker,
            to=to,
            ordered_by=by,
            why=why,
            architecture=project.settings.architecture,
        )


def retire_now(project: Project, ticker: str, *, by: str, why: str) -> orders.Retirement:
    """Take a ticker's active version out."""
    with project.database.transaction() as conn:
        return orders.retire(conn, ticker, ordered_by=by, why=why)


def prune_now(project: Project, *, dry_run: bool) -> list[RemovedFile]:
    """Remove the checkpoint files that nobody needs, or list them."""
    return prune(project.database, project.checkpoint_folder, config=project.settings.registry, dry_run=dry_run)


def versions_of(project: Project, ticker: str) -> list[VersionEntry]:
    """Every version of a ticker; raises UnknownTicker for one that is neither in the registry nor in the universe."""
    with project.database.transaction() as conn:
        versions = list_versions(conn, ticker)
    if not versions and ticker not in project.settings.tickers:
        raise UnknownTicker(
            f"{ticker} is neither in the registry nor in the universe of {project.settings.path.name}; "
            "`ldtm registry list` shows the tickers that were trained"
        )
    return versions


def print_versions(console: Console, ticker: str, versions: Sequence[VersionEntry]) -> None:
    """Show who spoke for a ticker and when, and how that came to be, the newest version first."""
    if not versions:
        console.print(
            f"No network of {escape(ticker)} was promoted yet; `ldtm registry list` shows what the gate said."
        )
        return
    table = Table(title=f"{escape(ticker)}, newest version first", title_justify="left", show_lines=True)
    for name in ("version", "trained on", "active from\nuntil (UTC)"):
        table.add_column(name, no_wrap=True)
    table.add_column("forecasts", justify="right")
    table.add_column("how", overflow="fold")
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


def _beginning(entry: VersionEntry) -> str:
    if entry.restores is None:
        return "passed the gate"
    return (
        f"{entry.restores} brought back by {entry.restored_by or 'hand'}: {entry.restored_why or 'no order on record'}"
    )


def _end(entry: VersionEntry) -> str:
    if entry.retired_at is None:
        return ""
    if entry.retired_by is not None:
        return f"retired by {entry.retired_by}: {entry.retired_why}"
    return f"{'rolled back to' if entry.next_is_rollback else 'replaced by'} {entry.next_version or 'nothing'}"


def _file(entry: VersionEntry) -> str:
    return f"file removed on {entry.file_removed_at:%Y-%m-%d}" if entry.file_removed_at else "file kept"


def print_removed(console: Console, files: Sequence[RemovedFile], *, dry_run: bool) -> None:
    """Show which files went, or would go, and how much room that makes."""
    if not files:
        console.print("No checkpoint file is unneeded: nothing to remove.")
        return
    table = Table()
    for name in ("ticker", "file", "of", "KiB"):
        table.add_column(name, justify="right" if name == "KiB" else "left", overflow="fold")
    for file in files:
        table.add_row(escape(file.ticker), escape(file.file_name), _owner(file), f"{file.num_bytes / 1024:,.0f}")
    console.print(table)
    room = sum(file.num_bytes for file in files)
    shown = f"{room / 2**20:,.1f} MiB" if room >= 2**20 else f"{room / 2**10:,.0f} KiB"
    console.print(
        f"{'Would remove' if dry_run else 'Removed'} {len(files)} file{'s' if len(files) != 1 else ''}, {shown}."
        + (" Nothing was changed." if dry_run else " The rows of the registry stay."),
        highlight=False,
    )


def _owner(file: RemovedFile) -> str:
    if file.was == "promoted":
        return f"the candidate that is {file.version} since"
    return f"retired {file.version}" if file.was == "retired" else f"candidate of {file.trained_on}"


def cards_of(project: Project, ticker: str) -> list[dict[str, Any]]:
    """What the gate said of a ticker's networks, in plain words; raises UnknownTicker for one that was never judged."""
    with project.database.transaction() as conn:
        judged = judged_networks(conn, ticker)
    if not judged:
        raise UnknownTicker(
            f"{ticker} was never put to the gate; materialize backtests, checkpoints and registry for it, or see "
            "`ldtm registry list` for the tickers that were"
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


def _model_card(ticker: str, network: JudgedNetwork) -> list[str]:
    if network.decommissioned is not None:
        return decommissioned_card(network.decommissioned.sentence, ticker, network.verdict)
    return model_card(ticker, network.version, network.verdict)


def print_cards(console: Console, cards: list[dict[str, Any]]) -> None:
    """Show each card as a list of sentences."""
    for shown in cards:
        version = shown["version"] or shown["retired_version"]
        status = "active" if shown["version"] else "retired" if version else "not active"
        what = f"{shown['ticker']} {version}, {status}" if version else f"{shown['ticker']}, {status}"
        console.print(f"[bold]{escape(what)}[/] [dim]judged {shown['decided_at']:%Y-%m-%d %H:%M}[/]", highlight=False)
        for line in shown["model_card"]:
            console.print(Padding(escape(f"· {line}"), (0, 0, 0, 2)), highlight=False)
