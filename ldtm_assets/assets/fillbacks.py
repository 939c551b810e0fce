"""Actuals: the prices that a session's close brings to the forecasts that spoke about it."""

from collections.abc import Sequence

from ldtm_assets.partitions import Cell
from ldtm_assets.recording import Outcome
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.project import Project


def fill_actuals(project: Project, cells: Sequence[Cell]) -> Outcome:
    """Fill what is due on the evenings of some cells, each evening in one batch."""
    outcome = Outcome()
    for session in sorted({cell.session for cell in cells}):
        tickers = [cell.ticker for cell in cells if cell.session == session]
        with project.database.transaction() as conn:
            report = fill(conn, as_of=session, tickers=tickers)
        by_ticker = {row["ticker"]: row for row in report.per_ticker.iter_rows(named=True)}
        for ticker in tickers:
            row = by_ticker.get(ticker, {})
            outcome.done[Cell(session, ticker).key] = {
                name.replace("_", " "): value for name, value in row.items() if name != "ticker" and value is not None
            }
    return outcome
