"""Troubles on real PostgreSQL: one row a thing, however often, by whom and in which order it is seen."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.alerts.messages import compose
from ldtm_lib.alerts.troubles import Ending, Trouble, end, end_as_seen, notice, open_troubles
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.statements import statement

EVENING = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
FAILED = Trouble(
    key="check/snapshots/complete/2026-11-20",
    kind="check",
    severity="error",
    evening=EVENING,
    subject="snapshots/complete",
    summary="2 rows are missing",
    link="/assets/snapshots",
    seen_at=AT,
)


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def told(conn: Connection) -> list[str]:
    """The titles of the messages that this moment brings."""
    numbers = compose(conn, list[Channel](), pages_url="http://127.0.0.1:3000")
    rows = conn.execute("select title from alert where alert_id = any(%s) order by alert_id", (numbers,)).fetchall()
    return [title.removeprefix("LDTM ") for (title,) in rows]


def test_a_trouble_is_on_record_as_it_was_noticed(conn: Connection) -> None:
    assert notice(conn, [FAILED]) == 1
    assert open_troubles(conn) == [FAILED]


def test_a_trouble_that_is_seen_again_while_it_is_open_is_nothing_new(conn: Connection) -> None:
    assert notice(conn, [FAILED, FAILED]) == 1
    assert told(conn) == ["2026-11-20: 1 error"]
    assert notice(conn, [replace(FAILED, summary="3 rows are missing", seen_at=after(5))]) == 0
    assert told(conn) == []
    assert open_troubles(conn) == [FAILED]


def test_what_is_well_again_is_told_once_and_an_old_event_that_is_read_again_opens_nothing(conn: Connection) -> None:
    notice(conn, [FAILED])
    told(conn)
    passes = Ending(key=FAILED.key, seen_at=after(10))
    assert end_as_seen(conn, [passes]) == 1
    assert told(conn) == ["2026-11-20: 1 recovered"]
    assert (notice(conn, [FAILED]), end_as_seen(conn, [passes])) == (0, 0)
    assert told(conn) == []


def test_what_failed_again_after_it_was_well_is_told_again(conn: Connection) -> None:
    notice(conn, [FAILED])
    told(conn)
    end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(10))])
    told(conn)
    assert notice(conn, [replace(FAILED, seen_at=after(20))]) == 1
    assert told(conn) == ["2026-11-20: 1 error"]


def test_what_was_well_before_anybody_heard_of_it_is_told_to_nobody(conn: Connection) -> None:
    notice(conn, [FAILED])
    end(conn, [FAILED.key])
    assert told(conn) == []


def test_what_failed_again_before_anybody_heard_that_it_was_well_is_not_told_again(conn: Connection) -> None:
    notice(conn, [FAILED])
    told(conn)
    end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(1))])
    assert notice(conn, [replace(FAILED, seen_at=after(2))]) == 1
    assert told(conn) == []
    assert [trouble.seen_at for trouble in open_troubles(conn)] == [after(2)]


def test_what_is_still_there_on_a_later_evening_is_told_on_that_one_and_recovers_once(conn: Connection) -> None:
    notice(conn, [FAILED])
    told(conn)
    assert notice(conn, [replace(FAILED, evening=date(2026, 11, 23), seen_at=after(4320))]) == 1
    assert told(conn) == ["2026-11-23: 1 error"]
    assert notice(conn, [FAILED]) == 0, "the earlier evening, read again"
    end(conn, [FAILED.key])
    assert told(conn) == ["2026-11-23: 1 recovered"]


def test_news_is_told_once_is_never_open_and_has_no_end(conn: Connection) -> None:
    news = replace(FAILED, key="gate/run/AAPL", kind="gate", is_news=True)
    notice(conn, [news])
    assert open_troubles(conn) == []
    assert end(conn, [news.key]) == 0
    assert told(conn) == ["2026-11-20: 1 error"]
    assert notice(conn, [replace(news, seen_at=after(10))]) == 0
    assert told(conn) == []
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("update trouble set ended_at = clock_timestamp()")


def test_an_ending_takes_what_has_its_key_and_began_before_it(conn: Connection) -> None:
    notice(
        conn, [replace(FAILED, key=key, seen_at=after(minutes)) for key, minutes in (("a", 0), ("b", 0), ("late", 9))]
    )
    endings = [Ending(key="a", seen_at=after(5)), Ending(key="late", seen_at=after(5)), Ending(key="unknown")]
    assert end_as_seen(conn, endings) == 1
    assert {trouble.key for trouble in open_troubles(conn)} == {"b", "late"}
    assert end_as_seen(conn, [Ending(key="late", seen_at=after(1)), Ending(key="late")]) == 1
    assert end_as_seen(conn, []) == end(conn, []) == notice(conn, []) == 0


def test_what_is_no_text_to_postgresql_is_noticed_all_the_same(conn: Connection) -> None:
    notice(conn, [replace(FAILED, key="a\0\udcff", subject="s\0", summary="bad \0 name \udcff", link="/\udcff")])
    [found] = open_troubles(conn)
    assert (found.key, found.subject, found.summary, found.link) == ("a?", "s", "bad  name ?", "/?")
    assert end(conn, ["a\0\udcff"]) == 1


def test_who_notices_and_who_tells_or_ends_the_same_troubles_do_not_wait_for_each_other_for_ever(
    database: Database,
) -> None:
    """200 troubles whose order by key is not the order in which they are noticed."""
    keys = [f"{kind}/2026-11-20/{number:03}" for kind in ("ticker", "deadline") for number in range(100)]
    found = [replace(FAILED, key=key) for key in keys]
    until = time.monotonic() + 2

    def again_and_again(work: Callable[[Connection], object]) -> int:
        number = 0
        while time.monotonic() < until:
            with database.transaction() as conn:
                work(conn)
            number += 1
        return number

    with ThreadPoolExecutor(3) as threads:
        works: list[Callable[[Connection], object]] = [
            lambda conn: notice(conn, [replace(trouble, seen_at=datetime.now(UTC)) for trouble in found]),
            lambda conn: conn.execute(statement("alerts/untold")).fetchall(),
            lambda conn: end(conn, keys[::-1]),
        ]
        assert min(threads.map(again_and_again, works)) > 5


@given(passed=st.lists(st.booleans(), min_size=1, max_size=6), looks=st.lists(st.integers(1, 6), max_size=4))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_history_is_cut_and_read_again_it_ends_open_or_well_as_its_last_event_says(
    conn: Connection, passed: Sequence[bool], looks: Sequence[int]
) -> None:
    """Whoever looks reads the first events, then all of them, as often as it likes."""
    conn.execute("truncate trouble, alert cascade")
    for length in (*sorted(looks), len(passed), len(passed)):
        events = list(enumerate(passed))[:length]
        troubles = [replace(FAILED, seen_at=after(at)) for at, well in events if not well]
        last_failure = max((at for at, well in events if not well), default=-1)
        notice(conn, troubles)
        end_as_seen(
            conn, [Ending(key=FAILED.key, seen_at=after(at)) for at, well in events if well and at > last_failure]
        )
        told(conn)
    assert [trouble.key for trouble in open_troubles(conn)] == ([] if passed[-1] else [FAILED.key])
    before = conn.execute("select count(*) from alert").fetchone()
    notice(conn, [replace(FAILED, seen_at=after(at)) for at, well in enumerate(passed) if not well])
    assert told(conn) == []
    assert conn.execute("select count(*) from alert").fetchone() == before
    conn.rollback()
