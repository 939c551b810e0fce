"""Diagnosis of the installation: versions, database, GPU, calendar, source, alerts, disk."""

import platform
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldtm_assets.training.gpus import gpus_here
from ldtm_cli.database_diagnosis import database_findings
from ldtm_cli.finding import Finding, guarded
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.alerts.delivery import channel_backlogs
from ldtm_lib.alerts.secrets import ALERT_VARIABLE
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import ConfigurationError, SourceError
from ldtm_lib.gpu.devices import GpuInventory
from ldtm_lib.gpu.locks import occupancies_now
from ldtm_lib.gpu.slots import Occupancy, job_slots
from ldtm_lib.installation import install_command
from ldtm_lib.maintenance.disk import LOW_DISK_GIB
from ldtm_lib.prices.sources.ib.client import client_module
from ldtm_lib.prices.sources.ib.connection import address_of
from ldtm_lib.prices.sources.ib.reconnect import log_on_once
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.project import (
    CONFIG_VARIABLE,
    home_of,
    open_project,
)
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import GpuConfig, IbConfig, Settings, UiConfig, load_settings
from ldtm_lib.url import is_loopback

PACKAGES = ("dagster", "dagster-webserver", "dagster-postgres", "torch", "polars", "psycopg", "exchange-calendars")
CALENDAR_PACKAGE = "exchange-calendars"
LOGON_SECONDS = 5.0
NUM_SHOWN = 5
"""Tickers that a finding names."""


def examine(config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Run every check; one that fails does not hide the others, the configuration included."""
    settings: Settings | None = None
    try:
        settings = load_settings(config)
        findings = [_configuration(settings)]
    except ConfigurationError as error:
        remedy = f"correct {config}, or name another configuration with --config or {CONFIG_VARIABLE}"
        findings = [Finding(what="configuration", level="fail", found=str(error), remedy=remedy)]
    findings.append(_packages())
    server = database_findings(settings, config, environ)
    findings += server
    findings += guarded("calendar", f"run `{install_command([CALENDAR_PACKAGE])}`", _calendar)
    if settings is not None:
        known = settings
        findings += guarded("source", f"correct [source] in {config}", lambda: [_source(known, environ)])
        findings.append(_ui(known.ui))
    answers = settings is not None and server[0].level == "ok"
    gpu_config = settings.gpu if settings else GpuConfig()
    findings += guarded(
        "GPU",
        "see the failure of the database",
        lambda: [
            gpu_finding(gpus_here(environ), gpu_config, open_project(config, environ).database if answers else None)
        ],
    )
    findings += guarded(
        "alerts",
        f"correct {ALERT_VARIABLE} in the environment",
        lambda: [_alerts(settings, environ, open_project(config, environ).database if answers else None)],
    )
    return [*findings, _disk(settings, config)]


def _alerts(settings: Settings | None, environ: Mapping[str, str], database: Database | None) -> Finding:
    """The channels of notifications, and the backlog of each; an invalid address is a failure."""
    names = [channel.shown_as for channel in valid_channels(environ)]
    if not names:
        remedy = f"set {ALERT_VARIABLE} to one or more addresses of apprise, and try them with `ldtm alerts test`"
        runs_by_itself = settings is not None and settings.automation.enabled
        found = "sent to nobody: they stay in the tables"
        return Finding(what="alerts", level="warn" if runs_by_itself else "ok", found=found, remedy=remedy)
    backlogs = _backlogs(database) if database else []
    found = "\n".join([f"sent to {' and '.join(names)}", *backlogs])
    if not backlogs:
        return Finding(what="alerts", level="ok", found=found)
    return Finding(what="alerts", level="warn", found=found, remedy="try the channels with `ldtm alerts test`")


def _backlogs(database: Database) -> list[str]:
    """The undelivered notifications of each channel, a line each; none where the tables do not exist yet."""
    if pending_migrations(database):
        return []
    with database.transaction() as conn:
        return [
            f"{backlog.shown_as}: {backlog.num_waiting} notifications wait, {backlog.num_given_up} were given up"
            + (f" ({backlog.last_error})" if backlog.last_error else "")
            for backlog in channel_backlogs(conn)
        ]


def _configuration(settings: Settings) -> Finding:
    retired = f", {len(settings.retired)} of them retired" if settings.retired else ""
    return Finding(what="configuration", level="ok", found=f"{settings.path}: {len(settings.tickers)} tickers{retired}")


def _packages() -> Finding:
    found, missing = [f"Python {platform.python_version()}"], list[str]()
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    if missing:
        return Finding(
            what="packages",
            level="fail",
            found=f"missing: {', '.join(missing)}",
            remedy=f"run `{install_command(missing)}`",
        )
    return Finding(what="packages", level="ok", found=", ".join(found))


def _calendar() -> list[Finding]:
    calendar = exchange_calendar()
    found = (
        f"{calendar.name} of exchange-calendars {version('exchange-calendars')}, "
        f"{calendar.days[0]} to {calendar.days[-1]}"
    )
    return [Finding(what="calendar", level="ok", found=found)]


def _source(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Whether every ticker that is not retired has something in the source; no bar is read."""
    if settings.source.kind == "ib":
        return _interactive_brokers(settings.ib, environ)
    source = open_source(settings, environ, datetime.now(UTC))
    tickers = [ticker for ticker in settings.tickers if ticker not in settings.retired]
    coverage = source.coverage(tickers)
    unread = f"correct or remove these files in {settings.source.folder}" if coverage.unreadable else ""
    where = f"{settings.source.basis} files in {settings.source.folder}" if source.name == "files" else source.name
    found = f"{where}: {len(tickers) - len(coverage.lacking)} of {len(tickers)} tickers have bars there"
    if coverage.unreadable:
        more = f" and {len(coverage.unreadable) - 1} more files" if len(coverage.unreadable) > 1 else ""
        found += f"; {next(iter(coverage.unreadable))}{more}"
    if not coverage.lacking:
        return Finding(what="source", level="warn" if coverage.unreadable else "ok", found=found, remedy=unread)
    few = ", ".join(coverage.lacking[:NUM_SHOWN])
    more = len(coverage.lacking) - NUM_SHOWN
    lacking = f"{few} and {more} more" if more > 0 else few
    if coverage.num_shared_files:
        found += f" by the name of a file; {lacking} may be in {coverage.num_shared_files:,} files that name tickers"
        return Finding(what="source", level="ok", found=found)
    remedy = "add a file named after each, such as AAPL.csv; " if source.name == "files" else ""
    return Finding(
        what="source",
        level="fail" if len(coverage.lacking) == len(tickers) else "warn",
        found=f"{found}; none for {lacking}",
        remedy=f"{remedy}or remove what shall not be forecast from {settings.path.name}".removeprefix("or "),
    )


def _interactive_brokers(config: IbConfig, environ: Mapping[str, str]) -> Finding:
    """Which client is installed, and whether TWS or Gateway lets LDTM log on; nothing is asked, no account is shown."""
    client, address = client_module(), address_of(environ)
    found = f"ib: {client} {version(client)}"
    try:
        log_on_once(address, config.replace(connect_timeout_seconds=min(LOGON_SECONDS, config.connect_timeout_seconds)))
    except SourceError as error:
        problem, _, remedy = str(error).rpartition("; ")
        return Finding(what="source", level="fail", found=f"{found}, {problem}", remedy=remedy)
    return Finding(what="source", level="ok", found=f"{found}, TWS or Gateway at {address} lets LDTM log on")


def gpu_finding(inventory: GpuInventory, config: GpuConfig, database: Database | None) -> Finding:
    """Every GPU with its memory, the jobs that fit there and the leases held; these are unknown without a database."""
    if not inventory.gpus:
        return Finding(
            what="GPU", level="warn", found=inventory.note, remedy="fine for the demo; 103 tickers want a CUDA GPU"
        )
    known = occupancies_now(database, inventory) if database else [Occupancy(gpu=gpu) for gpu in inventory.gpus]
    slots = job_slots(known, config)
    found = "\n".join(
        [
            f"{inventory.note}; {slots} of at most {config.max_jobs} job{'s' if config.max_jobs != 1 else ''} at once",
            *(_gpu_line(occupancy, config, leases_are_known=database is not None) for occupancy in known),
        ]
    )
    if slots:
        return Finding(what="GPU", level="ok", found=found)
    return Finding(
        what="GPU",
        level="warn",
        found=f"{found}\nno room for a job of {config.mib_per_job} MiB beside a reserve of {config.reserve_mib} MiB",
        remedy="training waits; lower gpu.reserve_mib or gpu.mib_per_job, or free memory",
    )


def _gpu_line(occupancy: Occupancy, config: GpuConfig, *, leases_are_known: bool) -> str:
    gpu, slots = occupancy.gpu, occupancy.num_slots(config)
    leases = f"{len(occupancy.held)} leased" if leases_are_known else "leases unknown without the database"
    return (
        f"GPU {gpu.index} {gpu.name}: {gpu.free_mib:,} of {gpu.total_mib:,} MiB free, "
        f"{slots} slot{'s' if slots != 1 else ''}, {leases}"
    )


def _ui(ui: UiConfig) -> Finding:
    """The address of the UI, which has no login, and who can reach it."""
    if is_loopback(ui.host):
        found = f"served on {ui.host}, reached from this machine alone"
        return Finding(what="UI", level="ok", found=found)
    return Finding(
        what="UI",
        level="warn",
        found=f"served on {ui.host} without a login: whoever reaches that address may do anything there",
        remedy="set ui.host to 127.0.0.1 and put a reverse proxy with a login before it (docs/production.md)",
    )


def _disk(settings: Settings | None, config: Path) -> Finding:
    """Free space where the state of the configuration lives, or would live."""
    home = home_of(settings) if settings else config.resolve().parent
    folder = next(place for place in (home, *home.parents) if place.exists())
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.1f} GiB free at {folder}"
    if free < LOW_DISK_GIB:
        return Finding(what="disk", level="warn", found=found, remedy="bars, checkpoints and logs grow: free some")
    return Finding(what="disk", level="ok", found=found)
