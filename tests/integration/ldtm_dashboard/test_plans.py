"""Statements of the dashboard take their plans from indexes: no pass over all rows of a large table."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import SQL_FOLDER, query, read_queries

LARGE = {"snapshot", "bar", "ledger_event", "input_window", "backtest_prediction"}
LIVE = {"kind": "live", "simulation_id": 0}
PARAMETERS: dict[str, dict[str, object]] = {
    "scores": {**LIVE, "num_sessions": 30, "version": None},
    "counted_directions": {**LIVE, "num_sessions": 30, "version": None},
    "universe_days": {**LIVE, "num_sessions": 60},
    "bars": {"ticker": "T003", "since": "2026-06-01"},
    "newest_bar": {"ticker": "T003"},
    "forecasts_of_ticker": {**LIVE, "ticker": "T003", "since": "2026-06-01"},
    "splits": {"ticker": "T003"},
    "loss_curves": {"ticker": "T003", "num_rows": 4},
    "seals": {"num_rows": 10},
    "seals_by_number": {"numbers": [1, 2]},
    "daily_attempts": {"num_days": 21},
}
OF_DAGSTER = {"newest_runs", "last_verification", "statement_timeout"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def passes(conn: Connection, statement: bytes, parameters: dict[str, object]) -> list[str]:
    """The large tables that a statement reads whole."""
    row = conn.execute(b"explain (format json) " + statement, parameters).fetchone()
    assert row is not None
    plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    found = [node for node in nodes(plan[0]["Plan"]) if node["Node Type"] == "Seq Scan"]
    return [node["Relation Name"] for node in found if node["Relation Name"] in LARGE]


@pytest.mark.parametrize("name", sorted(set(read_queries(SQL_FOLDER / "queries" / "dashboard.sql")) - OF_DAGSTER))
def test_a_statement_reads_no_large_table_whole(large_conn: Connection, name: str) -> None:
    statement = read_queries(SQL_FOLDER / "queries" / "dashboard.sql")[name]
    assert passes(large_conn, statement, PARAMETERS.get(name, {})) == []


def test_the_forecasts_of_a_run_date_are_found_by_an_index(large_conn: Connection) -> None:
    newest = large_conn.execute(query("ledger.newest_run_date")).fetchone()
    assert newest is not None
    asked = {"run_date": newest[0], "ticker": None, "num_rows": None}
    assert passes(large_conn, query("ledger.newest_run_date"), {}) == []
    assert passes(large_conn, query("ledger.recorded_forecasts"), asked) == []


def test_a_pass_over_a_table_is_noticed(large_conn: Connection) -> None:
    assert passes(large_conn, b"select count(*) from snapshot where abstained_reason is null", {}) == ["snapshot"]
