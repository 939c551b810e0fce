"""Point-in-time check: find forecasts that used bars recorded after them, and stored windows with look-ahead.

The check of recording times covers every row of a run date. The check of windows covers only a sample, because it
rebuilds each window.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

import numpy as np

from ldtm_lib.audit.replay import window_again
from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.features import stored_windows as input_windows
from ldtm_lib.features.look_ahead import SAMPLED_WINDOWS, Build, WindowLeaks, window_leaks
from ldtm_lib.features.windows import windows_of
from ldtm_lib.ledger.simulations import NO_SIMULATION
from ldtm_lib.ledger.snapshots import SnapshotRow, on_record
from ldtm_lib.prices.stored_bars import current_bars
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from ldtm_lib.wording import moment_text, moment_texts

FindingKind = Literal["recorded before its bars", "without its newest bar", "window of later bars", "window of no bars"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInTimeFinding:
    """One row of the ledger that used, or may have used, later bars than it names."""

    ticker: str
    run_date: date
    kind: FindingKind
    message: str
    """A sentence that names the ticker and the run date."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointInTimeReport:
    """The result of the point-in-time check of one run date."""

    run_date: date
    num_rows: int
    """Rows of the run date, abstentions included; the recording times of each were checked."""
    num_sampled: int
    """Number of these rows whose window was rebuilt."""
    findings: tuple[PointInTimeFinding, ...]

    @property
    def is_clean(self) -> bool:
        """True if nothing was found."""
        return not self.findings

    @property
    def counts(self) -> dict[str, int]:
        """Findings by kind; a kind without any is left out."""
        return dict(Counter(found.kind for found in self.findings))


def check_point_in_time(
    conn: Connection,
    calendar: Calendar,
    settings: Settings,
    *,
    run_date: date,
    tickers: Sequence[str],
    num_sampled: int,
    seed: int,
    simulation_id: int = NO_SIMULATION,
) -> PointInTimeReport:
    """Find the rows of a run date that used bars recorded after them; writes nothing.

    The bars that a row names must not have been recorded after the row, and the newest of them must be on record. For
    `num_sampled` rows of `tickers` that have a window, drawn with `seed`, the window is rebuilt from only the bars
    recorded until the row's `bars_recorded_until`, and must have the SHA-256 of the row. Later corrections of bars are
    not used and are not findings.
    """
    asked = {"run_date": run_date, "simulation_id": simulation_id}
    rows = conn.execute(query("audit.bars_of_forecasts"), asked).fetchall()
    findings = [found for ticker, *clocks in rows if (found := _clock(ticker, run_date, *clocks))]
    shown = [
        row for row in on_record(conn, run_date, sorted(set(tickers)), simulation_id) if row.window_sha256 is not None
    ]
    drawn = np.random.default_rng([seed, run_date.toordinal()]).permutation(len(shown))[:num_sampled]
    sampled = [row for n, row in enumerate(shown) if n in drawn]
    findings += [found for row in sampled if (found := _window(conn, row, settings, calendar))]
    return PointInTimeReport(run_date=run_date, num_rows=len(rows), num_sampled=len(sampled), findings=tuple(findings))


def sampled_window_leaks(
    conn: Connection,
    calendar: Calendar,
    settings: Settings,
    *,
    session: date,
    tickers: Sequence[str],
    num_sampled: int,
    num_windows: int = SAMPLED_WINDOWS,
    build: Build = windows_of,
) -> dict[str, WindowLeaks]:
    """Search the windows of a few tickers, built from the stored bars up to a session, for look-ahead.

    The session is the seed of the draw, so that a session always draws the same tickers. The result does not contain
    tickers without bars.
    """
    drawn = np.random.default_rng(session.toordinal()).permutation(sorted(set(tickers)))[:num_sampled]
    bars = current_bars(conn, drawn.tolist(), last=session)
    return window_leaks(
        bars,
        build(bars, calendar, settings.window),
        calendar,
        settings.window,
        num_samples=num_windows,
        seed=session.toordinal(),
        build=build,
    )


def _clock(
    ticker: str, run_date: date, recorded_at: datetime, bars_recorded_until: datetime, has_its_newest_bar: bool
) -> PointInTimeFinding | None:
    if bars_recorded_until > recorded_at:
        earlier, later = moment_texts(recorded_at, bars_recorded_until)
        return _found(
            ticker,
            run_date,
            "recorded before its bars",
            f"was recorded at {earlier} and names bars recorded until {later}",
        )
    if not has_its_newest_bar:
        return _found(
            ticker,
            run_date,
            "without its newest bar",
            f"names a bar recorded at {moment_text(bars_recorded_until)} as the newest of its window, but no such bar "
            "exists",
        )
    return None


def _window(conn: Connection, row: SnapshotRow, settings: Settings, calendar: Calendar) -> PointInTimeFinding | None:
    """The finding about the window of a row; None if the window is made of the bars that the row names."""
    stored = input_windows.read_shown(conn, row.run_date, row.ticker, sha256=row.window_sha256, until=row.recorded_at)
    later = {"ticker": row.ticker, "last": row.run_date, "moment": row.bars_recorded_until}
    moments: list[datetime] = [moment for (moment,) in conn.execute(query("audit.later_vintages"), later)]
    for moment in (row.bars_recorded_until, *moments):
        window = window_again(conn, row, stored, settings.window, calendar, moment=moment)
        if window is None or window.sha256 != row.window_sha256:
            continue
        if moment == row.bars_recorded_until:
            return None
        needed, stated = moment_texts(moment, row.bars_recorded_until)
        return _found(
            row.ticker,
            row.run_date,
            "window of later bars",
            f"has a window that needs bars recorded at {needed}, but names {stated} as the newest",
        )
    return _found(
        row.ticker,
        row.run_date,
        "window of no bars",
        f"has a window that does not follow from the bars recorded until {moment_text(row.bars_recorded_until)}, nor "
        "from later ones: a bar or the window was altered, or the warm-up in the settings was changed; see "
        "`ldtm replay`",
    )


def _found(ticker: str, run_date: date, kind: FindingKind, what: str) -> PointInTimeFinding:
    return PointInTimeFinding(
        ticker=ticker, run_date=run_date, kind=kind, message=f"the forecast of {ticker} on {run_date} {what}"
    )
