"""The leaderboard against a plain reference, and whose rows count."""

import math
from dataclasses import dataclass
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.leaderboard import Score, leaderboard
from ldtm_lib.sessions import Calendar, exchange_calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import SIMULATED, Model, simulation

ROUNDING = 1e-9
"""Relative: sums of up to 90 float64 in another order; the interval loses a few digits near 0."""
RUN_DATE = date(2013, 1, 2)
NEXT_DAY = date(2013, 1, 3)
DAYS = exchange_calendar().between(date(2012, 1, 3), date(2012, 6, 1))


@dataclass(frozen=True)
class Call:
    """Forecasts of one session; the same price at every horizon."""

    direction: str
    close: float
    pred: float


@dataclass(frozen=True)
class History:
    """Calls on consecutive sessions and the closes of the sessions after the first of them; None for no bar."""

    calls: list[Call]
    closes: list[float | None]


@dataclass(frozen=True)
class Forecast(Call):
    """A call and what became of it; a None actual is not filled."""

    actuals: tuple[float | None, ...]


def forecasts_of(history: History, calendar: Calendar) -> list[Forecast]:
    closes = dict(zip(DAYS[1:], history.closes, strict=False))
    return [
        Forecast(c.direction, c.close, c.pred, tuple(closes.get(day) for day in calendar.targets(run_date).as_tuple()))
        for run_date, c in zip(DAYS, history.calls, strict=False)
    ]


def reference(forecasts: list[Forecast]) -> dict[str, float | int | None]:
    """The figures of the leaderboard over the given forecasts, newest 30 with a next-day actual, in plain Python."""
    filled = [f for f in forecasts if f.actuals[0] is not None][-30:]
    return pooled(filled)


def pooled(filled: list[Forecast]) -> dict[str, float | int | None]:
    calls = [f for f in filled if f.direction != "neutral"]
    correct = sum((f.actuals[0] > f.close) == (f.direction == "bullish") and f.actuals[0] != f.close for f in calls)
    low, high = wilson(correct, len(calls))
    figures: dict[str, float | int | None] = {
        "num_filled": len(filled),
        "num_directional": len(calls),
        "num_correct": correct,
        "direction_accuracy": correct / len(calls) if calls else None,
        "accuracy_low": low,
        "accuracy_high": high,
        "coverage": len(calls) / len(filled) if filled else None,
    }
    for n, horizon in enumerate(("next_day", "next_monday", "one_month")):
        known = [(f.pred, f.close, f.actuals[n]) for f in filled if f.actuals[n] is not None]
        if n:
            figures[f"num_{horizon}"] = len(known)
        figures[f"{horizon}_error"] = mean([abs(pred - actual) / actual * 100 for pred, _, actual in known])
        figures[f"{horizon}_no_change_error"] = mean([abs(close - actual) / actual * 100 for _, close, actual in known])
    return figures


def mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def wilson(successes: int, trials: int) -> tuple[float | None, float | None]:
    """The roots of (p - x)^2 = z^2 x (1 - x) / n in x, which is how the interval is defined."""
    if not trials:
        return None, None
    z2, p = 1.959963984540054**2, successes / trials
    a, b, c = 1 + z2 / trials, -(2 * p + z2 / trials), p * p
    root = math.sqrt(b * b - 4 * a * c)
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


LEVELS = [50.0, 99.99, 100.0, 100.01, 101.5, 180.25]
PRICES, DIRECTIONS = st.sampled_from(LEVELS), st.sampled_from(["bullish", "bearish", "neutral"])
CALLS, CLOSES = st.builds(Call, direction=DIRECTIONS, close=PRICES, pred=PRICES), PRICES | st.none()
SHORT = st.builds(History, calls=st.lists(CALLS, min_size=1, max_size=4), closes=st.lists(CLOSES, max_size=26))
LONG = st.builds(
    History, calls=st.lists(CALLS, min_size=36, max_size=45), closes=st.lists(CLOSES, min_size=30, max_size=70)
)


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(universe=st.dictionaries(st.sampled_from(["AAPL", "FB", "IBM"]), SHORT | LONG, min_size=1))
def test_the_figures_are_those_of_the_plain_reference(
    conn: Connection, calendar: Calendar, universe: dict[str, History]
) -> None:
    forecasts = {ticker: forecasts_of(history, calendar) for ticker, history in universe.items()}
    with conn.transaction(force_rollback=True):
        _put_on_record(conn, calendar, universe)
        board = leaderboard(conn, SIMULATED)
    assert sorted(row.ticker for row in board.rows) == sorted(universe)
    for row in board.rows:
        _assert_equal(row.score, reference(forecasts[row.ticker]))
    counted = [[f for f in fs if f.actuals[0] is not None][-30:] for fs in forecasts.values()]
    _assert_equal(board.universe, pooled([f for fs in counted for f in fs]))
    ranked = [row for row in board.rows if row.rank is not None]
    assert [row.rank is None for row in board.rows] == sorted(row.rank is None for row in board.rows)
    keys = [(-(r.score.accuracy_low if r.score.num_directional else -1), r.score.next_day_error) for r in ranked]
    assert keys == sorted(keys)
    assert [row.rank for row in ranked] == [keys.index(key) + 1 for key in keys]


NEWCOMBE = [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0000, 0.1611), (1, 29, 0.0061, 0.1718)]
"""Statistics in Medicine 17 (1998) 857-872, table I, method 3: successes, trials and the interval to four decimals."""


def test_the_interval_is_wilsons(conn: Connection) -> None:
    for successes, trials, low, high in NEWCOMBE:
        assert _wilson(conn, successes, trials) == pytest.approx((low, high), abs=5e-5), (successes, trials)
    assert _wilson(conn, 0, 0) == (None, None)
    broken = conn.execute(
        """select k, n from generate_series(1, 60) n, generate_series(0, n) k
        where not (0 <= wilson_low(k, n) and wilson_low(k, n) <= k / n::float8
                   and k / n::float8 <= wilson_high(k, n) and wilson_high(k, n) <= 1
                   and wilson_low(k, n) < wilson_high(k, n))"""
    ).fetchall()
    assert broken == [], "an interval lies within 0 and 1 and holds the share"


def test_only_live_forecasts_count_in_the_live_leaderboard(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("LATE", RUN_DATE, kind="live")
    ledger_rows.forecast("SIMULATED", RUN_DATE, kind="simulated")
    by = ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    ledger_rows.forecast("LIVE", RUN_DATE, kind="live")
    conn.commit()
    ledger_rows.move_the_calendar(-by)
    for ticker in ("LATE", "SIMULATED", "LIVE"):
        ledger_rows.bar(ticker, NEXT_DAY, 101)
    fill(conn, config=LedgerConfig(), as_of=NEXT_DAY)
    kinds = dict(conn.execute("select ticker, kind from snapshot").fetchall())
    assert kinds == {"LATE": "late", "SIMULATED": "simulated", "LIVE": "live"}
    view = conn.execute("select ticker, rank, num_filled from ldtm_accuracy_30d").fetchall()
    assert view == [("LIVE", 1, 1)]
    assert conn.execute("select num_filled from ldtm_accuracy_30d_universe").fetchall() == [(1,)]
    live, simulated = leaderboard(conn), leaderboard(conn, SIMULATED)
    assert [(row.ticker, row.score.num_filled) for row in live.rows] == [("LIVE", 1), ("LATE", 0), ("SIMULATED", 0)]
    assert [(row.ticker, row.score.num_filled) for row in simulated.rows] == [
        ("SIMULATED", 1),
        ("LATE", 0),
        ("LIVE", 0),
    ]


def test_every_ticker_stands_with_its_newest_verdict(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.abstention("FB", RUN_DATE)
    ledger_rows.bar("AAPL", NEXT_DAY, 101)
    fill(conn, config=LedgerConfig(), as_of=NEXT_DAY)
    ledger_rows.verdict("AAPL", passed=False, reasons=["49.0% < 52%"])
    conn.execute("alter table gate_verdict disable trigger user")
    conn.execute("update gate_verdict set decided_at = decided_at + interval '1 day'")  # the clock was set back since
    ledger_rows.verdict("AAPL", passed=True)
    ledger_rows.verdict("FB", passed=False, reasons=["49.2% < 52%", "1 fold < 2"])
    aapl, fb = leaderboard(conn, SIMULATED).rows
    assert (aapl.ticker, aapl.rank, aapl.gate_passed, aapl.gate_reasons) == ("AAPL", 1, True, ())
    assert (fb.ticker, fb.rank, fb.score.num_filled, fb.score.coverage) == ("FB", None, 0, None)
    assert (fb.gate_passed, fb.gate_reasons) == (False, ("49.2% < 52%", "1 fold < 2"))


def test_the_forecaster_is_the_one_of_the_forecasts_that_count_and_not_the_one_active_now(
    conn: Connection, ledger_rows
) -> None:
    old, new = ledger_rows.promoted("AAPL", date(2012, 11, 30)), ledger_rows.promoted("AAPL", date(2012, 12, 31))
    candidate = ledger_rows.candidate("AAPL", date(2013, 1, 2))
    days = [RUN_DATE, date(2013, 1, 3), date(2013, 1, 4)]
    ledger_rows.forecast("AAPL", days[0], model=Model("candidate", None, candidate))
    assert _forecaster(conn) == ("candidate", None, date(2013, 1, 2), "v1.2012-12-31"), "no row is filled yet"
    ledger_rows.forecast("AAPL", days[1], model=Model("retired", "v1.2012-11-30", old))
    ledger_rows.bar("AAPL", days[2], 101)
    fill(conn, config=LedgerConfig(), as_of=days[2])
    assert _forecaster(conn) == ("retired", "v1.2012-11-30", date(2012, 11, 30), "v1.2012-12-31")
    ledger_rows.forecast("AAPL", days[2], model=Model("active", "v1.2012-12-31", new))
    assert _forecaster(conn) == ("retired", "v1.2012-11-30", date(2012, 11, 30), "v1.2012-12-31"), (
        "the scored rows are its"
    )
    ledger_rows.bar("AAPL", date(2013, 1, 7), 101)
    fill(conn, config=LedgerConfig(), as_of=date(2013, 1, 7))
    ledger_rows.abstention("AAPL", date(2013, 1, 7))
    assert _forecaster(conn) == ("active", "v1.2012-12-31", date(2012, 12, 31), "v1.2012-12-31")
    (live,) = leaderboard(conn).rows
    assert (live.model_status, live.model_version, live.trained_on) == (None, None, None), "no live row, no forecaster"


def test_a_ticker_that_always_abstained_had_no_forecaster(conn: Connection, ledger_rows) -> None:
    ledger_rows.promoted("AAPL", date(2012, 12, 31))
    ledger_rows.abstention("AAPL", RUN_DATE)
    assert _forecaster(conn) == (None, None, None, "v1.2012-12-31")


def test_an_empty_ledger_has_an_empty_leaderboard(conn: Connection) -> None:
    board = leaderboard(conn)
    assert (board.rows, board.universe.num_filled, board.universe.direction_accuracy) == ((), 0, None)


def _wilson(conn: Connection, successes: int, trials: int) -> tuple[float | None, float | None]:
    row = conn.execute(
        "select wilson_low(%(k)s, %(n)s), wilson_high(%(k)s, %(n)s)", {"k": successes, "n": trials}
    ).fetchone()
    assert row is not None
    return row


def _forecaster(conn: Connection) -> tuple[str | None, str | None, date | None, str | None]:
    (row,) = leaderboard(conn, SIMULATED).rows
    return row.model_status, row.model_version, row.trained_on, row.active_version


def _put_on_record(conn: Connection, calendar: Calendar, universe: dict[str, History]) -> None:
    """All forecasts on consecutive run dates, then all bars, then the fill."""
    rows = [(t, day, call) for t, h in universe.items() for day, call in zip(DAYS, h.calls, strict=False)]
    targets = [calendar.targets(day) for _, day, _ in rows]
    conn.execute(
        """insert into snapshot (ticker, run_date, simulation_id, next_day_session, next_monday_session,
            one_month_session, run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred,
            model_status, checkpoint_sha256, window_sha256, bars_recorded_until)
        select t, d, %s, s1, s2, s3, c, p, p, p, w, 'active', 'c', 'w', clock_timestamp()
        from unnest(%s::text[], %s::date[], %s::date[], %s::date[], %s::date[], %s::float8[], %s::float8[], %s::text[])
            as f (t, d, s1, s2, s3, c, p, w)""",
        (
            *(simulation(conn), [t for t, _, _ in rows], [day for _, day, _ in rows]),
            *([t.next_day for t in targets], [t.next_monday for t in targets], [t.one_month for t in targets]),
            *([c.close for _, _, c in rows], [c.pred for _, _, c in rows], [c.direction for _, _, c in rows]),
        ),
    )
    closes = [(t, day, close) for t, h in universe.items() for day, close in zip(DAYS[1:], h.closes, strict=False)]
    conn.execute(
        """insert into bar select t, d, clock_timestamp(), c, c, c, c, 1000, 'test'
        from unnest(%s::text[], %s::date[], %s::float8[]) as b (t, d, c) where c is not null""",
        [list(column) for column in zip(*closes, strict=True)] if closes else [[], [], []],
    )
    fill(conn, config=LedgerConfig(), as_of=DAYS[-1])


def _assert_equal(score: Score, expected: dict[str, float | int | None]) -> None:
    for name, value in expected.items():
        found = getattr(score, name)
        if value is None:
            assert found is None, name
        else:
            assert found == pytest.approx(value, rel=ROUNDING, abs=1e-15), name
