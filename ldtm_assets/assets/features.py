"""Inputs: what each model will be shown for a session, or why there is nothing to show."""

from collections.abc import Sequence

from ldtm_assets.partitions import Cell
from ldtm_assets.recording import Outcome
from ldtm_lib.features.windows import latest_windows
from ldtm_lib.ledger import input_windows
from ldtm_lib.prices import store
from ldtm_lib.project import Project
from ldtm_lib.sessions import Calendar


def build_features(project: Project, calendar: Calendar, cells: Sequence[Cell]) -> Outcome:
    """Compute and store the input windows of some cells, all tickers of a session in one pass."""
    outcome = Outcome()
    config = project.settings.window
    for session in sorted({cell.session for cell in cells}):
        tickers = [cell.ticker for cell in cells if cell.session == session]
        with project.database.transaction() as conn:
            bars = store.recent_bars(conn, tickers, last=session, num_bars=config.window_sessions + config.warmup_bars)
            windows = latest_windows(bars, tickers, session, calendar, config)
            input_windows.record(conn, windows)
        for window in windows:
            ready = window.not_ready is None
            outcome.done[Cell(session, window.ticker).key] = (
                {"ready": True, "window_sha256": window.sha256}
                if ready
                else {"ready": False, "reason": window.not_ready}
            )
    return outcome
