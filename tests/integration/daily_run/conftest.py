"""The newest closed session by the real clock, and the partitions that are pending."""

from datetime import UTC, date, datetime

import pytest

from ldtm_lib.daily_run.pending_partitions import PendingPartition, pending_partitions
from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.daily_run.reading import ReadPending


@pytest.fixture
def newest(calendar: Calendar) -> date:
    return calendar.last_closed(datetime.now(UTC))


@pytest.fixture
def read_pending(conn: Connection, calendar: Calendar, settings: Settings) -> ReadPending:
    """The pending partitions at this moment, or at another one and with other settings."""

    def read(moment: datetime | None = None, with_settings: Settings | None = None) -> list[PendingPartition]:
        return pending_partitions(conn, with_settings or settings, calendar, moment or datetime.now(UTC))

    return read
