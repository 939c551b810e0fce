"""The registry in a terminal and as JSON."""

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ldtm_lib.backtest.gate import Verdict
from ldtm_lib.project import Project
from ldtm_lib.registry.listing import list_registry

NOTHING = "–"


def registry_rows(project: Project) -> list[dict[str, Any]]:
    """One row per ticker that was ever trained or judged, with what failed in the gate's newest verdict."""
    with project.database.transaction() as conn:
        return [asdict(entry) | _judged(entry.verdict) for entry in list_registry(conn)]


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
    table = Table()
    for name in ("ticker", "active", "since", "candidate of", "validation loss", "retired", "the gate's last words"):
        table.add_column(name)
    for row in rows:
        loss = row["candidate_validation_loss"]
        table.add_row(
            row["ticker"],
            row["active_version"] or NOTHING,
            f"{row['activated_at']:%Y-%m-%d}" if row["activated_at"] else NOTHING,
            str(row["candidate_trained_on"] or NOTHING),
            f"{loss:.4f}" if loss is not None else NOTHING,
            str(row["num_retired"]),
            "every rule passed" if row["passed"] else escape("\n".join(row["failed"])) or NOTHING,
        )
    console.print(table)
