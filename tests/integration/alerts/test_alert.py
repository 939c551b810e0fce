"""Alerts on real PostgreSQL: one row a condition, however often, by whom and in which order it is raised."""

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

from ldtm_lib.alerts.alert import (
    Alert,
    Resolution,
    Severity,
    apply_resolutions,
    open_alerts,
    raise_alerts,
    resolve_alerts,
)
from ldtm_lib.alerts.channels import Channel
from ldtm_lib.alerts.notifications import compose_notifications
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query

SESSION = date(2026, 11, 20)
AT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
FAILED = Alert(
    key="check/snapshots/complete/2026-11-20",
    kind="check",
    severity="error",
    session=SESSION,
    subject="snapshots/complete",
    summary="2 rows are missing",
    link="/assets/snapshots",
    seen_at=AT,
)


def after(minutes: float) -> datetime:
    return AT + timedelta(minutes=minutes)


def notified(conn: Connection) -> list[str]:
    """The titles of the notifications that are composed now."""
    numbers = compose_notifications(conn, list[Channel](), ui_url="http://127.0.0.1:3000")
    rows = conn.execute(
        "select title from notification where notification_id = any(%s) order by notification_id", (numbers,)
    ).fetchall()
    return [title.removeprefix("LDTM ") for (title,) in rows]


def test_an_alert_is_recorded_as_it_was_raised(conn: Connection) -> None:
    assert raise_alerts(conn, [FAILED]) == 1
    assert open_alerts(conn) == [FAILED]


def test_an_alert_raised_again_while_open_is_notified_once_and_takes_the_newest_words(
    conn: Connection,
) -> None:
    assert raise_alerts(conn, [FAILED, FAILED]) == 1
    assert notified(conn) == ["2026-11-20: 1 error"]
    seen = replace(FAILED, summary="3 rows are missing", link="/runs/2")
    assert raise_alerts(conn, [replace(seen, seen_at=after(5))]) == 0
    assert raise_alerts(conn, [FAILED]) == 0, "the older one, read again"
    assert notified(conn) == []
    assert open_alerts(conn) == [seen], "since its beginning, in its newest words"


WARNED = replace(FAILED, severity="warning", summary="1 row is missing")


def test_an_alert_that_gets_worse_is_notified_again_once_and_one_that_gets_milder_is_not(conn: Connection) -> None:
    """Missing in the evening is a warning, and missing after the deadline an error."""
    raise_alerts(conn, [WARNED])
    assert notified(conn) == ["2026-11-20: 1 warning"]
    worse, milder = replace(FAILED, seen_at=after(5)), replace(WARNED, seen_at=after(9))
    assert raise_alerts(conn, [worse]) == 1
    assert notified(conn) == ["2026-11-20: 1 error"]
    raise_alerts(conn, [WARNED])
    raise_alerts(conn, [worse])
    assert notified(conn) == []
    raise_alerts(conn, [milder])
    raise_alerts(conn, [WARNED])
    raise_alerts(conn, [worse])
    assert notified(conn) == [], "all of them, read again"
    [found] = open_alerts(conn)
    assert (found.severity, found.summary, found.seen_at) == ("warning", "1 row is missing", worse.seen_at)


def test_an_alert_that_gets_worse_before_its_notification_is_notified_once_and_waits_no_longer(
    conn: Connection,
) -> None:
    began = datetime.now(UTC) - timedelta(minutes=11)
    raise_alerts(conn, [replace(WARNED, seen_at=began)])
    raise_alerts(conn, [replace(FAILED, seen_at=began + timedelta(minutes=10))])
    channels = list[Channel]()
    assert (
        len(compose_notifications(conn, channels, ui_url="http://127.0.0.1:3000", is_busy=True, hold_minutes=10)) == 1
    )
    assert conn.execute("select severity from notification").fetchall() == [("error",)]


def test_an_alert_reopened_in_a_worse_state_is_notified_though_its_resolution_was_not(conn: Connection) -> None:
    raise_alerts(conn, [WARNED])
    notified(conn)
    apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(1))])
    raise_alerts(conn, [replace(FAILED, seen_at=after(2))])
    assert notified(conn) == ["2026-11-20: 1 error"]


def test_a_resolution_older_than_the_last_sighting_resolves_nothing(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    raise_alerts(conn, [replace(FAILED, seen_at=after(9))])
    assert apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(5))]) == 0
    assert apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(10))]) == 1


def test_an_alert_keeps_its_session_when_an_older_one_is_checked(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    notified(conn)
    raise_alerts(conn, [replace(FAILED, session=date(2026, 11, 3), seen_at=after(5))])
    raise_alerts(conn, [replace(FAILED, session=None, seen_at=after(6))])
    assert notified(conn) == []
    assert [alert.session for alert in open_alerts(conn)] == [SESSION]


def test_a_resolution_is_notified_once_and_an_old_event_read_again_reopens_nothing(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    notified(conn)
    passes = Resolution(key=FAILED.key, resolved_at=after(10))
    assert apply_resolutions(conn, [passes]) == 1
    assert notified(conn) == ["2026-11-20: 1 resolved"]
    assert (raise_alerts(conn, [FAILED]), apply_resolutions(conn, [passes])) == (0, 0)
    assert notified(conn) == []


def test_an_alert_raised_again_after_its_resolution_is_notified_again(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    notified(conn)
    apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(10))])
    notified(conn)
    assert raise_alerts(conn, [replace(FAILED, seen_at=after(20))]) == 1
    assert notified(conn) == ["2026-11-20: 1 error"]


def test_an_alert_resolved_before_its_notification_is_not_notified(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    resolve_alerts(conn, [FAILED.key])
    assert notified(conn) == []


def test_an_alert_reopened_before_its_resolution_was_notified_is_not_notified_again(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    notified(conn)
    apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(1))])
    assert raise_alerts(conn, [replace(FAILED, seen_at=after(2))]) == 1
    assert notified(conn) == []
    assert [alert.seen_at for alert in open_alerts(conn)] == [after(2)]


def test_an_alert_still_open_in_a_later_session_is_notified_for_it_and_resolved_once(conn: Connection) -> None:
    raise_alerts(conn, [FAILED])
    notified(conn)
    assert raise_alerts(conn, [replace(FAILED, session=date(2026, 11, 23), seen_at=after(4320))]) == 1
    assert notified(conn) == ["2026-11-23: 1 error"]
    assert raise_alerts(conn, [FAILED]) == 0, "the earlier session, read again"
    resolve_alerts(conn, [FAILED.key])
    assert notified(conn) == ["2026-11-23: 1 resolved"]


def test_news_is_notified_once_and_is_never_open_nor_resolved(conn: Connection) -> None:
    news = replace(FAILED, key="gate/run/AAPL", kind="gate", is_news=True)
    raise_alerts(conn, [news])
    assert open_alerts(conn) == []
    assert resolve_alerts(conn, [news.key]) == 0
    assert notified(conn) == ["2026-11-20: 1 error"]
    assert raise_alerts(conn, [replace(news, seen_at=after(10))]) == 0
    assert notified(conn) == []
    with pytest.raises(psycopg.errors.CheckViolation):
        conn.execute("update alert set resolved_at = clock_timestamp()")


def test_a_resolution_applies_to_alerts_with_its_key_that_were_raised_before_it(conn: Connection) -> None:
    raise_alerts(
        conn, [replace(FAILED, key=key, seen_at=after(minutes)) for key, minutes in (("a", 0), ("b", 0), ("late", 9))]
    )
    resolutions = [
        Resolution(key="a", resolved_at=after(5)),
        Resolution(key="late", resolved_at=after(5)),
        Resolution(key="unknown"),
    ]
    assert apply_resolutions(conn, resolutions) == 1
    assert {alert.key for alert in open_alerts(conn)} == {"b", "late"}
    assert apply_resolutions(conn, [Resolution(key="late", resolved_at=after(1)), Resolution(key="late")]) == 1
    assert apply_resolutions(conn, []) == resolve_alerts(conn, []) == raise_alerts(conn, []) == 0


def test_an_alert_whose_text_postgresql_refuses_is_recorded_all_the_same(conn: Connection) -> None:
    raise_alerts(conn, [replace(FAILED, key="a\0\udcff", subject="s\0", summary="bad \0 name \udcff", link="/\udcff")])
    [found] = open_alerts(conn)
    assert (found.key, found.subject, found.summary, found.link) == ("a?", "s", "bad  name ?", "/?")
    assert resolve_alerts(conn, ["a\0\udcff"]) == 1


def test_raising_notifying_and_resolving_the_same_alerts_at_once_does_not_deadlock(
    database: Database,
) -> None:
    """200 alerts whose order by key is not the order in which they are raised."""
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
            lambda conn: raise_alerts(conn, [replace(alert, seen_at=datetime.now(UTC)) for alert in found]),
            lambda conn: conn.execute(query("alerts.unnotified")).fetchall(),
            lambda conn: resolve_alerts(conn, keys[::-1]),
        ]
        assert min(threads.map(again_and_again, works)) > 5


@given(
    history=st.lists(st.sampled_from(["resolved", "warning", "error"]), min_size=1, max_size=6),
    polls=st.lists(st.integers(1, 6), max_size=4),
)
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_a_history_is_cut_and_read_again_the_alert_is_open_or_resolved_as_its_last_event_says(
    conn: Connection, history: Sequence[Severity | Literal["resolved"]], polls: Sequence[int]
) -> None:
    """Whoever polls reads the first events, then all of them, as often as it likes."""
    conn.execute("truncate alert, notification cascade")
    seen = [replace(FAILED, severity=s, seen_at=after(at)) for at, s in enumerate(history) if s != "resolved"]
    for length in (*sorted(polls), len(history), len(history)):
        last_failure = max((at for at, said in enumerate(history[:length]) if said != "resolved"), default=-1)
        raise_alerts(conn, [alert for alert in seen if alert.seen_at and alert.seen_at < after(length)])
        resolutions = [at for at, said in enumerate(history[:length]) if said == "resolved" and at > last_failure]
        apply_resolutions(conn, [Resolution(key=FAILED.key, resolved_at=after(at)) for at in resolutions])
        notified(conn)
    expected = [] if history[-1] == "resolved" else [(FAILED.key, history[-1])]
    assert [(alert.key, alert.severity) for alert in open_alerts(conn)] == expected
    for alert in seen:
        raise_alerts(conn, [alert])
        assert notified(conn) == []
    conn.rollback()
