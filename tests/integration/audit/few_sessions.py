"""An exchange that has existed for few sessions: a database of them verifies in a tenth of the time."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

import numpy as np
from psycopg.conninfo import conninfo_to_dict

from ldtm_lib.database.migrate import migrate
from ldtm_lib.sessions import Calendar
from tests.databases import fresh_database

SINCE, UNTIL = date(2011, 11, 1), date(2013, 7, 1)
THIS_YEAR = date(2026, 10, 1)
"""Sessions from here on are there too: what is recorded now can be live."""


def few_sessions(calendar: Calendar) -> Calendar:
    """The calendar's sessions of two periods alone, each as it is."""
    few = copy.copy(calendar)
    days = calendar.days
    kept = ((days >= np.datetime64(SINCE)) & (days < np.datetime64(UNTIL))) | (days >= np.datetime64(THIS_YEAR))
    few.days, few._opens, few._closes = days[kept], calendar._opens[kept], calendar._closes[kept]
    return few


@contextmanager
def migrated(server_url: str, calendar: Calendar) -> Iterator[str]:
    """The name of a database that knows the calendar's sessions, to be copied."""
    with fresh_database(server_url, "template1") as database:
        migrate(database, calendar)
        yield str(conninfo_to_dict(database.url)["dbname"])
