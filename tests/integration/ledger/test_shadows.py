"""Shadows: forecasts of models that are not in use never count."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from rich.console import Console

from ldtm_cli.commands.leaderboard import print_shadows, shadows_as_dicts
from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.privileges import grant_writer_privileges
from ldtm_lib.ledger.counted_forecasts import counted_forecasts, ranks_of
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.ledger.leaderboard import leaderboard
from ldtm_lib.ledger.shadows import shadow_records
from ldtm_lib.ledger.simulations import LIVE
from ldtm_lib.ledger.snapshots import SnapshotReport
from ldtm_lib.ledger.track_record import track_record
from ldtm_lib.settings import ForecastConfig, LedgerConfig, Shadows
from tests.integration import gate_fixtures
from tests.integration.environment import NEXT_DAY, ONE_MONTH, RUN_DATE, ForecastEnvironment
from tests.integration.ledger_rows import SIMULATED, LedgerRows

OLD, MIDDLE, NEW = date(2012, 10, 31), date(2012, 11, 30), date(2012, 12, 31)


def casting(environment: ForecastEnvironment, shadows: Shadows = "both", **forecast: Any) -> ForecastEnvironment:
    return environment.with_settings(forecast=ForecastConfig(shadows=shadows, **forecast))


def retire(environment: ForecastEnvironment, ticker: str) -> None:
    gate_fixtures.retire(environment.conn, ticker)


def bring_back(environment: ForecastEnvironment, ticker: str, trained_on: date) -> None:
    """A retired network under a version of its own, as a rollback does it."""
    retire(environment, ticker)
    environment.conn.execute(
        """insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,
            file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,
            validation_loss, duration_seconds, device, major, version, restores)
        select ticker, 'active', trained_on, architecture_sha256, recipe_sha256, data_sha256, 'again.' || file_name,
            file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
            duration_seconds, device, major, version || '.again', checkpoint_id
        from checkpoint where ticker = %s and trained_on = %s""",
        (ticker, trained_on),
    )
    gate_fixtures.record_action(environment.conn, "rollback")
    (name,) = environment.conn.execute("select file_name from checkpoint where status = 'active'").fetchone() or ("",)
    (environment.folder / name).write_bytes((environment.folder / name.removeprefix("again.")).read_bytes())


def on_record(conn: Connection) -> list[tuple[str, str, date]]:
    return conn.execute(
        "select f.ticker, f.model_status, c.trained_on from shadow_forecast f join checkpoint c using (checkpoint_id)"
        " order by 1, 2"
    ).fetchall()


@contextmanager
def taken_back(environment: ForecastEnvironment) -> Iterator[None]:
    with environment.conn.transaction(force_rollback=True):
        yield


def test_a_refused_candidate_and_the_model_that_retired_last_are_heard_beside_the_row(
    environment: ForecastEnvironment,
) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"]))
    windows = {w.ticker: w for w in environment.make_windows(["AAPL", "MSFT"])}
    for trained_on in (OLD, MIDDLE):
        environment.network("AAPL", trained_on=trained_on)
        retire(environment, "AAPL")
    environment.network("AAPL", trained_on=NEW, seed=1)
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=2)
    environment.network("MSFT", status="candidate", trained_on=OLD, seed=3)
    environment.network("MSFT", status="candidate", trained_on=NEW, seed=4)
    for shadows, expected in {
        "none": [],
        "candidate": [("AAPL", "candidate", date(2013, 1, 4)), ("MSFT", "candidate", NEW)],
        "retired": [("AAPL", "retired", MIDDLE)],
        "both": [
            ("AAPL", "candidate", date(2013, 1, 4)),
            ("AAPL", "retired", MIDDLE),
            ("MSFT", "candidate", NEW),
        ],
    }.items():
        with taken_back(environment):
            report = casting(environment, shadows).take("AAPL", "MSFT")  # type: ignore[arg-type]
            assert on_record(environment.conn) == expected, shadows
            assert (report.num_shadows, report.shadow_notes) == (len(expected), ())
    report = casting(environment).take("AAPL", "MSFT")
    assert [row.abstained_reason for row in report.rows] == [None, "has no active model"]

    # Had it been the active one, the candidate would have forecast the same to the bit.
    shadow = environment.conn.execute(
        """select run_date_close, next_day_pred, next_monday_pred, one_month_pred, direction_pred, window_sha256,
            bars_recorded_until from shadow_forecast where ticker = 'MSFT'"""
    ).fetchone()
    with taken_back(environment):
        environment.conn.execute("alter table snapshot disable trigger user")
        environment.conn.execute("alter table shadow_forecast disable trigger user")
        environment.conn.execute("delete from shadow_forecast")
        environment.conn.execute("delete from snapshot")
        environment.conn.execute("alter table snapshot enable trigger user")
        environment.network("MSFT", trained_on=NEW, seed=4)
        (row,) = environment.take("MSFT").rows
    assert shadow is not None
    assert shadow == (
        *(row.run_date_close, row.next_day_pred, row.next_monday_pred, row.one_month_pred, row.direction_pred),
        *(windows["MSFT"].sha256, row.bars_recorded_until),
    )


def test_the_same_session_again_adds_nothing_and_changes_nothing(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    caster = casting(environment)
    first = caster.take("AAPL")
    rows = environment.conn.execute("select * from shadow_forecast").fetchall()
    again = caster.take("AAPL")
    assert environment.conn.execute("select * from shadow_forecast").fetchall() == rows
    assert (first.num_shadows, again.num_shadows, again.written, again.shadow_notes) == (1, 1, (), ())
    for change in (
        "update shadow_forecast set next_day_pred = 1",
        "delete from shadow_forecast",
        "truncate shadow_forecast",
    ):
        with (
            pytest.raises(psycopg.IntegrityError, match="rows of shadow_forecast are never changed"),
            taken_back(environment),
        ):
            environment.conn.execute(change.encode())


def test_no_shadow_is_of_the_model_in_use_or_knew_too_much_or_is_no_newer(environment: ForecastEnvironment) -> None:
    def shadows_of(caster: ForecastEnvironment, *, simulated: bool = True) -> list[tuple[str, str, date]]:
        with taken_back(environment):
            caster.take("AAPL", simulated=simulated)
            return on_record(environment.conn)

    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    environment.network("AAPL", status="candidate", trained_on=OLD)
    assert shadows_of(casting(environment, without_active="candidate")) == [], "it made the forecast itself"
    environment.network("AAPL", trained_on=MIDDLE, seed=1)
    assert shadows_of(casting(environment)) == [], "the candidate is older than the active model"
    environment.network("AAPL", status="candidate", trained_on=RUN_DATE, seed=2)
    assert shadows_of(casting(environment)) == [], "a simulated row takes only models trained before it"
    assert shadows_of(casting(environment), simulated=False) == [("AAPL", "candidate", RUN_DATE)]
    environment.network("AAPL", status="candidate", trained_on=NEXT_DAY, seed=3)
    assert shadows_of(casting(environment), simulated=False) == [("AAPL", "candidate", RUN_DATE)]


def test_a_network_that_was_brought_back_is_not_its_own_shadow(
    environment: ForecastEnvironment, ledger_rows: LedgerRows
) -> None:
    environment.deliver(environment.bars(["AAPL"]))
    environment.make_windows(["AAPL"])
    for seed, trained_on in enumerate((OLD, MIDDLE, NEW)):
        environment.network("AAPL", trained_on=trained_on, seed=seed)
        if trained_on != NEW:
            retire(environment, "AAPL")
    with taken_back(environment):
        bring_back(environment, "AAPL", NEW)
        casting(environment).take("AAPL", simulated=False)
        assert on_record(environment.conn) == [("AAPL", "retired", MIDDLE)], "the one that retired last is used"
    bring_back(environment, "AAPL", MIDDLE)
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    (row,) = casting(environment).take("AAPL", simulated=False).rows
    assert (row.kind, row.model_version) == ("live", "v1.2012-11-30.again")
    assert on_record(environment.conn) == [("AAPL", "retired", NEW)]
    with taken_back(environment):
        retire(environment, "AAPL")
        bring_back(environment, "AAPL", NEW)
        environment.conn.execute("set constraints all immediate")
        environment.conn.execute("alter table snapshot disable trigger user")
        environment.conn.execute("alter table shadow_forecast disable trigger user")
        environment.conn.execute("delete from shadow_forecast")
        environment.conn.execute("delete from snapshot")
        casting(environment).take("AAPL", simulated=False)
        trained = [trained_on for _, _, trained_on in on_record(environment.conn)]
    assert trained == [MIDDLE], "the network of November retired last, as .again"


def test_what_cannot_be_asked_leaves_a_note_and_the_daily_run_goes_on(environment: ForecastEnvironment) -> None:
    tickers = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    environment.deliver(environment.bars(tickers[:-1]))
    environment.make_windows(tickers)
    for ticker in tickers:
        environment.network(ticker, status="candidate", trained_on=NEW)
    (environment.folder / "AAPL_candidate_2012-12-31_0.pt").write_bytes(b"PK")
    environment.conn.execute("update checkpoint set file_removed_at = now() where ticker = 'FB'")
    report = casting(environment).take()
    assert len(report.written) == 5
    assert [ticker for ticker, _, _ in on_record(environment.conn)] == ["GOOG", "IBM"]
    sha = {t: s[:8] for t, s in environment.conn.execute("select ticker, file_sha256 from checkpoint").fetchall()}
    notes = {note.split()[0]: note for note in report.shadow_notes}
    assert sorted(notes) == ["AAPL", "FB", "MSFT"]
    assert notes["AAPL"].startswith(
        f"AAPL has no shadow of the candidate {sha['AAPL']}: AAPL has a checkpoint that was refused: "
    )
    assert notes["FB"] == f"FB has no shadow of the candidate {sha['FB']}: FB has a file that was removed"
    assert notes["MSFT"] == f"MSFT has no shadow of the candidate {sha['MSFT']}: MSFT has no bar for 2013-01-11"

    environment.network("GOOG", status="candidate", trained_on=date(2013, 1, 4), seed=1)
    changed = environment.bars(["GOOG"]).with_columns(close=environment.bars(["GOOG"])["close"] * 1.001)
    environment.deliver(changed.with_columns(high=changed["high"] * 1.01))
    environment.make_windows(["GOOG"])
    (note,) = casting(environment).take("GOOG").shadow_notes
    assert note.endswith("GOOG cannot be forecast any more: the row on record has another window or none")
    assert len(on_record(environment.conn)) == 2


def test_the_database_refuses_a_shadow_that_saw_other_bars_or_is_of_another_ticker_or_of_the_model_in_use(
    environment: ForecastEnvironment,
) -> None:
    environment.ready("AAPL", "MSFT")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    casting(environment).take("AAPL", "MSFT")
    add = """insert into shadow_forecast select s.ticker, s.run_date, s.simulation_id, c.checkpoint_id, 'candidate',
        '2000-01-01', s.run_date_close, 1, 1, 1, 'bullish', {window}, s.bars_recorded_until
        from snapshot s, checkpoint c where s.ticker = 'AAPL' and c.ticker = '{of}' and c.status = '{status}'"""
    for of, status, window, refusal in (
        ("AAPL", "candidate", "'other'", "the shadow of AAPL on 2013-01-11 used other bars than its snapshot"),
        (
            "MSFT",
            "active",
            "s.window_sha256",
            r"is of MSFT and was trained on bars up to 2012-12-31: it cannot forecast",
        ),
        ("AAPL", "active", "s.window_sha256", "made the forecast of AAPL on 2013-01-11 itself and is no shadow"),
        ("AAPL", "candidate", "s.window_sha256", "duplicate key"),
    ):
        with pytest.raises(psycopg.IntegrityError, match=refusal), taken_back(environment):
            environment.conn.execute(add.format(of=of, status=status, window=window))  # type: ignore[arg-type]


def daily_runs(environment: ForecastEnvironment, shadows: Shadows) -> tuple[list[SnapshotReport], list[object]]:
    """Two daily runs, their fills and the seal; everything that is ever shown of the record."""
    caster = casting(environment, shadows)
    days = [RUN_DATE, NEXT_DAY]
    reports = [caster.take("AAPL", "MSFT", run_date=day) for day in days]
    environment.deliver(
        environment.bars(["AAPL", "MSFT"], num_bars=360, last=date(2013, 3, 28)).filter(pl.col("session") > NEXT_DAY)
    )
    filled = fill(environment.conn, config=LedgerConfig(), as_of=ONE_MONTH)
    create_seal(environment.conn)
    shown: list[object] = [
        leaderboard(environment.conn, SIMULATED),
        track_record(environment.conn, SIMULATED),
        ranks_of(counted_forecasts(environment.conn, SIMULATED)),
        filled.num_filled,
        environment.conn.execute("select * from accuracy_30d('simulated', 1) order by ticker").fetchall(),
        environment.conn.execute(
            "select event_id, event, ticker, run_date, horizon from ledger_event order by 1"
        ).fetchall(),
        environment.conn.execute("select first_event, num_events from ledger_seal").fetchall(),
        environment.conn.execute("select ticker, run_date, horizon, actual from open_fill order by 1, 2, 3").fetchall(),
    ]
    return reports, shown


def test_no_figure_of_the_record_changes_with_shadows(environment: ForecastEnvironment, database: Database) -> None:
    environment.deliver(environment.bars(["AAPL", "MSFT"], num_bars=320, last=NEXT_DAY))
    for day in (RUN_DATE, NEXT_DAY):
        environment.make_windows(["AAPL", "MSFT"], day)
    environment.network("AAPL", trained_on=MIDDLE, seed=1)
    retire(environment, "AAPL")
    environment.network("AAPL", trained_on=NEW, seed=2)
    for ticker in ("AAPL", "MSFT"):
        environment.network(ticker, status="candidate", trained_on=date(2013, 1, 4), seed=3)
    shown: list[list[object]] = []
    for shadows, num in (("none", [0, 0]), ("both", [3, 3])):
        with taken_back(environment):
            reports, figures = daily_runs(environment, shadows)  # type: ignore[arg-type]
            assert [report.num_shadows for report in reports] == num
            shown.append(figures)
    without, with_shadows = shown
    assert with_shadows == without
    assert without[3] == 5, "AAPL's two forecasts were filled next day and Monday, the first one at a month"

    casting(environment).take("AAPL", "MSFT")
    environment.conn.commit()
    report = verify(database, environment.calendar)
    assert (report.is_intact, report.num_events) == (True, 12), (
        "three of the models, three verdicts, two of service, a simulation, a configuration, two forecasts"
    )


SPLIT_ON = date(2013, 1, 17)


def test_a_shadow_is_measured_by_what_came_on_its_own_basis(conn: Connection, ledger_rows: LedgerRows) -> None:
    """One ticker abstains, the other one has a forecast on record; both split 2:1 between run date and month."""
    ids = {ticker: ledger_rows.candidate(ticker, OLD) for ticker in ("ABSTAINS", "FORECASTS")}
    ledger_rows.forecast("FORECASTS", RUN_DATE, preds=(103.0, 103.0, 103.0))
    ledger_rows.forecast("ABSTAINS", RUN_DATE)
    conn.execute("alter table snapshot disable trigger user")
    conn.execute(
        """update snapshot set abstained_reason = 'has no active model', next_day_pred = null, next_monday_pred = null,
            one_month_pred = null, direction_pred = null, checkpoint_sha256 = null, model_status = null
        where ticker = 'ABSTAINS'"""
    )
    conn.execute("alter table snapshot enable trigger user")
    for ticker, checkpoint_id in ids.items():
        conn.execute(
            """insert into shadow_forecast select ticker, run_date, simulation_id, %s, 'candidate', now(),
                run_date_close, 99, 99, 104, 'bearish', window_sha256, bars_recorded_until
                from snapshot where ticker = %s""",
            (checkpoint_id, ticker),
        )
    conn.commit()

    def came() -> list[tuple[object, ...]]:
        return conn.execute(
            """select next_day_actual, next_day_direction_correct, one_month_actual, in_time from shadow_record
            order by ticker"""
        ).fetchall()

    assert came() == [(None, None, None, False)] * 2
    for ticker in ids:
        ledger_rows.bar(ticker, NEXT_DAY, 102)
    conn.commit()
    assert came() == [(102, False, None, False)] * 2
    for ticker in ids:
        ledger_rows.split(ticker, SPLIT_ON, 2)  # restates the bar of the next day to 51
        ledger_rows.bar(ticker, ONE_MONTH, 55)
    conn.commit()
    assert came() == [(102, False, 110, False)] * 2

    fill(conn, config=LedgerConfig(), as_of=ONE_MONTH)
    conn.commit()
    for ticker in ids:
        ledger_rows.bar(ticker, NEXT_DAY, 50.5)
    conn.commit()
    assert came() == [(101, False, 110, False), (102, False, 110, False)], "the filled actual stays for both models"

    abstains, forecasts = shadow_records(conn, SIMULATED)
    assert (abstains.ticker, abstains.name, abstains.status, abstains.num_shadows) == ("ABSTAINS", "s", "candidate", 1)
    assert (abstains.num_beside, abstains.error_beside, abstains.error_on_record) == (0, None, None)
    assert abstains.score.next_day_error == pytest.approx(100 * 2 / 101)
    assert forecasts.num_beside == 1
    assert forecasts.error_beside == forecasts.score.next_day_error == pytest.approx(100 * 3 / 102)
    assert forecasts.error_on_record == pytest.approx(100 * 1 / 102)
    assert (forecasts.score.num_directional, forecasts.score.num_correct, forecasts.score.coverage) == (1, 0, 1)
    assert (forecasts.score.accuracy_low, forecasts.score.accuracy_high) == pytest.approx((0, 0.79345), abs=1e-5)
    assert forecasts.score.next_day_no_change_error == pytest.approx(100 * 2 / 102)
    assert forecasts.score.one_month_error == pytest.approx(100 * 6 / 110)
    assert shadow_records(conn) == [], "beside simulated rows, not beside live ones"


def test_a_bar_from_before_the_close_is_not_what_came(conn: Connection, ledger_rows: LedgerRows) -> None:
    checkpoint_id = ledger_rows.candidate("AAPL", OLD)
    ledger_rows.forecast("AAPL", RUN_DATE)
    conn.execute(
        """insert into shadow_forecast select ticker, run_date, simulation_id, %s, 'candidate', now(),
            run_date_close, 99, 99, 99, 'bearish', window_sha256, bars_recorded_until from snapshot""",
        (checkpoint_id,),
    )
    conn.commit()
    by = ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=-1))  # it closes in five and a half hours
    ledger_rows.bar("AAPL", NEXT_DAY, 98)
    conn.commit()
    read = "select next_day_actual, in_time from shadow_record"
    assert conn.execute(read).fetchall() == [(None, False)]
    ledger_rows.move_the_calendar(-by)
    assert conn.execute(read).fetchall() == [(98, False)]


def test_a_shadow_beside_a_live_row_counts_when_it_was_recorded_in_time(
    environment: ForecastEnvironment, ledger_rows: LedgerRows
) -> None:
    """As when a daily run's shadows are asked for again after the session has opened, when what came is known."""
    environment.ready("AAPL", "MSFT")
    for ticker in ("AAPL", "MSFT"):
        environment.network(ticker, status="candidate", trained_on=date(2013, 1, 4), seed=5)
    ledger_rows.open_the_session_after(RUN_DATE, timedelta(hours=1))
    assert casting(environment).take("AAPL", "MSFT", simulated=False).num_shadows == 2
    environment.conn.commit()
    environment.conn.execute("alter table shadow_forecast disable trigger user")
    environment.conn.execute(
        "update shadow_forecast set recorded_at = now() + interval '61 minutes' where ticker = 'MSFT'"
    )
    kinds = environment.conn.execute("select ticker, kind, in_time from shadow_record order by ticker").fetchall()
    assert kinds == [("AAPL", "live", True), ("MSFT", "live", False)]
    assert [(record.ticker, record.num_shadows) for record in shadow_records(environment.conn)] == [("AAPL", 1)]


def test_a_model_in_use_is_compared_over_the_same_run_dates(conn: Connection, ledger_rows: LedgerRows) -> None:
    """Of three run dates the record has forecasts on two, and one of these is not filled."""
    checkpoint_id = ledger_rows.candidate("AAPL", OLD)
    days = [date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4)]
    for day in days:
        ledger_rows.forecast("AAPL", day, preds=(105.0, 105.0, 105.0))
    conn.execute("alter table snapshot disable trigger user")
    conn.execute(
        """update snapshot set abstained_reason = 'has no active model', next_day_pred = null, next_monday_pred = null,
            one_month_pred = null, direction_pred = null where run_date = %s""",
        (days[1],),
    )
    conn.execute("alter table snapshot enable trigger user")
    conn.execute(
        """insert into shadow_forecast select ticker, run_date, simulation_id, %s, 'candidate', now(),
            run_date_close, 98, 98, 98, 'bearish', window_sha256, bars_recorded_until from snapshot""",
        (checkpoint_id,),
    )
    conn.commit()
    ledger_rows.bars("AAPL", {days[1]: 100.0, days[2]: 49.0})
    fill(conn, config=LedgerConfig(), as_of=days[2])
    (record,) = shadow_records(conn, SIMULATED)
    assert (record.num_shadows, record.score.num_filled, record.num_beside) == (3, 2, 1)
    assert (record.error_beside, record.error_on_record) == pytest.approx((2.0, 5.0))
    assert record.score.next_day_error == pytest.approx((2 + 100) / 2)
    assert (record.score.first_run_date, record.score.last_run_date) == (days[0], days[1])


def test_the_role_that_runs_a_daily_run_may_add_shadows_and_nothing_else(
    environment: ForecastEnvironment, database: Database
) -> None:
    role = f"ldtm_shadow_{os.getpid()}"
    environment.ready("AAPL")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    environment.conn.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(role)))
    grant_writer_privileges(environment.conn, role, dagster_schema="ldtm_dagster")
    environment.conn.commit()
    try:
        with Database(url=make_conninfo(database.url, user=role, password="secret"), schema="ldtm").connect() as own:
            report = replace(casting(environment), conn=own).take("AAPL")
            assert (report.num_shadows, report.shadow_notes) == (1, ())
            assert len(shadow_records(own, SIMULATED)) == 1
            own.commit()
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                own.execute("update shadow_forecast set next_day_pred = 1")
    finally:
        environment.conn.rollback()
        environment.conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(role)))
        environment.conn.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))
        environment.conn.commit()


def test_shadows_of_any_number_of_tickers_take_two_statements_and_a_savepoint(
    environment: ForecastEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    tickers = ("AAPL", "GOOG", "IBM", "MSFT")
    environment.ready(*tickers)
    for ticker in tickers:
        environment.network(ticker, status="candidate", trained_on=date(2013, 1, 4), seed=5)

    executed, execute = [], psycopg.Cursor.execute
    monkeypatch.setattr(
        psycopg.Cursor,
        "execute",
        lambda own, query, *rest, **how: (executed.append(query), execute(own, query, *rest, **how))[1],
    )

    def num_statements(caster: ForecastEnvironment, *asked: str) -> int:
        executed.clear()
        with taken_back(environment):
            caster.take(*asked)
        return len(executed)

    plain = num_statements(environment, *tickers)
    assert plain > 3
    assert num_statements(casting(environment), *tickers) == num_statements(casting(environment), "IBM") == plain + 2


def test_the_command_shows_shadows_and_says_that_they_never_count(environment: ForecastEnvironment) -> None:
    environment.ready("AAPL")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    casting(environment).take("AAPL")
    environment.deliver(environment.bars(["AAPL"], num_bars=301, last=NEXT_DAY).tail(1))
    fill(environment.conn, config=LedgerConfig(), as_of=NEXT_DAY)
    records = shadow_records(environment.conn, SIMULATED)
    console = Console(width=80, color_system=None)
    with console.capture() as capture:
        print_shadows(console, records, SIMULATED)
    shown = capture.get()
    assert "Shadow forecasts, which never count, beside simulated rows" in shown
    assert "…" not in shown, "nothing is cut at 80 columns"
    lines = shown.splitlines()
    (at,) = [n for n, line in enumerate(lines) if line.startswith("AAPL")]
    assert lines[at].split()[:3] == ["AAPL", records[0].file_sha256[:8], "1"]
    assert lines[at + 1].split() == ["candidate"]
    (entry,) = shadows_as_dicts(records)
    assert (entry["ticker"], entry["counts"], entry["num_shadows"]) == ("AAPL", False, 1)
    with console.capture() as capture:
        print_shadows(console, [], LIVE)
    assert "[forecast] shadows is candidate, retired or both" in capture.get()
