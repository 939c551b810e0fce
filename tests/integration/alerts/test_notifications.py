"""Notifications on real PostgreSQL: one a session with a table of everything, in a fixed number of statements."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from ldtm_lib.alerts.alert import Alert, raise_alerts, resolve_alerts
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.alerts.notifications import LONGEST_SUMMARY, compose_notifications
from ldtm_lib.database.connection import Connection, Database

SESSION = date(2026, 11, 20)
UI_URL = "https://ldtm.example.org/"
CHANNELS = valid_channels({"LDTM_ALERT_URLS": "json://127.0.0.1:1/T0KEN mailto://localhost?to=a@example.org"})


def ticker(name: str, summary: str = "failed 4 times: no bar", session: date | None = SESSION) -> Alert:
    return Alert(
        key=f"ticker/{session}/{name}",
        kind="ticker",
        severity="warning",
        session=session,
        subject=name,
        summary=summary,
        link=f"/assets/snapshots?partition={session}%7C{name}",
    )


CHECK = Alert(
    key="check/snapshots/complete/2026-11-20",
    kind="check",
    severity="error",
    session=SESSION,
    subject="snapshots/complete",
    summary="2 rows are\n  missing",
    link="/assets/snapshots?view=checks&checkDetail=complete",
)


def notifications(conn: Connection) -> list[tuple[date | None, str, str, str]]:
    return conn.execute("select session, severity, title, body from notification order by notification_id").fetchall()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every statement that is sent to the database from now on."""
    statements = list[object]()
    execute = psycopg.Cursor.execute

    def counting(cursor: psycopg.Cursor[object], *args: object, **kwargs: object) -> object:
        statements.append(args[0])
        return execute(cursor, *args, **kwargs)  # pyright: ignore

    monkeypatch.setattr(psycopg.Cursor, "execute", counting)
    return statements


def test_a_session_is_one_notification_with_a_table_worst_first_then_its_links(conn: Connection) -> None:
    raise_alerts(conn, [ticker("MSFT"), CHECK, ticker("AAPL")])
    assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL)) == 1
    assert notifications(conn) == [
        (
            SESSION,
            "error",
            "LDTM 2026-11-20: 1 error, 2 warnings",
            "https://ldtm.example.org/assets/snapshots?view=checks&checkDetail=complete\n"
            "\n"
            "ERROR  check   snapshots/complete  2 rows are missing\n"
            "WARN   ticker  AAPL                failed 4 times: no bar\n"
            "WARN   ticker  MSFT                failed 4 times: no bar\n"
            "\n"
            "https://ldtm.example.org/assets/snapshots?partition=2026-11-20%7CAAPL\n"
            "https://ldtm.example.org/assets/snapshots?partition=2026-11-20%7CMSFT",
        )
    ]
    assert conn.execute("select shown_as, num_attempts from notification_delivery order by shown_as").fetchall() == [
        ("json://127.0.0.1:1", 0),
        ("mailto://localhost", 0),
    ]


def test_resolved_alerts_have_a_section_of_their_own(conn: Connection) -> None:
    raise_alerts(conn, [ticker("AAPL"), ticker("IBM")])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    resolve_alerts(conn, ["ticker/2026-11-20/AAPL", "ticker/2026-11-20/IBM"])
    raise_alerts(conn, [CHECK])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    [_, (_, severity, title, body)] = notifications(conn)
    assert (severity, title) == ("error", "LDTM 2026-11-20: 1 error, 2 resolved")
    assert body.startswith(
        "https://ldtm.example.org/assets/snapshots?view=checks&checkDetail=complete\n\n"
        "ERROR  check  snapshots/complete  2 rows are missing\n\n"
        "Resolved:\n"
        "OK  ticker  AAPL  failed 4 times: no bar\n"
        "OK  ticker  IBM   failed 4 times: no bar\n"
    )
    assert compose_notifications(conn, CHANNELS, ui_url=UI_URL) == []


def test_each_session_has_its_notification_and_alerts_without_a_session_share_one(conn: Connection) -> None:
    raise_alerts(conn, [ticker("AAPL"), ticker("AAPL", session=date(2026, 11, 19)), ticker("AAPL", session=None)])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    assert {title for _, _, title, _ in notifications(conn)} == {
        "LDTM 2026-11-20: 1 warning",
        "LDTM 2026-11-19: 1 warning",
        "LDTM: 1 warning",
    }


def test_a_run_over_years_is_a_few_notifications_and_one_with_the_session_of_each_line(conn: Connection) -> None:
    sessions = [date(2025, 1, 1) + timedelta(days=n) for n in range(240)]
    raise_alerts(conn, [replace(ticker("AAPL", session=day), kind="check") for day in sessions])
    raise_alerts(conn, [ticker("IBM", session=None)])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    titles = [title for _, _, title, _ in notifications(conn)]
    assert sorted(titles) == sorted(
        [*(f"LDTM {day}: 1 warning" for day in sessions[-5:]), "LDTM 2025-01-01 to 2025-08-23: 236 warnings"]
    )
    [(session, _, _, body)] = [row for row in notifications(conn) if " to " in row[2]]
    rows = body.splitlines()[2:238]
    assert session is None
    assert rows[0] == "WARN  -           ticker  IBM   failed 4 times: no bar"
    assert rows[1:] == [f"WARN  {day}  check   AAPL  failed 4 times: no bar" for day in sessions[:-5]]
    assert compose_notifications(conn, CHANNELS, ui_url=UI_URL) == []
    resolve_alerts(conn, [f"ticker/{sessions[0]}/AAPL", *(f"ticker/{day}/AAPL" for day in sessions[-5:])])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    assert [title for _, _, title, _ in notifications(conn) if title.startswith(f"LDTM {sessions[0]}: 1")] == [
        "LDTM 2025-01-01: 1 resolved"
    ]


def test_a_notification_lists_no_more_than_its_limit_and_counts_the_rest(conn: Connection) -> None:
    raise_alerts(conn, [ticker(f"T{n:04}") for n in range(1000)])
    [number] = compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    resolve_alerts(conn, [f"ticker/{SESSION}/T{n:04}" for n in range(1000)])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    for (_, _, title, body), word in zip(notifications(conn), ("WARN", "OK"), strict=True):
        assert title in {"LDTM 2026-11-20: 1000 warnings", "LDTM 2026-11-20: 1000 resolved"}
        assert sum(line.startswith(word) for line in body.splitlines()) == 250
        assert "\nand 750 more\n" in body
    assert number == 1


def test_news_is_counted_as_such_and_a_notification_of_news_alone_is_no_warning(conn: Connection) -> None:
    raise_alerts(conn, [replace(ticker("AAPL"), kind="gate", severity="info", is_news=True)])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    [(_, severity, title, body)] = notifications(conn)
    assert (severity, title) == ("info", "LDTM 2026-11-20: 1 piece of news")
    assert "\n\nINFO  gate  AAPL  failed 4 times" in body


def test_103_failures_are_one_notification_in_as_many_statements_as_one(conn: Connection, sent: list[object]) -> None:
    used: list[int] = []
    for number in (1, 103):
        sent.clear()
        raise_alerts(conn, [ticker(f"T{n:03}", session=date(2026, 11, number % 28 + 1)) for n in range(number)])
        assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL)) == 1
        used.append(len(sent))
    assert used == [5, 5]
    [_, (_, _, title, body)] = notifications(conn)
    assert title == "LDTM 2026-11-20: 103 warnings"
    lines = body.splitlines()
    assert lines[0] == "https://ldtm.example.org/assets/snapshots?partition=2026-11-20%7CT000"
    assert [line.split()[2] for line in lines[2:105]] == [f"T{n:03}" for n in range(103)]
    assert lines[-1] == "and 83 more links under https://ldtm.example.org"


def test_a_notification_waits_for_a_run_under_way_and_not_for_ever(conn: Connection) -> None:
    now = datetime.now(UTC)
    raise_alerts(conn, [replace(ticker("AAPL"), seen_at=now - timedelta(minutes=9))])
    assert compose_notifications(conn, CHANNELS, ui_url=UI_URL, is_busy=True, hold_minutes=10) == []
    raise_alerts(conn, [replace(ticker("IBM"), seen_at=now - timedelta(minutes=11))])
    assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL, is_busy=True, hold_minutes=10)) == 1
    assert notifications(conn)[0][2] == "LDTM 2026-11-20: 2 warnings"
    raise_alerts(conn, [ticker("MSFT")])
    assert compose_notifications(conn, CHANNELS, ui_url=UI_URL, is_busy=True, hold_minutes=10) == []
    assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL, is_busy=False, hold_minutes=10)) == 1


def test_of_two_that_compose_at_once_one_composes_the_notification(database: Database) -> None:
    with database.transaction() as conn:
        raise_alerts(conn, [ticker(f"T{n:03}") for n in range(103)])

    def compose(_: int) -> list[int]:
        with database.transaction() as conn:
            return compose_notifications(conn, CHANNELS, ui_url=UI_URL)

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(compose, range(6)))
    assert sorted(len(numbers) for numbers in made) == [0, 0, 0, 0, 0, 1]


def test_a_notification_that_is_not_committed_marks_nothing_as_notified(database: Database) -> None:
    with database.transaction() as conn:
        raise_alerts(conn, [CHECK])
    with database.connect() as conn:
        assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL)) == 1
        conn.rollback()
        assert len(compose_notifications(conn, CHANNELS, ui_url=UI_URL)) == 1


def test_a_summary_is_one_line_and_cut_where_it_is_too_long(conn: Connection) -> None:
    raise_alerts(conn, [ticker("AAPL", summary="why\n\n  " * 1000)])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    [(_, _, _, body)] = notifications(conn)
    first = body.splitlines()[2]
    assert first.startswith("WARN  ticker  AAPL  why why why")
    assert first.endswith("...")
    assert len(first) == len("WARN  ticker  AAPL  ") + LONGEST_SUMMARY


def test_secrets_of_the_environment_are_in_no_notification_whoever_raised_the_alert(conn: Connection) -> None:
    raise_alerts(
        conn, [ticker("AAPL", summary="login as jane:pa/ss55 refused"), replace(CHECK, summary="of ftp://me:x@host")]
    )
    compose_notifications(
        conn, CHANNELS, ui_url=UI_URL, environ={"LDTM_DATABASE_URL": "postgresql://jane:pa%2Fss55@db/x"}
    )
    [(_, _, _, body)] = notifications(conn)
    assert "login as jane:*** refused" in body
    assert "of ftp://***@host" in body


def test_nothing_in_the_tables_has_an_address(conn: Connection) -> None:
    raise_alerts(conn, [CHECK])
    compose_notifications(conn, CHANNELS, ui_url=UI_URL)
    rows = conn.execute(
        "select a::text || d::text from notification a join notification_delivery d using (notification_id)"
    ).fetchall()
    assert len(rows) == 2
    assert not [row for (row,) in rows if "T0KEN" in row or "a@example.org" in row]
