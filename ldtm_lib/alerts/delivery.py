"""Delivery: every notification to every channel at least once, with retries, also when a sender is killed.

A delivery is claimed on record before it is sent and marked as delivered afterwards. A sender that is killed in between
leaves its claim behind: the notification may have been delivered, so it is sent again and says that it may be a repeat.
One sender works at a time; it holds a lock that ends with its connection.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.alerts.channels import TOO_LONG, Channel, NoAnswer
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import NotificationNotDelivered

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60.0, 3600.0
"""Waits between attempts double from the first to the second value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationDelivery:
    """One notification that is claimed for sending to one channel."""

    notification_id: int
    channel: str
    severity: Severity
    title: str
    body: str
    may_be_repeat: bool
    last_error: str | None
    """Reason why the last attempt failed."""

    @property
    def is_short(self) -> bool:
        """True if only title and main link are sent: the channel may have refused the text for its length."""
        return self.last_error is not None and TOO_LONG.search(self.last_error) is not None

    @property
    def titled(self) -> str:
        """The title with the notification's id, by which a repeat is recognised."""
        repeat = ", perhaps a repeat" if self.may_be_repeat else ""
        return f"{self.title} [notification {self.notification_id}{repeat}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryReport:
    """Result of one call of `deliver`."""

    num_delivered: int = 0
    failures: tuple[str, ...] = ()
    """Reasons why channels did not accept a notification; it is retried later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelBacklog:
    """Notifications that one channel has not accepted."""

    shown_as: str
    num_waiting: int
    num_given_up: int
    last_error: str | None


def deliver(
    database: Database,
    channels: Sequence[Channel],
    *,
    give_up_after_hours: float,
    budget_seconds: float = 20.0,
    clock: Callable[[], float] = time.monotonic,
) -> DeliveryReport:
    """Send the deliveries that are due, until the time budget is used up. Does nothing while another process sends.

    A notification that no channel has accepted is addressed to all present channels: when it was composed, an address
    may have been missing or wrong. A channel that fails is skipped for the rest of the call, so that it takes no time
    from the others.
    """
    until = clock() + budget_seconds
    open_channels = {channel.key: channel for channel in channels}
    num_delivered, failures = 0, list[str]()
    with database.connect() as conn:
        conn.autocommit = True
        row = conn.execute(query("alerts.try_sender_lock")).fetchone()
        if row is None or not row[0]:
            return DeliveryReport()
        _address(conn, channels, give_up_after_hours * 3600)
        while open_channels and clock() < until and (delivery := _claim(conn, list(open_channels))):
            failure = _send(conn, delivery, open_channels[delivery.channel])
            if failure is None:
                num_delivered += 1
            else:
                failures.append(failure)
                del open_channels[delivery.channel]
        conn.execute(query("alerts.release_sender_lock"))
    return DeliveryReport(num_delivered=num_delivered, failures=tuple(failures))


def channel_backlogs(conn: Connection) -> list[ChannelBacklog]:
    """The number of undelivered notifications by channel; channels without any are left out."""
    with conn.cursor(row_factory=class_row(ChannelBacklog)) as cursor:
        return cursor.execute(query("alerts.channel_backlogs")).fetchall()


def _address(conn: Connection, channels: Sequence[Channel], after_seconds: float) -> None:
    """Give up deliveries that are too old, and address notifications that no channel accepted to these channels."""
    address = {
        "channels": [channel.key for channel in channels],
        "shown": [channel.shown_as for channel in channels],
        "after_seconds": after_seconds,
    }
    conn.execute(query("alerts.give_up"), address)
    conn.execute(query("alerts.address"), address)


def _claim(conn: Connection, keys: Sequence[str]) -> NotificationDelivery | None:
    waits = {"first_wait": FIRST_WAIT_SECONDS, "longest_wait": LONGEST_WAIT_SECONDS}
    with conn.cursor(row_factory=class_row(NotificationDelivery)) as cursor:
        return cursor.execute(query("alerts.claim"), {"channels": list(keys), **waits}).fetchone()


def _send(conn: Connection, delivery: NotificationDelivery, channel: Channel) -> str | None:
    """Send a claimed delivery and record the result; returns the reason for a failure, or None."""
    key = {"notification_id": delivery.notification_id, "channel": delivery.channel}
    try:
        channel.send(title=delivery.titled, body=delivery.body, severity=delivery.severity, is_short=delivery.is_short)
    except NotificationNotDelivered as failure:
        outcome = {"reason": str(failure), "may_be_repeat": isinstance(failure, NoAnswer)}
        conn.execute(query("alerts.not_delivered"), key | outcome)
        return str(failure)
    conn.execute(query("alerts.delivered"), key)
    return None
