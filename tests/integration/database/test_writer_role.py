"""A role that runs LDTM: it can do all that a daily run does, and nothing to what is on record."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import psycopg
import pytest
import torch
from psycopg import sql
from psycopg.conninfo import make_conninfo

from ldtm_lib.audit.sealing import create_seal
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.database.privileges import excess_privileges, grant_writer_privileges, missing_privileges
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.models import checkpoint
from ldtm_lib.models.lstm import initial_state
from ldtm_lib.registry.lifecycle import retire, rollback
from ldtm_lib.registry.retention import prune
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ArchitectureConfig, ForecastConfig, LedgerConfig, RegistryConfig
from tests.integration.environment import ForecastEnvironment
from tests.integration.gate_fixtures import pass_the_gate
from tests.integration.ledger_rows import LedgerRows

DAYS = (date(2013, 1, 2), date(2013, 1, 3))
ROLE = f"ldtm_writer_{os.getpid()}"
FINAL = {
    "backtest": "window_leaks",
    "backtest_fold": "leaks",
    "backtest_prediction": "next_day_pred",
    "gate_verdict": "passed",
    "lifecycle_action": "why",
    "shadow_forecast": "next_day_pred",
    "backtest_score": "num_correct",
    "baseline_forecast": "next_day_pred",
}
"""Tables that are only added to, with a column each."""
ATTACKS = (
    "update snapshot set next_day_pred = 1",
    "update snapshot set next_day_pct_error = 0",
    "delete from snapshot",
    "truncate snapshot cascade",
    "alter table snapshot disable trigger all",
    "drop trigger snapshot_is_written_once on snapshot",
    "create trigger mine before insert on snapshot for each row execute function is_append_only()",
    "insert into ledger_event (event_id, event, ticker, leaf) values (99, 'forecast', 'X', sha256(''))",
    "update ledger_event set leaf = sha256('')",
    "delete from ledger_seal",
    "update bar set close = 1",
    "delete from split",
    "update input_window set close = 1",
    "delete from checkpoint",
    "update checkpoint set file_sha256 = 'x'",
    "update checkpoint set restores = 1",
    "update checkpoint set leaks = '{}'",
    "alter table lifecycle_action disable trigger all",
    "create trigger mine before insert on lifecycle_action for each row execute function is_append_only()",
    *(
        attack
        for table, column in FINAL.items()
        for attack in (
            f"update {table} set {column} = {column}",
            f"delete from {table}",
            f"truncate {table} cascade",
        )
    ),
    "create or replace function pct_error(pred double precision, actual double precision) returns double precision"
    " immutable return 0",
    "set session_replication_role = replica",
    "select grant_writer_privileges('postgres')",
    "create temp table mine (like snapshot); create trigger x after insert on mine referencing new table as added"
    " for each statement execute function forecasts_are_events()",
    "create temp table mine (like checkpoint); create trigger x after insert on mine referencing new table as added"
    " for each statement execute function models_that_arrive_active_are_events()",
)
MEASURED = (
    "ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, seed, num_training_rows,"
    " num_validation_rows, num_epochs, best_epoch, validation_loss, duration_seconds, device"
)
RETIRE = "update checkpoint set status = 'retired' where status = 'active'; "
RESTORE = (
    f"insert into checkpoint ({MEASURED}, file_sha256, status, major, version, file_name, restores)"
    f" select {MEASURED}, file_sha256, 'active', major, 'v1.mine', 'mine.pt', checkpoint_id"
    " from checkpoint where trained_on = '2013-01-02'"
)
REFUSED = (
    "insert into lifecycle_action (ticker, action, checkpoint_id, requested_by, why)"
    " select ticker, 'retirement', checkpoint_id, 'eve', 'forged' from checkpoint where status = 'retired'",
    "update checkpoint set file_removed_at = now() where status = 'active'",
    "update checkpoint set retired_at = retired_at - interval '100 days'",
    "insert into overdue_fill values ('AAPL', '2013-01-02', 1, 'one_month', '2013-01-02')",
)
FORGED = {
    "insert into backtest_fold select backtest_id, 9, '2012-01-03', '2012-01-04', '2012-12-28', 1, 1, 0, 1, 0.5"
    " from backtest": "is on record: nothing is added to it",
    "insert into backtest_prediction select backtest_id, 1, '2012-12-27', 1, 2, 2, 2, 2, 2, 2 from backtest": (
        "is on record: nothing is added to it"
    ),
    "insert into gate_verdict (ticker, trained_on, passed, rules, evidence)"
    " values ('ZZZ', '2013-01-04', false, '[]', '{}')": "has evidence and names no backtest that shows it",
    RETIRE + "update checkpoint set status = 'active', major = 1, version = 'v1.mine' where status = 'candidate'": (
        "did not pass the gate and cannot be promoted"
    ),
    RETIRE + f"insert into checkpoint ({MEASURED}, file_sha256, status, major, version, file_name)"
    f" select {MEASURED}, 'mine', 'active', 1, 'v1.mine', 'mine.pt' from checkpoint where status = 'candidate'": (
        "did not pass the gate and cannot be promoted"
    ),
    RETIRE.removesuffix("; "): "without a successor and without a retirement",
    RETIRE + RESTORE: "was restored without a rollback on record",
    RETIRE + RESTORE.replace(f"select {MEASURED}", f"select {MEASURED.replace('ion_loss', 'ion_loss / 2')}"): (
        "does not restore a retired network"
    ),
}
"""What a role with the rights to add might add, after the gate refused the candidate of DAYS, with the message."""


@pytest.fixture
def writer(database: Database, conn: Connection) -> Iterator[Connection]:
    """A connection as a role with the rights that LDTM gives."""
    conn.execute(sql.SQL("drop role if exists {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("create role {} login password 'secret'").format(sql.Identifier(ROLE)))
    grant_writer_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.commit()
    with Database(url=make_conninfo(database.url, user=ROLE, password="secret"), schema="ldtm").connect() as own:
        yield own
    conn.rollback()
    conn.execute(sql.SQL("drop owned by {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("drop role {}").format(sql.Identifier(ROLE)))
    conn.commit()


def test_the_role_does_all_that_a_daily_run_does_and_the_record_verifies(
    writer: Connection, database: Database, calendar: Calendar
) -> None:
    rows = LedgerRows(writer, calendar)
    rows.forecast("AAPL", DAYS[0])
    rows.bar("AAPL", DAYS[1], 98)
    rows.promoted("AAPL", DAYS[0])
    assert fill(writer, as_of=DAYS[1], config=LedgerConfig()).num_filled == 1
    assert create_seal(writer) == 0
    writer.commit()
    report = verify(database, calendar)
    assert (report.is_intact, report.num_events) == (True, 3 + 3), "a simulation, an entry and a verdict"


def test_the_role_cannot_touch_what_is_on_record(writer: Connection, database: Database, calendar: Calendar) -> None:
    rows = LedgerRows(writer, calendar)
    rows.forecast("AAPL", DAYS[0])
    create_seal(writer)
    writer.commit()
    for attack in ATTACKS:
        *before, last = attack.split("; ")
        for part in before:
            writer.execute(part.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(last.encode())
        writer.rollback()
    assert verify(database, calendar).is_intact


def test_the_role_cannot_put_what_is_not_so_on_record(
    writer: Connection, database: Database, calendar: Calendar
) -> None:
    rows = LedgerRows(writer, calendar)
    rows.forecast("AAPL", DAYS[0])
    rows.bar("AAPL", date(2013, 2, 1), 98)
    for trained_on in DAYS:
        rows.promoted("AAPL", trained_on)
    create_seal(writer)
    writer.commit()
    for attack in REFUSED:
        with pytest.raises(psycopg.IntegrityError), writer.transaction():
            writer.execute(attack.encode())
    assert verify(database, calendar).is_intact


def test_the_role_cannot_add_what_would_overrule_the_gate(
    writer: Connection, database: Database, calendar: Calendar
) -> None:
    rows = LedgerRows(writer, calendar)
    for trained_on in DAYS:
        rows.promoted("AAPL", trained_on)
    candidate_id = rows.candidate("AAPL", date(2013, 1, 4))
    (backtest_id,) = writer.execute(
        "insert into backtest (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, plan_sha256)"
        " values ('AAPL', '2013-01-04', 'a', 'r', 'd', 'p') returning backtest_id"
    ).fetchone() or (None,)
    writer.execute(
        "insert into backtest_fold values (%s, 1, '2012-01-03', '2012-01-04', '2012-12-28', 1, 1, 0, 1, 0.5)",
        (backtest_id,),
    )
    writer.execute(
        "insert into gate_verdict (ticker, trained_on, checkpoint_id, backtest_id, passed, rules)"
        " values ('AAPL', '2013-01-04', %s, %s, false, '[]')",
        (candidate_id, backtest_id),
    )
    writer.commit()
    for attack, said in FORGED.items():
        with pytest.raises(psycopg.IntegrityError, match=said), writer.transaction():
            writer.execute(attack.encode())
    versions = writer.execute("select version from checkpoint where status = 'active'").fetchall()
    assert versions == [("v1.2013-01-03",)]
    assert verify(database, calendar).is_intact


def test_shadows_without_rights_are_reported_and_cost_the_daily_run_nothing(
    writer: Connection, conn: Connection, environment: ForecastEnvironment
) -> None:
    asked = environment.with_settings(forecast=ForecastConfig(shadows="both"))
    environment.ready("AAPL")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    conn.execute(sql.SQL("revoke insert on shadow_forecast from {}").format(sql.Identifier(ROLE)))
    conn.commit()
    report = replace(asked, conn=writer).take("AAPL")
    writer.commit()
    assert report.num_shadows == 0
    (note,) = report.shadow_notes
    message = "the database refuses the shadows of 2013-01-11: permission denied for table shadow_forecast"
    assert note.startswith(message)
    assert conn.execute("select count(*) from snapshot").fetchone() == (1,)


def test_a_connection_that_is_lost_over_shadows_is_reported_as_such(
    conn: Connection, environment: ForecastEnvironment
) -> None:
    asked = environment.with_settings(forecast=ForecastConfig(shadows="both"))
    environment.ready("AAPL")
    environment.network("AAPL", status="candidate", trained_on=date(2013, 1, 4), seed=5)
    conn.execute(
        "create function hang_up() returns trigger language plpgsql as"
        " $$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$"
    )
    conn.execute("create trigger hang_up before insert on shadow_forecast for each row execute function hang_up()")
    conn.commit()
    with pytest.raises(psycopg.OperationalError, match="terminating connection"):
        asked.take("AAPL")


def test_a_promotion_is_dated_by_the_database_whatever_the_caller_says(
    writer: Connection, database: Database, calendar: Calendar
) -> None:
    rows = LedgerRows(writer, calendar)
    checkpoint_id = rows.candidate("AAPL", DAYS[0])
    writer.execute(
        "update checkpoint set status = 'active', major = 1, version = 'v1', activated_at = '2001-01-02'"
        " where checkpoint_id = %s",
        (checkpoint_id,),
    )
    pass_the_gate(writer)
    create_seal(writer)
    writer.commit()
    assert verify(database, calendar).is_intact
    assert writer.execute("select activated_at > now() - interval '1 hour' from checkpoint").fetchone() == (True,)


def test_the_role_brings_back_retires_and_removes_files_and_the_record_verifies(
    writer: Connection, database: Database, calendar: Calendar, tmp_path: Path
) -> None:
    architecture = ArchitectureConfig(hidden=6, head_hidden=4)
    for number, trained_on in enumerate(DAYS):
        state = initial_state(architecture, torch.Generator().manual_seed(number))
        sha256 = checkpoint.write(state, tmp_path / f"{number}.pt", architecture=architecture)
        writer.execute("update checkpoint set status = 'retired' where status = 'active'")
        writer.execute(
            "insert into checkpoint (ticker, status, trained_on, architecture_sha256, recipe_sha256, data_sha256,"
            " file_name, file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch,"
            " validation_loss, duration_seconds, device, major, version)"
            " values ('AAPL', 'active', %s, 'a', 'r', 'd', %s, %s, 0, 1, 1, 1, 1, 1, 1, 'cpu', 1, %s)",
            (trained_on, f"{number}.pt", sha256, f"v1.{trained_on}"),
        )
    pass_the_gate(writer)
    writer.commit()
    back = rollback(writer, tmp_path, "AAPL", to=None, requested_by="ada", why="it is worse", architecture=architecture)
    assert back.version == "v1.2013-01-02.2"
    assert retire(writer, "AAPL", requested_by="ada", why="this one, too").version == back.version
    writer.commit()
    as_role = Database(url=make_conninfo(database.url, user=ROLE, password="secret"), schema="ldtm")
    gone = prune(as_role, tmp_path, config=RegistryConfig.model_construct(kept_retired_files=0, kept_candidate_files=0))
    assert [file.file_name for file in gone] == ["0.pt", "AAPL_ldtm_v1.2013-01-02.2.pt"]
    orders = writer.execute("select action, requested_by, database_role, why from lifecycle_action order by action_id")
    assert orders.fetchall() == [
        ("rollback", "ada", ROLE, "it is worse"),
        ("retirement", "ada", ROLE, "this one, too"),
    ]
    assert verify(database, calendar).is_intact


def test_not_even_the_owner_changes_what_a_verdict_rests_on_by_a_slip(conn: Connection) -> None:
    for table, column in FINAL.items():
        for slip in (f"update {table} set {column} = {column}", f"delete from {table}", f"truncate {table} cascade"):
            with pytest.raises(psycopg.IntegrityError, match="are never changed or removed"), conn.transaction():
                conn.execute(slip.encode())


def test_who_could_get_around_the_rules_is_said(writer: Connection, conn: Connection) -> None:
    assert excess_privileges(writer) == []
    assert excess_privileges(conn) == ["is a superuser"]
    conn.execute(sql.SQL("grant update on snapshot to {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("grant delete on snapshot, ledger_seal, gate_verdict to {}").format(sql.Identifier(ROLE)))
    conn.commit()
    assert excess_privileges(writer) == [
        "may delete from, truncate or put triggers on gate_verdict, ledger_seal, snapshot",
        "may change every column of snapshot",
    ]
    conn.execute(sql.SQL("alter table snapshot owner to {}").format(sql.Identifier(ROLE)))
    conn.commit()
    assert excess_privileges(writer)[0] == "owns snapshot, and so can switch their triggers off"
    conn.execute("alter table snapshot owner to postgres")
    conn.commit()


def test_what_the_role_may_not_and_has_to_is_said(writer: Connection, conn: Connection) -> None:
    assert (missing_privileges(writer), missing_privileges(conn)) == ([], [])
    for taken in (
        "revoke insert on lifecycle_action, shadow_forecast from {}",
        "revoke update (file_removed_at) on checkpoint from {}",
        "revoke select on shadow_record from {}",
        "revoke delete on trading_session from {}",
    ):
        conn.execute(sql.SQL(taken).format(sql.Identifier(ROLE)))
    conn.commit()
    assert missing_privileges(writer) == [
        "may not read shadow_record",
        "may not add to lifecycle_action, shadow_forecast",
        "may not write into checkpoint",
        "may not delete from trading_session",
    ]
    grant_writer_privileges(conn, ROLE, dagster_schema="ldtm_dagster")
    conn.commit()
    assert missing_privileges(writer) == []


def test_an_up_to_date_schema_is_migrated_by_a_role_that_may_create_nothing(
    writer: Connection, database: Database, calendar: Calendar
) -> None:
    assert (
        migrate(Database(url=make_conninfo(database.url, user=ROLE, password="secret"), schema="ldtm"), calendar) == []
    )


def test_a_role_without_rights_is_told_what_it_lacks(
    writer: Connection, conn: Connection, database: Database, calendar: Calendar
) -> None:
    conn.execute(sql.SQL("revoke all on schema ldtm from {}").format(sql.Identifier(ROLE)))
    conn.execute(sql.SQL("revoke all on all tables in schema ldtm from {}").format(sql.Identifier(ROLE)))
    conn.commit()
    as_role = Database(url=make_conninfo(database.url, user=ROLE, password="secret"), schema="ldtm")
    with pytest.raises(ConfigurationError, match=f"{ROLE} has no rights on schema ldtm; .* `ldtm db grant {ROLE}`"):
        migrate(as_role, calendar)


def test_a_role_that_does_not_exist_is_named(conn: Connection) -> None:
    with pytest.raises(ConfigurationError, match="PostgreSQL has no role nobody_here; create it first"):
        grant_writer_privileges(conn, "nobody_here", dagster_schema="ldtm_dagster")
