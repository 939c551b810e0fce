"""Read and check the one file that an owner edits: it names what differs from the defaults, and nothing unknown."""

import dataclasses
import ipaddress
import math
import re
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, cast, get_args

from ldtm_lib.config import ArchitectureConfig, ContractConfig, PagesConfig, PublishConfig, Settings
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.url import web_host

_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    date: "a date such as 2026-03-02",
}
_INDICATOR_BARS = 19
"""What the longest indicator, MA-20, reads before a bar; with less warm-up no window would ever be complete."""
_MOST_JOBS = 64
"""Slots of a GPU whose leases are counted (`ldtm_lib/gpu/locks.py`)."""
_SHORTEST_WAIT = 5
"""Sessions before a void that the database itself insists on."""
_LONGEST_PAUSE_MS = 1000.0
"""A longer pause is a mistake in the unit: a step takes a few milliseconds."""
_LONGEST_TIMEOUT_SECONDS = 600.0
"""A longer one would hold up the evening."""
_MOST_REQUESTS = 50
"""Historical requests that Interactive Brokers keeps open for one client (TWS API, historical data limitations)."""
_LEAST_RUN_DAYS = 35
"""A one-month forecast is filled within these days, and the pages should still show its cell then."""


def load_settings(path: Path) -> Settings:
    """Read and validate a configuration file.

    Raises ConfigurationError when the file is missing, is not TOML, or has a key or value that is not known.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no configuration at {path}; name one with --config or LDTM_CONFIG"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    sections = {f.name: f.type for f in dataclasses.fields(Settings) if dataclasses.is_dataclass(f.type)}
    known = {"tickers", "retired", "contracts", *sections}
    if unknown := sorted(set(raw) - known):
        raise ConfigurationError(f"{path}: unknown setting `{unknown[0]}`; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {
        name: _section(path, name, cast(type, section), raw[name]) for name, section in sections.items() if name in raw
    }
    tickers = _tickers(path, raw.get("tickers"))
    retired = _retired(path, raw.get("retired", {}), tickers)
    contracts = _contracts(path, raw.get("contracts", {}), tickers)
    settings = Settings(path=path.resolve(), tickers=tickers, retired=retired, contracts=contracts, **values)
    _check_ranges(path, settings)
    _check_pages(path, settings.pages)
    _check_publications(path, settings.publish)
    return settings


def _tickers(path: Path, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw:
        raise ConfigurationError(f'{path}: `tickers` must be a list of names such as ["AAPL", "MSFT"]')
    names = cast(list[Any], raw)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ConfigurationError(f"{path}: {name!r} cannot be a ticker; use letters, digits, '.', '-' and '_'")
    if twice := sorted({str(n) for n in names if names.count(n) > 1}):
        raise ConfigurationError(f"{path}: {twice[0]} stands twice in `tickers`; remove one")
    return tuple(names)


def _retired(path: Path, raw: Any, tickers: tuple[str, ...]) -> dict[str, date]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: [retired] must be a table such as XYZ = 2026-03-02")
    retired = cast(dict[str, Any], raw)
    for ticker, since in retired.items():
        if ticker not in tickers:
            raise ConfigurationError(f"{path}: retired ticker {ticker} must stay in `tickers`, its history is kept")
        if type(since) is not date:
            raise ConfigurationError(f"{path}: retired.{ticker} must be a date such as 2026-03-02, not {since!r}")
    return retired


def _contracts(path: Path, raw: Any, tickers: tuple[str, ...]) -> dict[str, ContractConfig]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: [contracts] must hold a table per ticker, such as [contracts.META]")
    named = cast(dict[str, Any], raw)
    if unknown := sorted(set(named) - set(tickers)):
        raise ConfigurationError(f"{path}: contracts.{unknown[0]} is of no ticker in `tickers`; add it there")
    return {ticker: _contract(path, f"contracts.{ticker}", own) for ticker, own in named.items()}


def _contract(path: Path, name: str, raw: Any) -> ContractConfig:
    contract: ContractConfig = _section(path, name, ContractConfig, raw)
    if empty := [key for key, value in raw.items() if value == ""]:
        raise ConfigurationError(f"{path}: {name}.{empty[0]} is empty; fill it in, or remove it")
    if contract.con_id is not None:
        if contract.con_id < 1:
            raise ConfigurationError(f"{path}: {name}.con_id is {contract.con_id}; it must be at least 1")
        if ignored := sorted(raw.keys() - {"con_id", "exchange"}):
            raise ConfigurationError(
                f"{path}: {name}.{ignored[0]} does not count beside con_id, which decides alone; remove either"
            )
    return contract


def _section(path: Path, name: str, section: type, raw: Any) -> Any:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: `{name}` must be a table, [{name}]")
    values = cast(dict[str, Any], raw)
    fields = {f.name: f for f in dataclasses.fields(section)}
    for key in values:
        if key not in fields:
            raise ConfigurationError(f"{path}: unknown setting `{name}.{key}`; known are {', '.join(sorted(fields))}")
    checked = {k: _checked(path, f"{name}.{k}", fields[k].type, value) for k, value in values.items()}
    return section(**checked)


def _checked(path: Path, key: str, expected: Any, value: Any) -> Any:
    """The value, a whole number for a float as that float, so that 1 and 1.0 have one fingerprint."""
    choices = [c for c in get_args(expected) if isinstance(c, str)]
    for arm in get_args(expected):
        choices += [c for c in get_args(arm) if isinstance(c, str)]
    if choices:
        if value not in choices:
            raise ConfigurationError(f"{path}: {key} is {value!r}; it must be one of {', '.join(choices)}")
        return value
    allowed: tuple[type, ...] = tuple(a for a in (get_args(expected) or (expected,)) if isinstance(a, type))
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        wanted = " or ".join(_TYPE_WORDS[a] for a in allowed if a in _TYPE_WORDS)
        raise ConfigurationError(f"{path}: {key} is {value!r}; it must be {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{path}: {key} is {value}; it must be a finite number")
    return value


def _check_ranges(path: Path, settings: Settings) -> None:
    """Refuse values that no run could mean."""
    minima = {
        "window.window_sessions": (settings.window.window_sessions, 2),
        "window.warmup_bars": (settings.window.warmup_bars, _INDICATOR_BARS),
        "architecture.hidden": (settings.architecture.hidden, 1),
        "architecture.num_layers": (settings.architecture.num_layers, 1),
        "architecture.head_hidden": (settings.architecture.head_hidden, 1),
        "training.batch_size": (settings.training.batch_size, 1),
        "training.max_epochs": (settings.training.max_epochs, 1),
        "training.weight_decay": (settings.training.weight_decay, 0),
        "training.patience": (settings.training.patience, 1),
        "training.min_training_rows": (settings.training.min_training_rows, 1),
        "training.seed": (settings.training.seed, 0),
        "backtest.num_folds": (settings.backtest.num_folds, 1),
        "backtest.test_sessions": (settings.backtest.test_sessions, 1),
        "backtest.embargo_sessions": (settings.backtest.embargo_sessions, 0),
        "gate.max_price_error": (settings.gate.max_price_error, 0),
        "gate.max_leakage_rows": (settings.gate.max_leakage_rows, 0),
        "gate.min_folds": (settings.gate.min_folds, 1),
        "leakage.sampled_windows": (settings.leakage.sampled_windows, 1),
        "leakage.sampled_tickers": (settings.leakage.sampled_tickers, 1),
        "registry.kept_retired_files": (settings.registry.kept_retired_files, 1),
        "registry.kept_candidate_files": (settings.registry.kept_candidate_files, 1),
        "forecast.neutral_band": (settings.forecast.neutral_band, 0),
        "ledger.void_after_sessions": (settings.ledger.void_after_sessions, _SHORTEST_WAIT),
        "ib.requests_in_flight": (settings.ib.requests_in_flight, 1),
        "ib.num_attempts": (settings.ib.num_attempts, 1),
        "automation.report_after_attempts": (settings.automation.report_after_attempts, 1),
        "automation.deadline_warning_minutes": (settings.automation.deadline_warning_minutes, 0),
        "automation.longest_retry_minutes": (
            settings.automation.longest_retry_minutes,
            settings.automation.first_retry_minutes,
        ),
        "automation.catch_up_sessions": (settings.automation.catch_up_sessions, 1),
        "automation.sessions_per_run": (settings.automation.sessions_per_run, 1),
        "automation.retrained_within_days": (settings.automation.retrained_within_days, 1),
        "alerts.hold_minutes": (settings.alerts.hold_minutes, 0),
        "retention.run_log_days": (settings.retention.run_log_days, 1),
        "retention.run_days": (settings.retention.run_days, max(_LEAST_RUN_DAYS, settings.retention.run_log_days)),
        "retention.quarantine_days": (settings.retention.quarantine_days, 1),
        "retention.operations_days": (settings.retention.operations_days, 2 * settings.automation.catch_up_sessions),
        "retention.log_mib": (settings.retention.log_mib, 1),
        "gpu.mib_per_job": (settings.gpu.mib_per_job, 1),
        "gpu.reserve_mib": (settings.gpu.reserve_mib, 0),
        "gpu.max_jobs": (settings.gpu.max_jobs, 1),
        "gpu.pause_ms": (settings.gpu.pause_ms, 0),
    }
    for key, (value, least) in minima.items():
        if value < least:
            raise ConfigurationError(f"{path}: {key} is {value}; it must be at least {least}")
    for key, value, most in (
        ("ib.requests_in_flight", settings.ib.requests_in_flight, _MOST_REQUESTS),
        ("gpu.max_jobs", settings.gpu.max_jobs, _MOST_JOBS),
        ("gpu.pause_ms", settings.gpu.pause_ms, _LONGEST_PAUSE_MS),
        (
            "publish.timestamp_timeout_seconds",
            settings.publish.timestamp_timeout_seconds,
            _LONGEST_TIMEOUT_SECONDS,
        ),
    ):
        if value > most:
            raise ConfigurationError(f"{path}: {key} is {value}; it must be at most {most}")
    for key, value in (
        ("training.learning_rate", settings.training.learning_rate),
        ("ib.request_timeout_seconds", settings.ib.request_timeout_seconds),
        ("ib.connect_timeout_seconds", settings.ib.connect_timeout_seconds),
        ("ib.fetch_timeout_seconds", settings.ib.fetch_timeout_seconds),
        ("automation.first_retry_minutes", settings.automation.first_retry_minutes),
        ("alerts.give_up_after_hours", settings.alerts.give_up_after_hours),
        ("publish.timestamp_timeout_seconds", settings.publish.timestamp_timeout_seconds),
    ):
        if value <= 0:
            raise ConfigurationError(f"{path}: {key} is {value}; it must be above 0")
    for key, value, only in (
        ("architecture.num_inputs", settings.architecture.num_inputs, ArchitectureConfig().num_inputs),
        ("architecture.num_horizons", settings.architecture.num_horizons, ArchitectureConfig().num_horizons),
    ):
        if value != only:
            raise ConfigurationError(f"{path}: {key} is {value}; there are {only}, remove the setting")
    first, last = settings.partitions.first_session, settings.partitions.last_session
    if last is not None and last < first:
        raise ConfigurationError(f"{path}: partitions.last_session is {last}, before the first_session, {first}")
    fractions = {
        "training.validation_fraction": settings.training.validation_fraction,
        "gate.min_direction_accuracy": settings.gate.min_direction_accuracy,
        "gate.significance": settings.gate.significance,
        "gate.max_false_discovery_rate": settings.gate.max_false_discovery_rate,
        "registry.degradation_significance": settings.registry.degradation_significance,
    }
    for key, value in fractions.items():
        if not 0 < value < 1:
            raise ConfigurationError(f"{path}: {key} is {value}; it must lie between 0 and 1")
    for key, name in (
        ("database.schema", settings.database.schema),
        ("database.dagster_schema", settings.database.dagster_schema),
    ):
        if not name.isidentifier() or name != name.lower():
            raise ConfigurationError(f"{path}: {key} is {name!r}; use lower-case letters, digits and '_'")
    if settings.database.schema == settings.database.dagster_schema:
        raise ConfigurationError(
            f"{path}: database.schema and database.dagster_schema are both {settings.database.schema!r}; "
            "the record and Dagster's storage need a schema each, change one of them"
        )


def _check_pages(path: Path, pages: PagesConfig) -> None:
    """Refuse to show pages without a login to a network, unless the owner says so in as many words."""
    if web_host(pages.url) is None:
        raise ConfigurationError(
            f"{path}: pages.url is {pages.url!r}; it must begin with http:// or https:// and a host"
        )
    if not (is_loopback(pages.host) or pages.allow_other_addresses):
        raise ConfigurationError(
            f"{path}: pages.host is {pages.host!r}, which others may reach, and Dagster's pages have no login; put a "
            "reverse proxy with one before 127.0.0.1 (docs/production.md), or set pages.allow_other_addresses = true"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_publications(path: Path, publish: PublishConfig) -> None:
    """Refuse a publication that is only half configured."""
    for key, value in (
        ("file", publish.file),
        ("git", publish.git),
        ("timestamp_url", publish.timestamp_url),
        ("timestamp_certificates", publish.timestamp_certificates),
    ):
        if value is not None and not value.strip():
            raise ConfigurationError(f"{path}: publish.{key} is {value!r}; name one or remove the setting")
    if publish.push and publish.git is None:
        raise ConfigurationError(f"{path}: publish.push is true; name the repository to push in publish.git")
    if publish.timestamp_url is None:
        if publish.timestamp_certificates is not None:
            raise ConfigurationError(
                f"{path}: publish.timestamp_certificates is {publish.timestamp_certificates!r}; "
                "name their authority in publish.timestamp_url"
            )
        return
    if web_host(publish.timestamp_url) is None:
        raise ConfigurationError(
            f"{path}: publish.timestamp_url is {publish.timestamp_url!r}; it must begin with http:// or https:// "
            "and a host"
        )
    if publish.timestamp_certificates is None:
        raise ConfigurationError(
            f"{path}: publish.timestamp_url is {publish.timestamp_url!r}; "
            "name the PEM file with its root certificate in publish.timestamp_certificates"
        )
