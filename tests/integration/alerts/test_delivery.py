"""Delivery on real PostgreSQL to real receivers: once each, whatever process dies, and again after a failure."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.alerts import channels as channels_module
from ldtm_lib.alerts.alert import Alert, raise_alerts
from ldtm_lib.alerts.channels import Channel, valid_channels
from ldtm_lib.alerts.delivery import ChannelBacklog, DeliveryReport, channel_backlogs, deliver
from ldtm_lib.alerts.notifications import compose_notifications
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from tests.integration.alerts.mailbox import mailbox
from tests.integration.alerts.receiver import SECRET, Receiver, listening
from tests.repository import REPOSITORY

SENDER = Path(__file__).parent / "sender.py"
TITLE = "LDTM 2026-11-20: 1 error"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening() as server:
        yield server


def channels_to(*urls: str) -> list[Channel]:
    return valid_channels({"LDTM_ALERT_URLS": " ".join(urls)})


def write(database: Database, channels: Sequence[Channel], num_notifications: int = 1) -> list[int]:
    """Some notifications for channels; returns their ids."""
    numbers: list[int] = []
    for number in range(num_notifications):
        with database.transaction() as conn:
            key = f"run/{number}/{len(channels)}"
            alert = Alert(
                key=key, kind="run", severity="error", session=date(2026, 11, 20), subject="a job", summary="failed"
            )
            raise_alerts(conn, [alert])
            numbers += compose_notifications(conn, channels, ui_url="http://127.0.0.1:3000")
    return numbers


def send(database: Database, channels: Sequence[Channel], *, hours: float = 72, budget: float = 20) -> DeliveryReport:
    return deliver(database, channels, give_up_after_hours=hours, budget_seconds=budget)


def make_due(conn: Connection) -> None:
    """As if the wait for the next attempt were over."""
    conn.execute("update notification_delivery set next_attempt_at = clock_timestamp()")
    conn.commit()


def waits(conn: Connection) -> list[float]:
    """Seconds until the next attempts."""
    rows = conn.execute(
        "select extract(epoch from next_attempt_at - clock_timestamp())::float8 from notification_delivery "
        "where delivered_at is null"
    )
    return [seconds for (seconds,) in rows.fetchall()]


def test_a_notification_is_delivered_once_to_every_channel_with_its_id(database: Database, receiver: Receiver) -> None:
    with mailbox() as box:
        channels = channels_to(receiver.url, box.url)
        [number] = write(database, channels)
        assert send(database, channels) == DeliveryReport(num_delivered=2)
        assert send(database, channels) == DeliveryReport()
        [mail] = box.mails
    [(title, body)] = receiver.messages
    assert title == mail["Subject"] == f"{TITLE} [notification {number}]"
    assert body == "ERROR  run  a job  failed"


def test_of_two_senders_at_once_one_sends(database: Database, receiver: Receiver) -> None:
    channels = channels_to(receiver.url)
    numbers = write(database, channels, 5)
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: send(database, channels), range(4)))
    assert sum(sent.num_delivered for sent in done) == 5
    assert sorted(title for title, _ in receiver.messages) == [f"{TITLE} [notification {number}]" for number in numbers]


def test_a_notification_under_way_is_not_sent_by_another_sender_however_long_it_takes(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    channels = channels_to(receiver.url)
    write(database, channels)
    receiver.may_answer.clear()
    with ThreadPoolExecutor(1) as thread:
        slow = thread.submit(send, database, channels)
        while not receiver.taken and not slow.done():
            time.sleep(0.02)
        make_due(conn)
        assert send(database, channels) == DeliveryReport()
        receiver.may_answer.set()
        assert slow.result() == DeliveryReport(num_delivered=1)
    assert len(receiver.taken) == 1


def test_two_installations_in_one_database_do_not_wait_for_each_other(database: Database, receiver: Receiver) -> None:
    channels = channels_to(receiver.url)
    write(database, channels)
    with database.transaction() as conn:
        conn.execute("create schema beside")
    with database.with_schema("beside").connect() as other:
        assert other.execute(query("alerts.try_sender_lock")).fetchone() == (True,)
        assert send(database, channels).num_delivered == 1


def start_sender(database: Database, url: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, str(SENDER), database.url, url, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    if process.stdout:
        process.stdout.close()


def test_a_sender_killed_before_sending_loses_no_notification(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    channels = channels_to(receiver.url)
    [number] = write(database, channels)
    process = start_sender(database, receiver.url, "stop")
    assert process.stdout is not None
    assert process.stdout.readline() == "about to send\n"
    assert send(database, channels) == DeliveryReport(), "the other one holds the lock"
    kill(process)
    assert receiver.taken == []
    assert send(database, channels) == DeliveryReport(), "it is not due yet"
    make_due(conn)
    assert send(database, channels).num_delivered == 1
    assert [title for title, _ in receiver.messages] == [f"{TITLE} [notification {number}, perhaps a repeat]"]
    assert send(database, channels) == DeliveryReport()


def test_a_sender_killed_after_sending_repeats_the_notification_with_the_same_id_and_says_so(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    channels = channels_to(receiver.url)
    [number] = write(database, channels)
    receiver.may_answer.clear()
    process = start_sender(database, receiver.url)
    deadline = time.monotonic() + 30
    while not receiver.taken and time.monotonic() < deadline:
        time.sleep(0.02)
    kill(process)
    receiver.may_answer.set()
    make_due(conn)
    send(database, channels)
    assert [title for title, _ in receiver.messages] == [
        f"{TITLE} [notification {number}]",
        f"{TITLE} [notification {number}, perhaps a repeat]",
    ]
    make_due(conn)
    assert send(database, channels) == DeliveryReport()


def test_a_channel_that_fails_waits_longer_each_time_and_stops_no_other_one(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    with listening() as broken:
        broken.answer = 503
        channels = channels_to(broken.url, receiver.url)
        numbers = write(database, channels, 3)
        first = send(database, channels)
        assert first == DeliveryReport(num_delivered=3, failures=(f"{broken.shown_as} answered 503",))
        assert len(broken.taken) == 1, "a channel that fails is skipped for the rest of the call"
        seen: list[float] = []
        for _ in range(8):
            conn.execute("delete from notification where notification_id <> %s", (numbers[0],))
            make_due(conn)
            assert send(database, channels).num_delivered == 0
            seen += waits(conn)
        assert seen == pytest.approx([120, 240, 480, 960, 1920, 3600, 3600, 3600], abs=5)
        [held] = channel_backlogs(conn)
        assert held == ChannelBacklog(
            shown_as=broken.shown_as, num_waiting=1, num_given_up=0, last_error=f"{broken.shown_as} answered 503"
        )
        broken.answer = 200
        make_due(conn)
        assert send(database, channels).num_delivered == 1
    assert {title for title, _ in broken.messages} == {f"{TITLE} [notification {n}]" for n in numbers[:1]}
    assert channel_backlogs(conn) == []


def test_a_notification_without_an_answer_says_that_it_may_be_a_repeat_the_next_time(
    database: Database, conn: Connection, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels_module, "READ_SECONDS", 0.3)
    channels = channels_to(receiver.url)
    [number] = write(database, channels)
    receiver.may_answer.clear()
    assert send(database, channels).failures == (f"{receiver.shown_as} did not answer in time",)
    receiver.may_answer.set()
    make_due(conn)
    assert send(database, channels).num_delivered == 1
    assert receiver.messages[1][0] == f"{TITLE} [notification {number}, perhaps a repeat]"


@pytest.mark.parametrize("answer", [400, 413])
def test_a_notification_that_a_channel_refuses_for_its_length_is_short_the_next_time(
    database: Database, conn: Connection, receiver: Receiver, answer: int
) -> None:
    receiver.answer = answer
    channels = channels_to(receiver.url)
    write(database, channels)
    assert send(database, channels).failures == (f"{receiver.shown_as} answered {answer}",)
    receiver.answer = 200
    make_due(conn)
    assert send(database, channels).num_delivered == 1
    assert [body for _, body in receiver.messages] == ["ERROR  run  a job  failed", "and 1 line more, in the UI"]


def test_a_notification_is_given_up_after_its_time_whether_its_channel_still_exists_or_not(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    receiver.answer = 500
    channels = channels_to(receiver.url, "json://127.0.0.1:1/gone")
    write(database, channels)
    send(database, channels[:1])
    conn.execute("update notification set made_at = made_at - interval '71 hours 59 minutes'")
    make_due(conn)
    assert len(send(database, channels[:1]).failures) == 1
    conn.execute("update notification set made_at = made_at - interval '2 minutes'")
    make_due(conn)
    receiver.answer = 200
    assert send(database, channels[:1]) == DeliveryReport()
    assert len(receiver.taken) == 2
    assert [(backlog.num_waiting, backlog.num_given_up) for backlog in channel_backlogs(conn)] == [(0, 1), (0, 1)]


def test_when_the_time_of_a_call_is_over_the_next_call_continues(database: Database, receiver: Receiver) -> None:
    channels = channels_to(receiver.url)
    write(database, channels, 3)
    ticks = iter(range(100))
    sent = deliver(database, channels, give_up_after_hours=72, budget_seconds=2.5, clock=lambda: next(ticks))
    assert sent.num_delivered == 2
    assert send(database, channels).num_delivered == 1


def test_a_notification_that_no_channel_accepted_goes_to_a_channel_added_within_the_hours(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    """No address at a restart, or a wrong one that is corrected: nothing that was made meanwhile is lost."""
    receiver.answer = 401
    wrong, right = channels_to(receiver.url), channels_to(f"{receiver.url}/corrected")
    numbers = [*write(database, []), *write(database, wrong)]
    assert send(database, []) == DeliveryReport()
    assert len(send(database, wrong).failures) == 1
    receiver.answer = 200
    receiver.taken.clear()
    conn.execute(
        "update notification set made_at = made_at - interval '73 hours' where notification_id = %s", (numbers[0],)
    )
    conn.commit()
    assert send(database, right).num_delivered == 1
    assert [title for title, _ in receiver.messages] == [f"{TITLE} [notification {numbers[1]}]"]
    assert send(database, channels_to(f"{receiver.url}/third")) == DeliveryReport(), "somebody has it"


def test_a_notification_is_attempted_at_least_once_before_it_is_given_up(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    """As after an outage of days that began between making and sending."""
    channels = channels_to(receiver.url)
    write(database, [*channels, *channels_to("json://127.0.0.1:1/gone")])
    conn.execute("update notification set made_at = made_at - interval '73 hours'")
    conn.commit()
    assert send(database, channels).num_delivered == 1
    [gone] = channel_backlogs(conn)
    assert (gone.shown_as, gone.num_given_up) == ("json://127.0.0.1:1", 1)


def test_no_table_holds_an_address_whatever_became_of_the_notification(
    database: Database, conn: Connection, receiver: Receiver
) -> None:
    channels = channels_to(receiver.url, f"json://me:{SECRET}@127.0.0.1:1/{SECRET}")
    write(database, channels)
    send(database, channels)
    rows = conn.execute(
        "select d::text from notification_delivery d union all select a::text from notification a"
    ).fetchall()
    assert len(rows) == 3
    assert SECRET not in str(rows)
