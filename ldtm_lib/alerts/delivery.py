"""Delivery: every message to every channel once, whoever is killed on the way, and again where it was not taken.

A delivery is claimed on record before it is sent and marked as done after. A sender that is killed in between leaves
its claim behind: nobody can tell whether the message had come, so it is sent again and says that it may be a repeat.
One sender works at a time, held by a lock that ends with its connection.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ldtm_lib.alerts.alert import Severity
from ldtm_lib.alerts.apprise_channel import TOO_LONG, Channel, NoAnswer
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.queries import query
from ldtm_lib.errors import AlertNotDelivered

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 60.0, 3600.0
"""Waits between attempts double from the one to the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One message on its way to one channel."""

    alert_id: int
    channel: str
    severity: Severity
    title: str
    body: str
    may_have_come: bool
    last_error: str | None
    """Why the channel did not take it when it was tried last."""

    @property
    def is_short(self) -> bool:
        """Whether it goes as its title and main link alone: the channel may have refused it for its length."""
        return self.last_error is not None and TOO_LONG.search(self.last_error) is not None

    @property
    def titled(self) -> str:
        """The title with the message's number, by which a repeat can be told."""
        repeat = ", perhaps a repeat" if self.may_have_come else ""
        return f"{self.title} [message {self.alert_id}{repeat}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliveries:
    """What a look at the messages came to."""

    num_delivered: int = 0
    failures: tuple[str, ...] = ()
    """Why a channel did not take one; it is tried again later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """Messages that a channel has not taken."""

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
) -> Deliveries:
    """Send what is due until nothing is, or the time is over; does nothing while another process sends.

    A message that no channel has taken is addressed to all that there are now: when it was made, an address may have
    been missing or wrong. A channel that does not take a message gets no other one in the same look, so that it takes
    no time from the rest.
    """
    until = clock() + budget_seconds
    open_channels = {channel.key: channel for channel in channels}
    num_delivered, failures = 0, list[str]()
    with database.connect() as conn:
        conn.autocommit = True
        row = conn.execute(query("alerts.try_to_send")).fetchone()
        if row is None or not row[0]:
            return Deliveries()
        _address(conn, channels, give_up_after_hours * 3600)
        while open_channels and clock() < until and (claim := _claim(conn, list(open_channels))):
            failure = _send(conn, claim, open_channels[claim.channel])
            if failure is None:
                num_delivered += 1
            else:
                failures.append(failure)
                del open_channels[claim.channel]
        conn.execute(query("alerts.stop_sending"))
    return Deliveries(num_delivered=num_delivered, failures=tuple(failures))


def undelivered(conn: Connection) -> list[Undelivered]:
    """By channel, the messages that are not delivered."""
    with conn.cursor(row_factory=class_row(Undelivered)) as cursor:
        return cursor.execute(query("alerts.undelivered")).fetchall()


def _address(conn: Connection, channels: Sequence[Channel], after_seconds: float) -> None:
    """Give up what is too old, and address to these channels what nobody has taken."""
    address = {
        "channels": [channel.key for channel in channels],
        "shown": [channel.shown_as for channel in channels],
        "after_seconds": after_seconds,
    }
    conn.execute(query("alerts.give_up"), address)
    conn.execute(query("alerts.address"), address)


def _claim(conn: Connection, keys: Sequence[str]) -> Claim | None:
    waits = {"first_wait": FIRST_WAIT_SECONDS, "longest_wait": LONGEST_WAIT_SECONDS}
    with conn.cursor(row_factory=class_row(Claim)) as cursor:
        return cursor.execute(query("alerts.claim"), {"channels": list(keys), **waits}).fetchone()


def _send(conn: Connection, claim: Claim, channel: Channel) -> str | None:
    """Send what is claimed and note what became of it; returns why it was not delivered."""
    key = {"alert_id": claim.alert_id, "channel": claim.channel}
    try:
        channel.send(title=claim.titled, body=claim.body, severity=claim.severity, is_short=claim.is_short)
    except AlertNotDelivered as failure:
        told = {"reason": str(failure), "may_have_come": isinstance(failure, NoAnswer)}
        conn.execute(query("alerts.not_delivered"), key | told)
        return str(failure)
    conn.execute(query("alerts.delivered"), key)
    return None
