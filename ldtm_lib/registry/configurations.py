"""Configurations on record: the universe and the settings that a forecast depends on, one for every change.

Each is an event of the chain, so that a ticker that left the universe, or a bound that was lowered, is dated.
"""

import json
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from ldtm_lib.database.connection import Connection
from ldtm_lib.database.queries import query
from ldtm_lib.errors import ConfigurationError, LedgerRefused
from ldtm_lib.settings import ForecastConfig, GateConfig, Section, Settings, canonical_json, fingerprint

NAMED = 5
"""Tickers that an error names."""


def model_settings(settings: Settings) -> tuple[Section, ...]:
    """The sections that models, verdicts and forecasts depend on."""
    s = settings
    return s.window, s.architecture, s.training, s.backtest, s.gate, s.forecast, s.intervals


def model_settings_sha256(settings: Settings) -> str:
    """A fingerprint of all settings that models, verdicts and forecasts depend on."""
    return fingerprint(*model_settings(settings))


def record_configuration(conn: Connection, settings: Settings) -> None:
    """Put the universe and the settings on record if they differ from the newest ones there.

    Holds the lock of the chain until the caller's transaction ends, so that a verdict recorded in it is of this
    configuration. Raises ConfigurationError if the file lacks a ticker that is in service, and LedgerRefused if nothing
    can be recorded now.
    """
    values = {
        "tickers": list(settings.tickers),
        "retired": Jsonb({ticker: day.isoformat() for ticker, day in settings.retired.items()}),
        "settings": canonical_json(*model_settings(settings)),
    }
    require_listed(conn, settings)
    try:
        conn.execute(query("registry.record_configuration"), values)
    except psycopg.errors.IntegrityConstraintViolation as error:
        raise LedgerRefused(f"nothing can be recorded: {error.diag.message_primary}") from error


def require_listed(conn: Connection, settings: Settings) -> None:
    """Raise ConfigurationError if the file lacks a ticker that is in service: nothing would be recorded with it."""
    found = conn.execute(query("registry.removed_in_service"), {"tickers": list(settings.tickers)}).fetchall()
    if found:
        removed = ", ".join(ticker for (ticker,) in found[:NAMED]) + (", ..." if found[NAMED:] else "")
        raise ConfigurationError(
            f"{settings.path} lacks tickers that are in service: {removed}. Add them to `tickers` again, and list "
            "their first session outside the universe under [retired]; their history stays"
        )


def judged_by(settings: str) -> tuple[GateConfig, ForecastConfig] | None:
    """The bounds of the gate and the neutral band in the settings of a configuration.

    None for settings of another version of LDTM, whose gate has other rules.
    """
    try:
        sections: Mapping[str, Any] = {name: values for part in json.loads(settings) for name, values in part.items()}
        gate = GateConfig.model_validate(sections[GateConfig.__name__])
        forecast = ForecastConfig.model_validate(sections[ForecastConfig.__name__])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    has_all = gate.model_dump().keys() == sections[GateConfig.__name__].keys()
    return (gate, forecast) if has_all else None
