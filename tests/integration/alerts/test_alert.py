"""Troubles on real PostgreSQL: one row a thing, however often, by whom and in which order it is seen."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ldtm_lib.alerts.alert import Ending, Severity, Trouble, end, end_as_seen, notice, open_troubles
from ldtm_lib.alerts.apprise_channel import Channel
from ldtm_lib.alerts.notifications import compose
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query

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


def test_a_trouble_that_is_seen_again_while_it_is_open_is_told_once_and_is_as_it_was_seen_last(
    conn: Connection,
) -> None:
    assert notice(conn, [FAILED, FAILED]) == 1
    assert told(conn) == ["2026-11-20: 1 error"]
    seen = replace(FAILED, summary="3 rows are missing", link="/runs/2")
    assert notice(conn, [replace(seen, seen_at=after(5))]) == 0
    assert notice(conn, [FAILED]) == 0, "the elder one, read again"
    assert told(conn) == []
    assert open_troubles(conn) == [seen], "since its beginning, in its newest words"


WARNED = replace(FAILED, severity="warning", summary="1 row is missing")


def test_a_trouble_that_gets_worse_is_told_again_once_and_one_that_gets_milder_is_not(conn: Connection) -> None:
    """Missing in the evening is a warning, and missing after the deadline an error."""
    notice(conn, [WARNED])
    assert told(conn) == ["2026-11-20: 1 warning"]
    worse, milder = replace(FAILED, seen_at=after(5)), replace(WARNED, seen_at=after(9))
    assert notice(conn, [worse]) == 1
    assert told(conn) == ["2026-11-20: 1 error"]
    notice(conn, [WARNED])
    notice(conn, [worse])
    assert told(conn) == []
    notice(conn, [milder])
    notice(conn, [WARNED])
    notice(conn, [worse])
    assert told(conn) == [], "all of them, read again"
    [found] = open_troubles(conn)
    assert (found.severity, found.summary, found.seen_at) == ("warning", "1 row is missing", worse.seen_at)


def test_what_gets_worse_before_anybody_heard_of_it_is_told_once_and_waits_no_longer_for_it(conn: Connection) -> None:
    began = datetime.now(UTC) - timedelta(minutes=11)
    notice(conn, [replace(WARNED, seen_at=began)])
    notice(conn, [replace(FAILED, seen_at=began + timedelta(minutes=10))])
    ways = list[Channel]()
    assert len(compose(conn, ways, pages_url="http://127.0.0.1:3000", is_busy=True, hold_minutes=10)) == 1
    assert conn.execute("select severity from alert").fetchall() == [("error",)]


def test_what_is_worse_when_it_is_there_again_is_told_though_nobody_heard_that_it_was_well(conn: Connection) -> None:
    notice(conn, [WARNED])
    told(conn)
    end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(1))])
    notice(conn, [replace(FAILED, seen_at=after(2))])
    assert told(conn) == ["2026-11-20: 1 error"]


def test_an_ending_elder_than_the_last_time_it_was_seen_ends_nothing(conn: Connection) -> None:
    notice(conn, [FAILED])
    notice(conn, [replace(FAILED, seen_at=after(9))])
    assert end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(5))]) == 0
    assert end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(10))]) == 1


def test_a_look_at_an_elder_evening_leaves_a_trouble_under_its_own(conn: Connection) -> None:
    notice(conn, [FAILED])
    told(conn)
    notice(conn, [replace(FAILED, evening=date(2026, 11, 3), seen_at=after(5))])
    notice(conn, [replace(FAILED, evening=None, seen_at=after(6))])
    assert told(conn) == []
    assert [trouble.evening for trouble in open_troubles(conn)] == [EVENING]


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
            lambda conn: conn.execute(query("alerts.untold")).fetchall(),
            lambda conn: end(conn, keys[::-1]),
        ]
        assert min(threads.map(again_and_again, works)) > 5


@given(
    history=st.lists(st.sampled_from(["well", "warning", "error"]), min_size=1, max_size=6),
    looks=st.lists(st.integers(1, 6), max_size=4),
)
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_history_is_cut_and_read_again_it_ends_open_or_well_as_its_last_event_says(
    conn: Connection, history: Sequence[Severity | Literal["well"]], looks: Sequence[int]
) -> None:
    """Whoever looks reads the first events, then all of them, as often as it likes."""
    conn.execute("truncate trouble, alert cascade")
    seen = [replace(FAILED, severity=s, seen_at=after(at)) for at, s in enumerate(history) if s != "well"]
    for length in (*sorted(looks), len(history), len(history)):
        last_failure = max((at for at, said in enumerate(history[:length]) if said != "well"), default=-1)
        notice(conn, [trouble for trouble in seen if trouble.seen_at and trouble.seen_at < after(length)])
        endings = [at for at, said in enumerate(history[:length]) if said == "well" and at > last_failure]
        end_as_seen(conn, [Ending(key=FAILED.key, seen_at=after(at)) for at in endings])
        told(conn)
    expected = [] if history[-1] == "well" else [(FAILED.key, history[-1])]
    assert [(trouble.key, trouble.severity) for trouble in open_troubles(conn)] == expected
    for trouble in seen:
        notice(conn, [trouble])
        assert told(conn) == []
    conn.rollback()
