"""A record of any size, such as 103 tickers over three years, written without triggers: seconds instead of minutes.

Rows have the shape of a real record, the leaves of its events are random: no proof of it holds.
"""

import io
import json
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
from psycopg import sql

from ldtm_lib.database.connection import Connection
from ldtm_lib.gate.evidence import Evidence, HorizonEvidence
from ldtm_lib.sessions import Calendar

TABLES = ("snapshot", "bar", "checkpoint", "gate_verdict", "service_entry", "ledger_event", "ledger_seal", "split")
HORIZONS = ("next_day", "next_monday", "one_month")
REACH = {"next_day": 1, "next_monday": 3, "one_month": 21}
VOLATILITY = 0.018
Z_80, Z_95 = 1.2816, 1.96
SESSIONS_PER_MODEL = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class LargeRecord:
    """What was written."""

    tickers: tuple[str, ...]
    first: date
    last: date
    num_rows: int


def write_large_record(
    conn: Connection, calendar: Calendar, last: date, *, num_tickers: int = 103, num_sessions: int = 756
) -> LargeRecord:
    """Live rows of every ticker for the sessions up to `last`, filled as far as they would be; commits.

    `conn` must be that of the owner of the tables.
    """
    random = np.random.default_rng(7)
    end = int(np.searchsorted(calendar.days, np.datetime64(last))) + 1
    days = calendar.days[end - num_sessions : end]
    dates: list[date] = days.tolist()
    tickers = tuple(f"T{number:03d}" for number in range(num_tickers))
    for table in TABLES:
        conn.execute(sql.SQL("alter table {} disable trigger user").format(sql.Identifier(table)))
    steps_TD = random.normal(0.0002, VOLATILITY, (num_tickers, num_sessions))
    close_TD = np.round(100 * np.exp(np.cumsum(steps_TD, axis=1)), 2)
    num_models = -(-num_sessions // SESSIONS_PER_MODEL)
    _write_models(conn, tickers, dates, num_models)
    _write_bars(conn, tickers, dates, close_TD, random)
    _write_rows(conn, calendar, tickers, dates, close_TD, num_models, random)
    _write_chain(conn)
    disabled = conn.execute(
        "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal and tgenabled = 'D'"
    ).fetchall()
    for table, trigger in disabled:
        enable = sql.SQL("alter table {} enable always trigger {}")
        conn.execute(enable.format(sql.Identifier(table), sql.Identifier(trigger)))
    conn.commit()
    conn.autocommit = True
    conn.execute("vacuum analyze")
    conn.autocommit = False
    return LargeRecord(tickers=tickers, first=dates[0], last=dates[-1], num_rows=num_tickers * num_sessions)


def _copy(conn: Connection, table: str, frame: pl.DataFrame) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    statement = sql.SQL("copy {} ({}) from stdin (format csv)").format(sql.Identifier(table), columns)
    buffer = io.BytesIO()
    frame.write_csv(buffer, include_header=False)
    with conn.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(buffer.getvalue())


def _write_bars(conn: Connection, tickers: tuple[str, ...], dates: list[date], close_TD, random) -> None:
    num_tickers, num_sessions = close_TD.shape
    spread = 1 + np.abs(random.normal(0, 0.008, close_TD.shape))
    opened = np.round(close_TD * np.exp(random.normal(0, 0.006, close_TD.shape)), 2)
    high, low = np.maximum(close_TD, opened) * spread, np.minimum(close_TD, opened) / spread
    recorded = [datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=23) for day in dates]
    frame = pl.DataFrame(
        {
            "ticker": np.repeat(tickers, num_sessions),
            "session": dates * num_tickers,
            "recorded_at": recorded * num_tickers,
            "open": opened.ravel(),
            "high": high.ravel(),
            "low": low.ravel(),
            "close": close_TD.ravel(),
            "volume": random.integers(100_000, 9_000_000, close_TD.size).astype(float),
            "source": ["large record"] * close_TD.size,
        }
    )
    _copy(conn, "bar", frame)


def _write_models(conn: Connection, tickers: tuple[str, ...], dates: list[date], num_models: int) -> None:
    epochs = np.arange(1, 13)
    horizon = HorizonEvidence(
        horizon="next_day",
        num_forecasts=504,
        effective_days=504.0,
        mean_error=0.0142,
        no_change_error=0.0141,
        relative_error=1.007,
        dm_statistic=-0.6,
        p_better=0.73,
        p_worse=0.27,
    )
    evidence = Evidence(
        num_test_rows=504,
        neutral_band=0.001,
        num_directional=310,
        num_correct=167,
        accuracy=167 / 310,
        effective_days=310.0,
        accuracy_low=0.483,
        accuracy_high=0.593,
        num_rises=165,
        base_rate=165 / 310,
        best_constant=165 / 310,
        pesaran_timmermann=0.8,
        timing_p=0.21,
        coin_p=0.095,
        coin_passes=0.25,
        horizons=(horizon,),
    )
    checkpoints: list[dict[str, object]] = []
    verdicts: list[dict[str, object]] = []
    for place, ticker in enumerate(tickers):
        refused = place % 9 == 8
        for number in range(num_models + 1):
            checkpoint_id = place * (num_models + 1) + number + 1
            is_candidate = number == num_models or refused
            status = "candidate" if is_candidate else "active" if number == num_models - 1 else "retired"
            trained_on = dates[min(number * SESSIONS_PER_MODEL, len(dates) - 1)]
            moment = datetime.combine(trained_on, datetime.min.time(), UTC) + timedelta(hours=22)
            losses = "{" + ",".join(f"{1 + 0.3 / epoch + 0.01 * number:.4f}" for epoch in epochs) + "}"
            checkpoints.append(
                {
                    "checkpoint_id": checkpoint_id,
                    "ticker": ticker,
                    "status": status,
                    "trained_on": trained_on,
                    **{
                        f"{name}_sha256": f"{name}{checkpoint_id}"
                        for name in ("architecture", "recipe", "data", "file")
                    },
                    "file_name": f"{'candidates/' if is_candidate else ''}{ticker}_{checkpoint_id}.pt",
                    "seed": 0,
                    "num_training_rows": 2000,
                    "num_validation_rows": 200,
                    "num_epochs": len(epochs),
                    "best_epoch": 12,
                    "validation_loss": 1.02,
                    "duration_seconds": 20.0,
                    "device": "cpu",
                    "major": None if is_candidate else 1,
                    "version": None if is_candidate else f"v1.{trained_on}",
                    "created_at": moment,
                    "activated_at": None if is_candidate else moment,
                    "retired_at": moment + timedelta(days=90) if status == "retired" else None,
                    "no_change_loss": 1.0,
                    "training_losses": losses,
                    "validation_losses": losses,
                }
            )
            passed = not is_candidate
            rule = {"rule": "direction", "figure": 0.539 if passed else 0.49, "bound": 0.52, "passed": passed}
            reason = f"direction right in {rule['figure']:.1%} of 310 calls, at least 52.0% are needed"
            verdicts.append(
                {
                    "verdict_id": checkpoint_id,
                    "ticker": ticker,
                    "trained_on": trained_on,
                    "checkpoint_id": checkpoint_id,
                    "passed": passed,
                    "rules": json.dumps([{**rule, "reason": reason}]),
                    "decided_at": moment,
                    "evidence": json.dumps(asdict(evidence)),
                }
            )
    _copy(conn, "checkpoint", pl.DataFrame(checkpoints, infer_schema_length=None))
    _copy(conn, "gate_verdict", pl.DataFrame(verdicts, infer_schema_length=None))
    entries = {
        "ticker": tickers,
        "first_session": [dates[0]] * len(tickers),
        "entered_at": [datetime.now(UTC)] * len(tickers),
    }
    _copy(conn, "service_entry", pl.DataFrame(entries))


def _write_rows(conn, calendar, tickers, dates, close_TD, num_models, random) -> None:
    num_tickers, num_sessions = close_TD.shape
    targets = [calendar.targets(day) for day in dates]
    place = {day: n for n, day in enumerate(dates)}
    recorded = [datetime.combine(day, datetime.min.time(), UTC) + timedelta(hours=23, minutes=20) for day in dates]
    columns: dict[str, object] = {
        "ticker": np.repeat(tickers, num_sessions),
        "run_date": dates * num_tickers,
        "simulation_id": [0] * close_TD.size,
        "recorded_at": recorded * num_tickers,
        "kind": ["live"] * close_TD.size,
    }
    for horizon in HORIZONS:
        columns[f"{horizon}_session"] = [getattr(target, horizon) for target in targets] * num_tickers
    refused_T = np.arange(num_tickers) % 9 == 8
    given_TD = ~(np.repeat(refused_T[:, None], num_sessions, axis=1) | (random.random(close_TD.shape) < 0.01))
    moves_TD = random.normal(0, 0.004, close_TD.shape)
    skill_T = np.linspace(-0.04, 0.06, num_tickers)
    number_D = np.minimum(np.arange(num_sessions) // SESSIONS_PER_MODEL, num_models - 1)
    checkpoint_TD = np.arange(num_tickers)[:, None] * (num_models + 1) + number_D[None] + 1
    versions = [f"v1.{dates[number * SESSIONS_PER_MODEL]}" for number in number_D]

    def optional(values) -> pl.Series:
        return pl.Series(np.asarray(values).ravel()).scatter(np.flatnonzero(~given_TD.ravel()), None)

    next_TD = np.full(close_TD.shape, np.nan)
    next_TD[:, :-1] = close_TD[:, 1:]
    honest = random.random(close_TD.shape) < 0.5 + skill_T[:, None]
    sign = np.where(honest, np.sign(next_TD - close_TD), -np.sign(next_TD - close_TD))
    moves_TD = np.abs(moves_TD) * np.where(np.isfinite(sign) & (sign != 0), sign, 1)
    pred = {"next_day": close_TD * (1 + moves_TD)}
    pred["next_monday"] = close_TD * (1 + 1.4 * moves_TD)
    pred["one_month"] = close_TD * (1 + 3 * moves_TD)
    direction = np.where(np.abs(moves_TD) <= 0.001, "neutral", np.where(moves_TD > 0, "bullish", "bearish"))
    columns["run_date_close"] = close_TD.ravel()
    for horizon in HORIZONS:
        columns[f"{horizon}_pred"] = optional(np.round(pred[horizon], 4))
    columns["direction_pred"] = optional(direction)
    reason = np.where(
        np.repeat(refused_T[:, None], num_sessions, axis=1), "has no active model", "has no bar of the session"
    )
    columns["abstained_reason"] = pl.Series(reason.ravel()).scatter(np.flatnonzero(given_TD.ravel()), None)
    columns["checkpoint_id"] = optional(checkpoint_TD)
    columns["model_version"] = optional(np.tile(versions, num_tickers).reshape(close_TD.shape))
    for name, value in (
        ("model_status", "active"),
        ("checkpoint_sha256", "c"),
        ("window_sha256", "w"),
        ("backend", "torch"),
    ):
        columns[name] = optional(np.full(close_TD.shape, value))
    columns["bars_recorded_until"] = recorded * num_tickers
    columns["volatility"] = optional(np.full(close_TD.shape, VOLATILITY))
    columns["neutral_band"] = optional(np.full(close_TD.shape, 0.001))
    for horizon in HORIZONS:
        for level, z in ((80, Z_80), (95, Z_95)):
            half = z * VOLATILITY * np.sqrt(REACH[horizon]) * close_TD
            columns[f"{horizon}_low_{level}"] = optional(np.maximum(pred[horizon] - half, 0))
            columns[f"{horizon}_high_{level}"] = optional(pred[horizon] + half)
        at_D = np.array([place.get(getattr(target, horizon), -1) for target in targets])
        actual_TD = np.where(at_D[None] >= 0, close_TD[:, at_D], np.nan)
        filled_TD = given_TD & np.isfinite(actual_TD)
        missing = np.flatnonzero(~filled_TD.ravel())
        error_TD = (np.round(pred[horizon], 4) - actual_TD) / actual_TD * 100
        columns[f"{horizon}_actual"] = pl.Series(actual_TD.ravel()).scatter(missing, None)
        columns[f"{horizon}_pct_error"] = pl.Series(error_TD.ravel()).scatter(missing, None)
        columns[f"{horizon}_filled_at"] = pl.Series(recorded * num_tickers).scatter(missing, None)
        if horizon == "next_day":
            came = np.where(actual_TD > close_TD, "bullish", np.where(actual_TD < close_TD, "bearish", "neutral"))
            columns["next_day_direction_actual"] = pl.Series(came.ravel()).scatter(missing, None)
            uncalled = np.flatnonzero(~(filled_TD & (direction != "neutral")).ravel())
            columns["next_day_direction_correct"] = pl.Series((came == direction).ravel()).scatter(uncalled, None)
    _copy(conn, "snapshot", pl.DataFrame(columns))


def _write_chain(conn: Connection) -> None:
    """An event per forecast and fill, and a seal per run date."""
    conn.execute(
        """insert into ledger_event (event_id, event, version, ticker, run_date, horizon, leaf)
        select row_number() over (order by run_date, event <> 'forecast', ticker, horizon) - 1, event,
               case event when 'forecast' then 3 else 1 end, ticker, run_date, horizon, sha256('')
        from (select 'forecast' as event, ticker, run_date, null::horizon as horizon from snapshot
              union all
              select 'fill', ticker, run_date, h::horizon from snapshot
              cross join unnest(array['next_day', 'next_monday', 'one_month']) h
              where next_day_actual is not null) events"""
    )
    conn.execute(
        """insert into ledger_seal
        select row_number() over (order by run_date) - 1, run_date, min(event_id), count(*), sha256(''), sha256(''),
               run_date + time '23:30' at time zone 'UTC', sha256(run_date::text::bytea)
        from ledger_event group by run_date"""
    )
