"""Whatever is done to the record by the owner of the tables is found, and named."""

import subprocess
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ldtm_lib.audit.merkle import merkle_root
from ldtm_lib.audit.publications.git_repository import GitRepository
from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.seal import GENESIS
from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.audit.verify import verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.audit.sealed_record import DAYS, Record
from tests.integration.ledger_rows import LedgerRows

ALTERATIONS = {
    "one digit of a prediction": (
        "update snapshot set one_month_pred = 101.01 where ticker = 'IBM' and run_date = '2013-01-03'",
        "the forecast of IBM on 2013-01-03 (event",
    ),
    "the last bit of a prediction": (
        "update snapshot set one_month_pred = one_month_pred * (1 + 2.3e-16)"
        " where ticker = 'IBM' and run_date = '2013-01-03'",
        "the forecast of IBM on 2013-01-03 (event",
    ),
    "the reason of an abstention": (
        "update snapshot set abstained_reason = 'was ill' where ticker = 'FB' and run_date = '2013-01-04'",
        "the forecast of FB on 2013-01-04 (event",
    ),
    "when a forecast was recorded": (
        "update snapshot set recorded_at = recorded_at - interval '1 microsecond' where ticker = 'MSFT'"
        " and run_date = '2013-01-02'",
        "the forecast of MSFT on 2013-01-02 (event",
    ),
    "what kind of row it is": (
        "update snapshot set kind = 'live' where ticker = 'MSFT' and run_date = '2013-01-02'",
        "the forecast of MSFT on 2013-01-02 (event",
    ),
    "an actual": (
        "update snapshot set next_day_actual = 99, next_day_pct_error = (101.0 - 99) / 99 * 100"
        " where ticker = 'AAPL' and run_date = '2013-01-02'",
        "the next day fill of AAPL on 2013-01-02 (event",
    ),
    "whether a direction was right": (
        "update snapshot set next_day_direction_correct = not next_day_direction_correct"
        " where ticker = 'AAPL' and run_date = '2013-01-02'",
        "the next day fill of AAPL on 2013-01-02 (event",
    ),
    "the file of a promoted model": (
        "update checkpoint set file_sha256 = 'other' where version = 'v1.2012-12-28'",
        "the promotion of AAPL (event",
    ),
    "when a model retired": (
        "update checkpoint set retired_at = retired_at + interval '1 day' where status = 'retired'",
        "the retirement of AAPL (event",
    ),
}


class Moved(Calendar):
    """The calendar with all sessions earlier or later."""

    def __init__(self, by: timedelta) -> None:
        super().__init__()
        self._by = by

    def schedule(self) -> list[tuple[date, datetime, datetime]]:
        return [(day, opens_at + self._by, closes_at + self._by) for day, opens_at, closes_at in super().schedule()]


def test_a_record_that_nobody_touched_verifies(record: Record) -> None:
    report = record.verify()
    assert report.discrepancies == ()
    assert (report.num_seals, report.num_unsealed) == (5, 0)
    assert report.num_events == 4 * 4 + 3 * (3 + 3) + 3 + 2 + 4, (
        "four sessions, three fills of each near horizon, two models, one that retired, two verdicts, four entries"
    )
    assert [(p.num_seals, p.newest, p.num_unpublished) for p in report.publications] == [(5, 4, 0)]


def test_an_empty_record_verifies(empty_record: Record) -> None:
    report = empty_record.verify()
    assert (report.is_intact, report.num_events, report.newest_seal) == (True, 0, None)


@pytest.mark.parametrize("what", ALTERATIONS)
def test_an_altered_row_is_found_and_named(record: Record, what: str) -> None:
    query, named = ALTERATIONS[what]
    with record.as_owner() as owner:
        assert owner.execute(query.encode()).rowcount == 1
    (message,) = record.messages()
    assert message.startswith(named)
    assert message.endswith("was altered after it was recorded")


def test_a_deleted_row_is_found_and_named(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("delete from snapshot where ticker = 'IBM' and run_date = '2013-01-03'")
    messages = record.messages()
    assert messages[0].startswith("the forecast of IBM on 2013-01-03 (event")
    assert messages[0].endswith("was recorded and is missing")
    assert [m.split(" (")[0] for m in messages[1:]] == [
        "the next day fill of IBM on 2013-01-03",
        "the next monday fill of IBM on 2013-01-03",
    ], "what became of it went with it"


def test_a_row_that_was_deleted_with_its_events_leaves_a_gap(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("delete from snapshot where ticker = 'IBM' and run_date = '2013-01-07'")
        (event_id,) = owner.execute(
            "delete from ledger_event where ticker = 'IBM' and run_date = '2013-01-07' returning event_id"
        ).fetchone() or (None,)
    messages = record.messages()
    assert messages[0] == f"event {event_id} was recorded and is missing"
    assert "its Merkle root is not that of its events, some of which are named above" in messages[1]


def test_swapped_rows_are_both_named(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute(
            """update snapshot s set next_day_pred = o.next_day_pred, run_date_close = o.run_date_close
            from snapshot o where s.run_date = '2013-01-07' and o.run_date = s.run_date
              and (s.ticker, o.ticker) in (('AAPL', 'IBM'), ('IBM', 'AAPL'))"""
        )
    assert [m.split(" (")[0] for m in record.messages()] == [
        "the forecast of AAPL on 2013-01-07",
        "the forecast of IBM on 2013-01-07",
    ]


def test_swapped_events_are_named_as_reordered(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("update ledger_event set event_id = event_id + 1000 where event_id in (4, 9)")
        owner.execute(
            "update ledger_event set event_id = case event_id when 1004 then 9 else 4 end where event_id > 1000"
        )
    first, second = record.verify().discrepancies[:2]
    assert (first.what, first.event_id, second.what, second.event_id) == ("reordered", 4, "reordered", 9)
    assert first.message.endswith("is at another place in the chain than where it was recorded")


def test_a_row_inserted_into_the_past_is_found_whether_or_not_the_triggers_were_off(record: Record) -> None:
    columns = """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
        abstained_reason, bars_recorded_until, recorded_at)
        values ('GOOG', '2013-01-03', 'live', '2013-01-04', '2013-01-07', '2013-02-04', 'x', '2013-01-03 21:55Z',
                '2013-01-03 22:00Z')"""
    with record.as_owner() as owner:
        owner.execute(columns.encode())
    assert record.messages() == [
        "the forecast of GOOG on 2013-01-03 was never recorded as an event: it bypassed the chain"
    ]
    with record.as_owner() as owner:
        owner.execute(
            """insert into ledger_event (event_id, event, version, ticker, run_date, leaf)
            select 43, 'forecast', 3, ticker, run_date, forecast_leaf(43, s) from snapshot s where ticker = 'GOOG'"""
        )
    (message,) = record.messages()
    assert message.startswith("the forecast of GOOG on 2013-01-03 (event 43) has a time that is not between")


def test_a_live_row_of_after_the_open_is_found_by_the_calendar_of_this_program(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute(
            """insert into snapshot (ticker, run_date, kind, next_day_session, next_monday_session, one_month_session,
                abstained_reason, bars_recorded_until, recorded_at)
            values ('GOOG', '2013-01-03', 'live', '2013-01-04', '2013-01-07', '2013-02-04', 'x', now(),
                    clock_timestamp())"""
        )
        owner.execute(
            """insert into ledger_event (event_id, event, version, ticker, run_date, leaf)
            select 43, 'forecast', 3, ticker, run_date, forecast_leaf(43, s) from snapshot s where ticker = 'GOOG'"""
        )
    (message,) = record.messages()
    assert message.endswith("is marked live and was recorded after its first target session had opened")


def test_a_moved_session_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("update trading_session set opens_at = opens_at + interval '1 hour' where session = '2013-01-04'")
    (message,) = record.messages()
    assert message.startswith(
        "session 2013-01-04 opens at 2013-01-04 15:30:00 UTC in the database and at 2013-01-04 14:30:00 UTC by "
    )


def test_a_moved_close_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute(
            "update trading_session set closes_at = closes_at - interval '1 hour' where session = '2013-01-04'"
        )
    (message,) = record.messages()
    assert message.startswith("session 2013-01-04 closes at another time in the database than by exchange-calendars: ")


def test_a_session_that_is_missing_in_the_database_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("delete from trading_session where session = '2012-06-01'")
    assert [message for message in record.messages() if message.startswith("session")] == [
        "session 2012-06-01 is missing in the database and opens at 2012-06-01 13:30:00 UTC by exchange-calendars: the "
        "table trading_session was altered, or the package's history was corrected"
    ]


def test_an_event_that_stands_twice_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute(
            """insert into ledger_event (event_id, event, version, ticker, run_date, leaf)
            select 43, 'forecast', 3, ticker, run_date, forecast_leaf(43, s)
            from snapshot s where ticker = 'IBM' and run_date = '2013-01-03'"""
        )
    assert "the forecast of IBM on 2013-01-03 (event 43) is in the chain twice" in record.messages()


def test_an_altered_seal_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("update ledger_seal set session = session - 7 where seal_id = 2")
    messages = record.messages(published=False)
    assert "seal 2 of 20" in messages[0]
    assert "its SHA-256 is not that of its header" in messages[0]


def test_a_seal_that_was_deleted_before_the_newest_one_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("delete from ledger_seal where seal_id = 1")
    (message,) = (each for each in record.messages() if "published seal" in each)
    assert "1 published seal is missing from the database, the first is seal 1" in message
    assert message.endswith("seals were deleted")


def test_hashes_rewritten_to_fit_an_altered_row_break_the_root(record: Record) -> None:
    with record.as_owner() as owner:
        _alter_with_its_hash(owner)
    (message,) = record.messages(published=False)
    assert message.endswith(": their hashes were rewritten to fit the rows, or the root was altered")


def test_a_chain_rewritten_by_the_tables_owner_is_found_by_what_was_published_and_its_first_row_named(
    record: Record,
) -> None:
    with record.as_owner() as owner:
        event_id = _alter_with_its_hash(owner)
        _rewrite_the_chain(owner)
    assert record.messages(published=False) == [], "inside of the database it fits"
    (message,) = record.messages()
    assert "seal 1 of 20" in message
    assert "and 3 later ones: the chain was rewritten" in message
    assert message.endswith(f"is event {event_id}, now the forecast of IBM on 2013-01-03")


def test_figures_of_functions_that_the_owner_replaced_are_found(empty_record: Record) -> None:
    """The record says what the functions gave, and the chain was made over that: only the prices tell."""
    empty_record.rows.bar("IBM", DAYS[0], 100)
    empty_record.rows.forecast("IBM", DAYS[0], close=100, preds=(90, 102, 103), direction="bearish", kind="late")
    empty_record.conn.execute(
        """create or replace function direction_of(price double precision, reference double precision) returns text
        immutable return 'bearish'"""
    )
    empty_record.conn.execute(
        """create or replace function pct_error(pred double precision, actual double precision)
        returns double precision immutable return 0.01"""
    )
    empty_record.daily_run(DAYS[1], tickers=("IBM",))
    assert empty_record.conn.execute(
        "select next_day_direction_correct, next_day_pct_error from snapshot where run_date = %s and ticker = 'IBM'",
        (DAYS[0],),
    ).fetchone() == (True, 0.01)
    (message,) = empty_record.altered_rows()
    assert message.startswith("the next day fill of IBM on 2013-01-02 (event")
    assert message.endswith("has a direction or an error that does not follow from its prices")


def test_a_direction_that_its_band_and_price_do_not_give_is_found(record: Record) -> None:
    record.rows.promoted("GOOG", DAYS[-1])
    record.rows.forecast("GOOG", date(2013, 1, 8), close=100, preds=(101, 102, 103), direction="bearish", kind="late")
    record.seal()
    (message,) = record.messages()
    assert message.startswith("the forecast of GOOG on 2013-01-08 (event")
    assert message.endswith("has a direction or an error that does not follow from its prices")


@pytest.mark.parametrize(
    "change",
    [
        "update bar set close = close * 1.001 where ticker = 'IBM' and session = '2013-01-04'",
        "delete from bar where ticker = 'IBM' and session = '2013-01-04'",
        "update bar set recorded_at = recorded_at + interval '1 day' where ticker = 'IBM' and session = '2013-01-04'",
    ],
)
def test_an_actual_that_its_bar_does_not_give_is_found(record: Record, change: str) -> None:
    with record.as_owner() as owner:
        owner.execute(change.encode())
    messages = record.messages()
    assert any(
        message.startswith("the next day fill of IBM on 2013-01-03 (event")
        and message.endswith("has an actual that does not follow from any stored bar of its session")
        for message in messages
    )


def test_actuals_over_splits_and_restated_bars_are_those_of_the_store(empty_record: Record) -> None:
    rows = empty_record.rows
    rows.bar("IBM", DAYS[0], 300)
    rows.forecast("IBM", DAYS[0], close=300, preds=(301, 302, 303), kind="late")
    rows.bar("IBM", DAYS[1], 306)
    rows.split("IBM", DAYS[2], 3.0)
    fill(empty_record.conn, as_of=DAYS[1], config=LedgerConfig())
    rows.bar("IBM", DAYS[2], 103)
    rows.split("IBM", DAYS[3], 0.7)
    rows.bar("IBM", DAYS[1], 150)
    rows.bar("IBM", DAYS[3], 140)
    fill(empty_record.conn, as_of=DAYS[3], config=LedgerConfig())
    empty_record.seal()
    actuals = empty_record.conn.execute("select next_day_actual, next_monday_actual from snapshot").fetchone()
    assert actuals == (pytest.approx(306), pytest.approx(140 * 3 * 0.7))
    assert empty_record.messages() == []
    with empty_record.as_owner() as owner:
        owner.execute("alter table split disable trigger all")
        owner.execute("update split set ratio = 0.75 where session = %s", (DAYS[3],))
        owner.execute("alter table split enable trigger all")
    (message,) = empty_record.messages()
    assert message.startswith("the next monday fill of IBM on 2013-01-02 (event")


def test_hashes_do_not_rest_on_the_functions_of_the_server(record: Record, server_url: str) -> None:
    """A superuser can rename `sha256` and put another one in its place, for altered rows and for honest ones."""
    name = str(conninfo_to_dict(record.database.url)["dbname"])
    with psycopg.connect(make_conninfo(server_url, dbname=name), autocommit=True) as admin:
        admin.execute("set allow_system_table_mods = on")
        admin.execute("alter function pg_catalog.sha256(bytea) rename to sha256_own")
        admin.execute(
            """create function pg_catalog.sha256(content bytea) returns bytea language plpgsql as $$
            begin
                return coalesce(
                    (select leaf from ldtm.ledger_event where event = 'forecast' and ticker = 'IBM'
                     and run_date = '2013-01-03' and position(convert_to('IBM', 'UTF8') in content) > 0
                     and position(decode('408f400000000000', 'hex') in content) > 0),
                    sha256_own(content));
            end $$"""
        )
    with record.as_owner() as owner:
        owner.execute("update snapshot set one_month_pred = 1000 where ticker = 'IBM' and run_date = '2013-01-03'")
    (message,) = record.altered_rows()
    assert message.startswith("the forecast of IBM on 2013-01-03 (event")


def test_an_old_backup_is_found(empty_record: Record, server_url: str) -> None:
    for day in DAYS[:2]:
        empty_record.daily_run(day)
    empty_record.conn.close()
    name = str(conninfo_to_dict(empty_record.database.url)["dbname"])
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(
            sql.SQL("create database {} template {}").format(sql.Identifier(f"{name}_old"), sql.Identifier(name))
        )
        with empty_record.database.connect() as conn:
            later = replace(empty_record, conn=conn, rows=LedgerRows(conn, empty_record.calendar))
            for day in DAYS[2:]:
                later.daily_run(day)
            assert later.verify().is_intact
        old = Database(url=make_conninfo(empty_record.database.url, dbname=f"{name}_old"), schema="ldtm")
        (found,) = verify(old, empty_record.calendar, [empty_record.file]).discrepancies
        admin.execute(sql.SQL("drop database {}").format(sql.Identifier(f"{name}_old")))
    assert found.message.endswith(
        "2 published seals are missing from the database, the first is seal 2; the database ends with seal 1: it is an "
        "older copy, or its end was cut off"
    )


def test_a_published_file_that_was_edited_is_found(record: Record) -> None:
    lines = record.file.path.read_text().splitlines(keepends=True)
    record.file.path.write_text("".join([lines[0], lines[1].replace('"session":"2', '"session":"1'), *lines[2:]]))
    assert record.file.path.read_text().splitlines(keepends=True) != lines
    assert any(f"{record.file.path}:2" in message for message in record.messages())


def test_what_is_not_sealed_yet_is_counted_and_still_checked(record: Record) -> None:
    record.rows.forecast("AAPL", DAYS[-1] + timedelta(days=1), kind="late")
    record.conn.commit()
    report = record.verify()
    assert (report.is_intact, report.num_unsealed) == (True, 1)
    with record.as_owner() as owner:
        owner.execute("update snapshot set next_day_pred = 9 where run_date = '2013-01-08'")
    assert [m.split(" (")[0] for m in record.messages()] == ["the forecast of AAPL on 2013-01-08"]


def _alter_with_its_hash(owner: Connection) -> int:
    """Another prediction, and the leaf of its event made to fit."""
    owner.execute("update snapshot set one_month_pred = 99 where ticker = 'IBM' and run_date = '2013-01-03'")
    (event_id,) = owner.execute(
        """update ledger_event e set leaf = forecast_leaf(event_id, s) from snapshot s
        where s.ticker = e.ticker and s.run_date = e.run_date and e.event = 'forecast'
          and e.ticker = 'IBM' and e.run_date = '2013-01-03' returning event_id"""
    ).fetchone() or (-1,)
    return event_id


def _rewrite_the_chain(owner: Connection) -> None:
    """Every seal worked out anew over the events as they are now, each keeping its moment."""
    previous = GENESIS
    for seal in read_seals(owner):
        root = merkle_root(seal.leaf_list)
        anew = replace(seal, merkle_root=root, previous_sha256=previous)
        previous = anew.expected_sha256
        owner.execute(
            "update ledger_seal set merkle_root = %s, previous_sha256 = %s, sha256 = %s where seal_id = %s",
            (root, anew.previous_sha256, previous, seal.seal_id),
        )


def test_an_event_of_a_kind_that_does_not_exist_hides_nothing(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_event drop constraint ledger_event_event_check")
        owner.execute("alter table ledger_event drop constraint ledger_event_has_a_known_version")
        owner.execute("update ledger_event set event = 'x' where ticker = 'IBM' and run_date = '2013-01-07'")
        owner.execute("delete from snapshot where ticker = 'IBM' and run_date = '2013-01-07'")
    assert "is of a kind that does not exist: its subject cannot be checked" in record.messages()[0]


LIES = {
    "an operator of the schema's own": (
        "create function alike(bytea, bytea) returns boolean immutable return false;"
        "create operator <> (leftarg = bytea, rightarg = bytea, function = alike)",
        "the operator <> is one of the schema's own",
    ),
    "a function in the place of PostgreSQL's": (
        "create function width_bucket(bigint, bigint[]) returns integer immutable return null::integer",
        "the function width_bucket stands in for one of PostgreSQL's",
    ),
    "a column of another type": (
        "create domain leaf_t as bytea; alter table ledger_event alter leaf type leaf_t",
        "the column leaf of ledger_event has a type of the schema's own",
    ),
    "hidden rows": ("alter table snapshot enable row level security", "row security hides rows of snapshot"),
    "a lost key": (
        "alter table ledger_event drop constraint ledger_event_pkey",
        "ledger_event has lost its primary key",
    ),
    "a trigger that sleeps": (
        "alter table snapshot disable trigger snapshot_is_written_once",
        "the trigger snapshot_is_written_once of snapshot is switched off",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_schema_that_could_lie_is_not_relied_on(record: Record, lie: str) -> None:
    query, message = LIES[lie]
    for part in query.split(";"):
        record.conn.execute(part.encode())
    record.conn.commit()
    assert f"{message}: the results of statements about it cannot be relied on" in record.messages()


def test_a_forecast_about_other_sessions_than_its_run_dates_is_found(record: Record) -> None:
    targets = record.calendar.targets(DAYS[-1] + timedelta(days=1))
    record.conn.execute(
        """insert into snapshot (ticker, run_date, next_day_session, next_monday_session, one_month_session,
            abstained_reason, bars_recorded_until)
        values ('IBM', '2013-01-08', %s, %s, %s, 'x', clock_timestamp())""",
        (targets.next_day + timedelta(days=1), targets.next_monday, targets.one_month),
    )
    record.conn.commit()
    (message,) = record.messages()
    assert message.endswith("names other target sessions than those of its run date")


def test_a_figure_beside_an_actual_that_is_not_there_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table snapshot drop constraint snapshot_fills_are_whole")
        owner.execute("update snapshot set one_month_pct_error = 0.1 where ticker = 'IBM' and run_date = '2013-01-03'")
    assert record.messages()[0].startswith("the forecast of IBM on 2013-01-03 (event")


def test_a_status_that_changed_without_an_event_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table checkpoint drop constraint checkpoint_retired_has_a_date")
        owner.execute("update checkpoint set status = 'retired' where status = 'active'")
    assert "the retirement of AAPL was never recorded as an event: it bypassed the chain" in record.messages()


def test_a_seal_of_the_past_over_nothing_is_found(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("alter table ledger_seal drop constraint ledger_seal_num_events_check")
        owner.execute(
            """insert into ledger_seal
            select seal_id + 1, session, first_event + num_events, 0, sha256(''), sha256, '2013-01-03', sha256
            from ledger_seal order by seal_id desc limit 1"""
        )
    (message,) = [found for found in record.messages() if "is broken" in found]
    assert "it was closed before the seal before it" in message
    assert "it covers no event" in message


def test_a_moment_at_the_end_of_time_is_found_and_ends_no_verification(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("update ledger_seal set sealed_at = 'infinity' where seal_id = 1")
    (message,) = record.messages()
    assert message.startswith("the record holds a value that cannot be read, so it was altered")


def test_whose_word_stands_for_live_forecasts_is_counted(record: Record) -> None:
    run_date = DAYS[-1]
    by = record.rows.open_the_session_after(run_date, timedelta(hours=1))
    moved = replace(record, calendar=Moved(by))
    moved.rows.forecast("GOOG", run_date, kind="live")
    moved.conn.commit()
    live = moved.verify().live
    assert (live.num_live, live.num_sealed_in_time, live.first_unsealed) == (1, 0, run_date)
    moved.seal()
    live = moved.verify().live
    assert (live.num_live, live.num_sealed_in_time, live.num_stamped_in_time) == (1, 1, 0)


def test_a_live_forecast_that_no_active_model_and_no_stored_window_stand_behind_is_found(record: Record) -> None:
    run_date = DAYS[-1]
    by = record.rows.open_the_session_after(run_date, timedelta(hours=1))
    moved = replace(record, calendar=Moved(by))
    moved.rows.forecast("GOOG", run_date, kind="live")
    moved.seal()
    (message,) = moved.altered_rows()
    assert message.startswith("the forecast of GOOG on 2013-01-07 (event")
    assert message.endswith("is marked live, but has no stored window or no model that was active by then")


@pytest.mark.parametrize(("committed_after", "num_in_time"), [(timedelta(0), 1), (timedelta(hours=2), 0)])
def test_a_publication_has_seen_in_time_what_it_committed_before_the_open(
    record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, committed_after: timedelta, num_in_time: int
) -> None:
    """Seals of an hour before the session of their forecasts opens, committed to git then or an hour after the open."""
    run_date = DAYS[-1]
    by = record.rows.open_the_session_after(run_date, timedelta(hours=1))
    monkeypatch.setenv("GIT_COMMITTER_DATE", (datetime.now(UTC) + committed_after).isoformat(timespec="seconds"))
    moved = replace(record, calendar=Moved(by))
    moved.rows.forecast("GOOG", run_date, kind="live")
    moved.seal()
    folder = tmp_path / "git"
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    repository = GitRepository(folder=folder)
    publish_missing(repository, read_seals(moved.conn))
    moved.conn.commit()
    live = verify(moved.database, moved.calendar, [moved.file, repository]).live
    assert (live.num_live, live.num_sealed_in_time) == (1, 1)
    assert [(each.name, each.num_in_time) for each in live.testimonies] == [
        ("seals in the database", 1),
        (repository.name, num_in_time),
    ]


def test_an_empty_record_and_a_remote_that_was_not_asked_are_never_intact(empty_record: Record, tmp_path: Path) -> None:
    assert empty_record.verify().verdict == "empty"
    empty_record.daily_run(DAYS[0])
    assert empty_record.verify().verdict == "intact"
    unreachable = GitRepository(folder=tmp_path / "no repository", push=True)
    report = verify(empty_record.database, empty_record.calendar, [empty_record.file, unreachable])
    assert report.unasked
    assert report.verdict != "intact"


def test_a_session_that_was_called_off_is_a_note_and_no_alarm(record: Record) -> None:
    with record.as_owner() as owner:
        owner.execute("insert into trading_session values ('2013-01-05', '2013-01-05 14:30Z', '2013-01-05 21:00Z')")
    report = record.verify()
    assert report.is_intact
    assert report.notes == ("session 2013-01-05 was called off by the exchange after it was recorded",)
