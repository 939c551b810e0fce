"""Outputs of `ldtm fillback`: the actuals that are due, that were filled, voided or restated."""

from dataclasses import replace
from datetime import date

import polars as pl

from ldtm_cli.commands.fillback import print_due, print_filled, print_restated
from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import VOIDED_SCHEMA, due, fill, restated_actuals
from ldtm_lib.settings import LedgerConfig
from tests.integration.ldtm_cli.kept_outputs import MOMENT, compare_at_all_widths
from tests.integration.ledger_rows import LedgerRows

THURSDAY, FRIDAY, MONDAY = date(2013, 1, 10), date(2013, 1, 11), date(2013, 1, 14)


def test_due_filled_voided_and_restated_actuals_are_printed(conn: Connection, ledger_rows: LedgerRows) -> None:
    for ticker in ("AAPL", "MSFT"):
        for run_date in (THURSDAY, FRIDAY):
            ledger_rows.forecast(ticker, run_date)
    ledger_rows.bars("AAPL", {FRIDAY: 98, MONDAY: 1234.5})
    ledger_rows.bar("MSFT", MONDAY, 27)
    conn.commit()
    rows = due(conn, as_of=MONDAY).to_dicts()
    compare_at_all_widths("fillback-dry-run", lambda console: print_due(console, rows, MONDAY))
    report = fill(conn, as_of=MONDAY, config=LedgerConfig())
    conn.commit()
    reason = "did not trade on 2013-01-11: it has later bars, and none of that session after 20 sessions"
    voided = pl.DataFrame([("MSFT", THURSDAY, "next_day", FRIDAY, reason)], schema=VOIDED_SCHEMA, orient="row")
    report = replace(report, voided=voided)
    compare_at_all_widths("fillback", lambda console: print_filled(console, report))
    ledger_rows.bar("AAPL", MONDAY, 1243.5)
    conn.commit()
    fill(conn, as_of=MONDAY, config=LedgerConfig())
    restated = restated_actuals(conn).to_dicts()
    assert restated
    compare_at_all_widths("fillback-restatements", lambda console: print_restated(console, restated), masks=MOMENT)
    compare_at_all_widths("fillback-nothing-due", lambda console: print_due(console, [], MONDAY))
