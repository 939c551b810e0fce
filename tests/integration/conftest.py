"""Fixtures of the ledger: rows written with plain SQL, and what a forecast needs."""

from pathlib import Path

import pytest

from ldtm_lib.database.connection import Connection
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import Settings
from tests.integration.environment import ForecastEnvironment
from tests.integration.ledger_rows import LedgerRows


@pytest.fixture
def ledger_rows(conn: Connection, calendar: Calendar) -> LedgerRows:
    return LedgerRows(conn, calendar)


@pytest.fixture
def environment(conn: Connection, calendar: Calendar, settings: Settings, tmp_path: Path) -> ForecastEnvironment:
    return ForecastEnvironment(conn, calendar, settings, tmp_path)
