"""The owner's file against what Dagster was started with: where they differ, runs do other than they are meant to."""

from datetime import date
from pathlib import Path

import pytest

from ldtm_lib.alerts.alert import open_alerts
from ldtm_lib.daily_run.loaded_settings import check_settings, effective_settings, settings_changed
from ldtm_lib.database.connection import Connection
from ldtm_lib.settings import (
    AlertsConfig,
    AutomationConfig,
    GateConfig,
    LedgerConfig,
    PartitionConfig,
    RegistryConfig,
    Settings,
    SourceConfig,
    TrainingConfig,
    UiConfig,
)

IBM_LEFT = {"IBM": date(2026, 11, 20)}
APPENDED = ("AAPL", "FB", "GOOG", "IBM", "MSFT", "NEW")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tickers": ("AAPL", "FB", "GOOG", "MSFT")}, "tickers"),
        ({"tickers": ("AAPL", "FB", "GOOG", "MSFT", "IBM")}, "tickers"),
        ({"partitions": PartitionConfig(first_session=date(2026, 1, 2))}, "partitions"),
        ({"tickers": APPENDED, "partitions": PartitionConfig(last_session=date(2026, 1, 2))}, "tickers, partitions"),
    ],
)
def test_where_ranges_would_mean_other_partitions_nothing_is_launched(
    settings: Settings, change: dict[str, object], named: str
) -> None:
    now = settings.replace(**change)  # pyright: ignore[reportArgumentType]
    assert effective_settings(settings, now) is None
    assert settings_changed(settings, now) == (
        f"{named} of universe.toml changed since Dagster was started; nothing is launched until `ldtm up`"
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tickers": APPENDED, "retired": {"NEW": date(2026, 11, 20)}}, "tickers"),
        ({"source": SourceConfig(kind="ib")}, "source"),
        ({"automation": AutomationConfig(enabled=True)}, "automation.enabled"),
        ({"gate": GateConfig(strict=True), "retired": IBM_LEFT}, "gate.strict"),
        ({"ui": UiConfig(token=True, url="https://ldtm.example.org")}, "ui"),
    ],
)
def test_what_waits_for_a_new_start_stops_nothing_else(
    settings: Settings, change: dict[str, object], named: str
) -> None:
    now = settings.replace(**change)  # pyright: ignore[reportArgumentType]
    present = effective_settings(settings, now)
    assert present is not None
    assert (present.tickers, present.automation, present.gate) == (settings.tickers, now.automation, now.gate)
    assert dict(present.retired) == {t: day for t, day in now.retired.items() if t != "NEW"}
    assert settings_changed(settings, now) == (
        f"{named} of universe.toml changed since Dagster was started; `ldtm up` applies the change"
    )


def test_what_each_run_reads_anew_takes_effect_without_one(settings: Settings) -> None:
    now = settings.replace(
        path=Path("elsewhere") / settings.path.name,
        retired=IBM_LEFT,
        automation=AutomationConfig(report_after_attempts=2),
        ledger=LedgerConfig(void_after_sessions=5),
        training=TrainingConfig(max_epochs=3),
        alerts=AlertsConfig(hold_minutes=0),
        registry=RegistryConfig(degradation_policy="retire"),
    )
    assert settings_changed(settings, now) is None
    assert effective_settings(settings, now) == now


def test_a_change_is_one_alert_that_is_resolved_when_the_file_is_as_before(
    conn: Connection, settings: Settings
) -> None:
    changed = settings.replace(partitions=PartitionConfig(first_session=date(2026, 1, 2)))
    for _ in range(2):
        assert check_settings(conn, settings, changed) == settings_changed(settings, changed)
    [alert] = open_alerts(conn)
    assert (alert.key, alert.severity, alert.subject) == ("settings/changed", "error", "universe.toml")
    assert "`ldtm up`" in alert.summary
    conn.commit()
    assert check_settings(conn, changed, changed) is None
    assert open_alerts(conn) == []
    conn.commit()
    check_settings(conn, settings, changed)
    assert len(open_alerts(conn)) == 1, "changed again, reported again"
    check_settings(conn, settings, settings.replace(tickers=APPENDED))
    assert [alert.severity for alert in open_alerts(conn)] == ["warning"]
