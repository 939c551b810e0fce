"""Messages on real PostgreSQL: one an evening with a table of everything, in a fixed number of statements."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest

from ldtm_lib.alerts.alert import Trouble, end, notice
from ldtm_lib.alerts.channels import channels
from ldtm_lib.alerts.notifications import LONGEST_SUMMARY, compose
from ldtm_lib.database.connection import Connection, Database

EVENING = date(2026, 11, 20)
PAGES = "https://ldtm.example.org/"
WAYS = channels({"LDTM_ALERT_URLS": "json://127.0.0.1:1/T0KEN mailto://localhost?to=a@example.org"})


def ticker(name: str, summary: str = "failed 4 times: no bar", evening: date | None = EVENING) -> Trouble:
    return Trouble(
        key=f"ticker/{evening}/{name}",
        kind="ticker",
        severity="warning",
        evening=evening,
        subject=name,
        summary=summary,
        link=f"/assets/snapshots?partition={evening}%7C{name}",
    )


CHECK = Trouble(
    key="check/snapshots/complete/2026-11-20",
    kind="check",
    severity="error",
    evening=EVENING,
    subject="snapshots/complete",
    summary="2 rows are\n  missing",
    link="/assets/snapshots?view=checks&checkDetail=complete",
)


def messages(conn: Connection) -> list[tuple[date | None, str, str, str]]:
    return conn.execute("select evening, severity, title, body from alert order by alert_id").fetchall()


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


def test_an_evening_is_one_message_with_a_table_worst_first_then_its_pages(conn: Connection) -> None:
    notice(conn, [ticker("MSFT"), CHECK, ticker("AAPL")])
    assert len(compose(conn, WAYS, pages_url=PAGES)) == 1
    assert messages(conn) == [
        (
            EVENING,
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
    assert conn.execute("select shown_as, num_attempts from alert_delivery order by shown_as").fetchall() == [
        ("json://127.0.0.1:1", 0),
        ("mailto://localhost", 0),
    ]


def test_what_is_well_again_has_a_section_of_its_own(conn: Connection) -> None:
    notice(conn, [ticker("AAPL"), ticker("IBM")])
    compose(conn, WAYS, pages_url=PAGES)
    end(conn, ["ticker/2026-11-20/AAPL", "ticker/2026-11-20/IBM"])
    notice(conn, [CHECK])
    compose(conn, WAYS, pages_url=PAGES)
    [_, (_, severity, title, body)] = messages(conn)
    assert (severity, title) == ("error", "LDTM 2026-11-20: 1 error, 2 recovered")
    assert body.startswith(
        "https://ldtm.example.org/assets/snapshots?view=checks&checkDetail=complete\n\n"
        "ERROR  check  snapshots/complete  2 rows are missing\n\n"
        "Recovered:\n"
        "OK  ticker  AAPL  failed 4 times: no bar\n"
        "OK  ticker  IBM   failed 4 times: no bar\n"
    )
    assert compose(conn, WAYS, pages_url=PAGES) == []


def test_each_evening_has_its_message_and_what_is_of_none_another(conn: Connection) -> None:
    notice(conn, [ticker("AAPL"), ticker("AAPL", evening=date(2026, 11, 19)), ticker("AAPL", evening=None)])
    compose(conn, WAYS, pages_url=PAGES)
    assert {title for _, _, title, _ in messages(conn)} == {
        "LDTM 2026-11-20: 1 warning",
        "LDTM 2026-11-19: 1 warning",
        "LDTM: 1 warning",
    }


def test_a_run_over_years_is_a_few_messages_and_one_with_the_session_of_each_line(conn: Connection) -> None:
    sessions = [date(2025, 1, 1) + timedelta(days=n) for n in range(240)]
    notice(conn, [replace(ticker("AAPL", evening=day), kind="check") for day in sessions])
    notice(conn, [ticker("IBM", evening=None)])
    compose(conn, WAYS, pages_url=PAGES)
    titles = [title for _, _, title, _ in messages(conn)]
    assert sorted(titles) == sorted(
        [*(f"LDTM {day}: 1 warning" for day in sessions[-5:]), "LDTM 2025-01-01 to 2025-08-23: 236 warnings"]
    )
    [(evening, _, _, body)] = [row for row in messages(conn) if " to " in row[2]]
    rows = body.splitlines()[2:238]
    assert evening is None
    assert rows[0] == "WARN  -           ticker  IBM   failed 4 times: no bar"
    assert rows[1:] == [f"WARN  {day}  check   AAPL  failed 4 times: no bar" for day in sessions[:-5]]
    assert compose(conn, WAYS, pages_url=PAGES) == []
    end(conn, [f"ticker/{sessions[0]}/AAPL", *(f"ticker/{day}/AAPL" for day in sessions[-5:])])
    compose(conn, WAYS, pages_url=PAGES)
    assert [title for _, _, title, _ in messages(conn) if title.startswith(f"LDTM {sessions[0]}: 1")] == [
        "LDTM 2025-01-01: 1 recovered"
    ]


def test_a_message_lists_no_more_than_it_may_and_says_how_many_there_are(conn: Connection) -> None:
    notice(conn, [ticker(f"T{n:04}") for n in range(1000)])
    [number] = compose(conn, WAYS, pages_url=PAGES)
    end(conn, [f"ticker/{EVENING}/T{n:04}" for n in range(1000)])
    compose(conn, WAYS, pages_url=PAGES)
    for (_, _, title, body), word in zip(messages(conn), ("WARN", "OK"), strict=True):
        assert title in {"LDTM 2026-11-20: 1000 warnings", "LDTM 2026-11-20: 1000 recovered"}
        assert sum(line.startswith(word) for line in body.splitlines()) == 250
        assert "\nand 750 more\n" in body
    assert number == 1


def test_news_is_counted_as_such_and_a_message_of_news_alone_is_no_warning(conn: Connection) -> None:
    notice(conn, [replace(ticker("AAPL"), kind="gate", severity="info", is_news=True)])
    compose(conn, WAYS, pages_url=PAGES)
    [(_, severity, title, body)] = messages(conn)
    assert (severity, title) == ("info", "LDTM 2026-11-20: 1 piece of news")
    assert "\n\nINFO  gate  AAPL  failed 4 times" in body


def test_103_failures_are_one_message_in_as_many_statements_as_one(conn: Connection, sent: list[object]) -> None:
    used: list[int] = []
    for number in (1, 103):
        sent.clear()
        notice(conn, [ticker(f"T{n:03}", evening=date(2026, 11, number % 28 + 1)) for n in range(number)])
        assert len(compose(conn, WAYS, pages_url=PAGES)) == 1
        used.append(len(sent))
    assert used == [5, 5]
    [_, (_, _, title, body)] = messages(conn)
    assert title == "LDTM 2026-11-20: 103 warnings"
    lines = body.splitlines()
    assert lines[0] == "https://ldtm.example.org/assets/snapshots?partition=2026-11-20%7CT000"
    assert [line.split()[2] for line in lines[2:105]] == [f"T{n:03}" for n in range(103)]
    assert lines[-1] == "and 83 more pages under https://ldtm.example.org"


def test_while_a_run_may_have_more_to_say_a_message_waits_and_not_for_ever(conn: Connection) -> None:
    now = datetime.now(UTC)
    notice(conn, [replace(ticker("AAPL"), seen_at=now - timedelta(minutes=9))])
    assert compose(conn, WAYS, pages_url=PAGES, is_busy=True, hold_minutes=10) == []
    notice(conn, [replace(ticker("IBM"), seen_at=now - timedelta(minutes=11))])
    assert len(compose(conn, WAYS, pages_url=PAGES, is_busy=True, hold_minutes=10)) == 1
    assert messages(conn)[0][2] == "LDTM 2026-11-20: 2 warnings"
    notice(conn, [ticker("MSFT")])
    assert compose(conn, WAYS, pages_url=PAGES, is_busy=True, hold_minutes=10) == []
    assert len(compose(conn, WAYS, pages_url=PAGES, is_busy=False, hold_minutes=10)) == 1


def test_of_two_who_look_at_once_one_tells_it(database: Database) -> None:
    with database.transaction() as conn:
        notice(conn, [ticker(f"T{n:03}") for n in range(103)])

    def look(_: int) -> list[int]:
        with database.transaction() as conn:
            return compose(conn, WAYS, pages_url=PAGES)

    with ThreadPoolExecutor(6) as threads:
        made = list(threads.map(look, range(6)))
    assert sorted(len(numbers) for numbers in made) == [0, 0, 0, 0, 0, 1]


def test_a_message_that_is_not_committed_has_told_nothing(database: Database) -> None:
    with database.transaction() as conn:
        notice(conn, [CHECK])
    with database.connect() as conn:
        assert len(compose(conn, WAYS, pages_url=PAGES)) == 1
        conn.rollback()
        assert len(compose(conn, WAYS, pages_url=PAGES)) == 1


def test_a_summary_is_one_line_and_cut_where_it_is_too_long(conn: Connection) -> None:
    notice(conn, [ticker("AAPL", summary="why\n\n  " * 1000)])
    compose(conn, WAYS, pages_url=PAGES)
    [(_, _, _, body)] = messages(conn)
    first = body.splitlines()[2]
    assert first.startswith("WARN  ticker  AAPL  why why why")
    assert first.endswith("...")
    assert len(first) == len("WARN  ticker  AAPL  ") + LONGEST_SUMMARY


def test_what_the_environment_keeps_secret_is_in_no_message_whoever_noticed_it(conn: Connection) -> None:
    notice(
        conn, [ticker("AAPL", summary="login as jane:pa/ss55 refused"), replace(CHECK, summary="of ftp://me:x@host")]
    )
    compose(conn, WAYS, pages_url=PAGES, environ={"LDTM_DATABASE_URL": "postgresql://jane:pa%2Fss55@db/x"})
    [(_, _, _, body)] = messages(conn)
    assert "login as jane:*** refused" in body
    assert "of ftp://***@host" in body


def test_nothing_in_the_tables_has_an_address(conn: Connection) -> None:
    notice(conn, [CHECK])
    compose(conn, WAYS, pages_url=PAGES)
    rows = conn.execute("select a::text || d::text from alert a join alert_delivery d using (alert_id)").fetchall()
    assert len(rows) == 2
    assert not [row for (row,) in rows if "T0KEN" in row or "a@example.org" in row]
