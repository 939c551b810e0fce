"""The leaderboard against a plain reference, and whose rows count."""

import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.database.connection import Connection
from ldtm_lib.ledger.leaderboard import Score, leaderboard
from ldtm_lib.sessions import Calendar

ROUNDING = 1e-9
"""Relative: sums of up to 90 float64 in another order; the interval loses a few digits near 0."""
RUN_DATE = date(2013, 1, 2)


@dataclass(frozen=True)
class Forecast:
    """A forecast and what became of it; a None actual is not filled."""

    direction: str
    close: float
    pred: float
    actuals: tuple[float | None, float | None, float | None]


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
PRICES, ACTUALS = st.sampled_from(LEVELS), st.sampled_from([*LEVELS, None])
FORECASTS = st.builds(
    Forecast,
    direction=st.sampled_from(["bullish", "bearish", "neutral"]),
    close=PRICES,
    pred=PRICES,
    actuals=st.tuples(ACTUALS, ACTUALS, ACTUALS),
)


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    universe=st.dictionaries(
        st.sampled_from(["AAPL", "FB", "IBM"]),
        st.lists(FORECASTS, min_size=1, max_size=4) | st.lists(FORECASTS, min_size=36, max_size=45),
        min_size=1,
    )
)
def test_the_figures_are_those_of_the_plain_reference(
    conn: Connection, calendar: Calendar, universe: dict[str, list[Forecast]]
) -> None:
    with conn.transaction(force_rollback=True):
        _put_on_record(conn, calendar, universe)
        board = leaderboard(conn, simulated=True)
    assert sorted(row.ticker for row in board.rows) == sorted(universe)
    for row in board.rows:
        _assert_equal(row.score, reference(universe[row.ticker]))
    counted = [[f for f in fs if f.actuals[0] is not None][-30:] for fs in universe.values()]
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


def test_only_live_forecasts_count_in_the_live_leaderboard(conn: Connection, ledger_rows, calendar: Calendar) -> None:
    ledger_rows.forecast("LATE", RUN_DATE, kind="live")
    ledger_rows.forecast("SIMULATED", RUN_DATE, kind="simulated")
    by = datetime.now(UTC) - timedelta(hours=1) - calendar.closes_at(RUN_DATE)
    _move_the_calendar(conn, by)
    ledger_rows.forecast("LIVE", RUN_DATE, kind="live")
    _move_the_calendar(conn, -by)
    conn.execute("update snapshot set next_day_actual = 101")
    kinds = dict(conn.execute("select ticker, kind from snapshot").fetchall())
    assert kinds == {"LATE": "late", "SIMULATED": "simulated", "LIVE": "live"}
    view = conn.execute("select ticker, rank, num_filled from ldtm_accuracy_30d").fetchall()
    assert view == [("LIVE", 1, 1)]
    assert conn.execute("select num_filled from ldtm_accuracy_30d_universe").fetchall() == [(1,)]
    live, simulated = leaderboard(conn), leaderboard(conn, simulated=True)
    assert [(row.ticker, row.score.num_filled) for row in live.rows] == [("LIVE", 1), ("LATE", 0), ("SIMULATED", 0)]
    assert [(row.ticker, row.score.num_filled) for row in simulated.rows] == [
        ("SIMULATED", 1),
        ("LATE", 0),
        ("LIVE", 0),
    ]


def test_every_ticker_stands_with_its_newest_verdict_and_its_model(conn: Connection, ledger_rows) -> None:
    ledger_rows.forecast("AAPL", RUN_DATE)
    ledger_rows.abstention("FB", RUN_DATE)
    conn.execute("update snapshot set next_day_actual = 101 where ticker = 'AAPL'")
    ledger_rows.verdict("AAPL", passed=False, reasons=["49.0% < 52%"])
    ledger_rows.verdict("AAPL", passed=True)
    ledger_rows.verdict("FB", passed=False, reasons=["49.2% < 52%", "1 fold < 2"])
    conn.execute(
        """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
            file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
            validation_loss, duration_seconds, device, major, version, activated_at)
        values ('AAPL', 'candidate', '2012-12-31', 'a', 'r', 'd2', 'f2', 's', 0, 1, 1, 1, 1, 1, 1, 'cpu',
                null, null, null),
               ('AAPL', 'active', '2012-11-30', 'a', 'r', 'd', 'f1', 's', 0, 1, 1, 1, 1, 1, 1, 'cpu', 1, 'v1', now())"""
    )
    aapl, fb = leaderboard(conn, simulated=True).rows
    assert (aapl.ticker, aapl.rank, aapl.gate_passed, aapl.gate_reasons) == ("AAPL", 1, True, ())
    assert (aapl.model_status, aapl.model_version, aapl.trained_on) == ("active", "v1", date(2012, 11, 30))
    assert (fb.ticker, fb.rank, fb.score.num_filled, fb.score.coverage) == ("FB", None, 0, None)
    assert (fb.gate_passed, fb.gate_reasons, fb.model_status) == (False, ("49.2% < 52%", "1 fold < 2"), None)


def test_an_empty_ledger_has_an_empty_leaderboard(conn: Connection) -> None:
    board = leaderboard(conn)
    assert (board.rows, board.universe.num_filled, board.universe.direction_accuracy) == ((), 0, None)


def _wilson(conn: Connection, successes: int, trials: int) -> tuple[float | None, float | None]:
    row = conn.execute(
        "select wilson_low(%(k)s, %(n)s), wilson_high(%(k)s, %(n)s)", {"k": successes, "n": trials}
    ).fetchone()
    assert row is not None
    return row


def _move_the_calendar(conn: Connection, by: timedelta) -> None:
    conn.execute("update trading_session set opens_at = opens_at + %s, closes_at = closes_at + %s", (by, by))


def _put_on_record(conn: Connection, calendar: Calendar, universe: dict[str, list[Forecast]]) -> None:
    """All forecasts on consecutive run dates from 2012-01-03 on, then all their actuals."""
    days = calendar.between(date(2012, 1, 3), date(2012, 6, 1))
    rows = [(t, day, f) for t, fs in universe.items() for day, f in zip(days, fs, strict=False)]
    targets = [calendar.targets(day) for _, day, _ in rows]
    conn.execute(
        """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
            run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, model_status,
            checkpoint_sha256, window_sha256, bars_recorded_until)
        select t, d, 'simulated', s1, s2, s3, c, p, p, p, w, 'active', 'c', 'w', clock_timestamp()
        from unnest(%s::text[], %s::date[], %s::date[], %s::date[], %s::date[], %s::float8[], %s::float8[], %s::text[])
            as f (t, d, s1, s2, s3, c, p, w)""",
        (
            *([t for t, _, _ in rows], [day for _, day, _ in rows]),
            *([t.next_day for t in targets], [t.next_monday for t in targets], [t.one_month for t in targets]),
            *([f.close for _, _, f in rows], [f.pred for _, _, f in rows], [f.direction for _, _, f in rows]),
        ),
    )
    conn.execute(
        """update snapshot set next_day_actual = a1, next_monday_actual = a2, one_month_actual = a3
        from unnest(%s::text[], %s::date[], %s::float8[], %s::float8[], %s::float8[]) as f (t, d, a1, a2, a3)
        where ticker = t and run_date = d""",
        ([t for t, _, _ in rows], [day for _, day, _ in rows], *([f.actuals[n] for _, _, f in rows] for n in range(3))),
    )


def _assert_equal(score: Score, expected: dict[str, float | int | None]) -> None:
    for name, value in expected.items():
        found = getattr(score, name)
        if value is None:
            assert found is None, name
        else:
            assert found == pytest.approx(value, rel=ROUNDING, abs=1e-15), name
