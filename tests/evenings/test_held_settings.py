"""The owner's file against what Dagster was started with: where they differ, runs do other than they are meant to."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.alerts.troubles import open_troubles
from ldtm_lib.config import (
    AlertsConfig,
    AutomationConfig,
    GateConfig,
    LedgerConfig,
    PagesConfig,
    PartitionConfig,
    RegistryConfig,
    Settings,
    SourceConfig,
    TrainingConfig,
)
from ldtm_lib.database.connection import Connection
from ldtm_lib.evenings.held_settings import settings_changed, watch_settings


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tickers": ("AAPL", "FB", "GOOG", "IBM", "MSFT", "NEW")}, "tickers"),
        ({"retired": {"IBM": date(2026, 11, 20)}}, "retired"),
        ({"partitions": PartitionConfig(first_session=date(2026, 1, 2))}, "partitions"),
        ({"source": SourceConfig(kind="ib")}, "source"),
        ({"automation": AutomationConfig(on=True)}, "automation"),
        ({"ledger": LedgerConfig(void_after_sessions=5)}, "ledger"),
        ({"gate": GateConfig(strict=True)}, "gate"),
        ({"retired": {"IBM": date(2026, 11, 20)}, "automation": AutomationConfig(on=True)}, "retired, automation"),
    ],
)
def test_what_partitions_schedules_and_sensors_are_made_of_needs_a_new_start(
    settings: Settings, change: dict[str, object], named: str
) -> None:
    assert settings_changed(settings, replace(settings, **change)) == (  # pyright: ignore[reportArgumentType]
        f"{named} of universe.toml changed since Dagster was started; nothing is launched until `ldtm down && ldtm up`"
    )


def test_what_each_run_reads_anew_takes_effect_without_one(settings: Settings) -> None:
    now = replace(
        settings,
        path=Path("elsewhere") / settings.path.name,
        training=TrainingConfig(max_epochs=3),
        alerts=AlertsConfig(hold_minutes=0),
        pages=PagesConfig(url="https://ldtm.example.org"),
        registry=RegistryConfig(degraded="retire"),
    )
    assert settings_changed(settings, now) is None
    assert settings_changed(settings, replace(settings)) is None


def test_a_change_is_one_trouble_that_ends_when_the_file_says_the_same_again(
    conn: Connection, settings: Settings
) -> None:
    changed = replace(settings, retired={"IBM": date(2026, 11, 20)})
    for _ in range(2):
        assert watch_settings(conn, settings, changed) == settings_changed(settings, changed)
    [trouble] = open_troubles(conn)
    assert (trouble.key, trouble.severity, trouble.subject) == ("settings/changed", "error", "universe.toml")
    assert "ldtm down && ldtm up" in trouble.summary
    conn.commit()
    assert watch_settings(conn, changed, changed) is None
    assert open_troubles(conn) == []
    conn.commit()
    watch_settings(conn, settings, changed)
    assert len(open_troubles(conn)) == 1, "changed again, told again"
