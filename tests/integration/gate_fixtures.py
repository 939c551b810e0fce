"""Verdicts and lifecycle actions, without which the registry promotes, restores and retires nothing."""

from typing import Literal

from ldtm_lib.database.connection import Connection

PASSED = """insert into gate_verdict (ticker, trained_on, checkpoint_id, passed, rules)
    select ticker, trained_on, checkpoint_id, true,
           '[{"rule": "folds", "figure": 4, "bound": 3, "passed": true, "reason": "4 folds"}]' from checkpoint
    where checkpoint_id not in (select checkpoint_id from gate_verdict where passed and checkpoint_id is not null)
      and status <> 'candidate'"""
RECORD_ACTION = """insert into lifecycle_action (ticker, action, checkpoint_id, requested_by, why)
    select ticker, %(action)s, checkpoint_id, 'ada', 'a test asks for it' from checkpoint
    where checkpoint_id not in (select checkpoint_id from lifecycle_action where action = %(action)s)
      and case %(action)s when 'rollback' then restores is not null and activated_at >= now()
                          else retired_at >= now() end"""
RETIRED = "update checkpoint set status = 'retired' where status = 'active' and ticker = coalesce(%s, ticker)"


def pass_the_gate(conn: Connection) -> None:
    """A passed verdict on every network that was promoted by hand."""
    conn.execute(PASSED)


def record_action(conn: Connection, action: Literal["rollback", "retirement"]) -> None:
    """An order for everything that came back, or retired, in this transaction."""
    conn.execute(RECORD_ACTION, {"action": action})


def retire(conn: Connection, ticker: str | None = None) -> None:
    """Take out what is active, of one ticker or of all, by an order."""
    conn.execute(RETIRED, (ticker,))
    record_action(conn, "retirement")
