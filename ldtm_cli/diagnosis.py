"""Diagnosis of the installation: versions, database, GPU, calendar, source, alerts, disk."""

import platform
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ldtm_cli.database_diagnosis import database_findings
from ldtm_cli.finding import Finding, guarded
from ldtm_cli.source_finding import source_finding
from ldtm_lib.alerts.channels import valid_channels
from ldtm_lib.alerts.delivery import channel_backlogs
from ldtm_lib.alerts.secrets import ALERT_VARIABLE
from ldtm_lib.database.connection import Database
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import ConfigurationError
from ldtm_lib.gpu.devices import GpuInventory
from ldtm_lib.gpu.locks import occupancies_now
from ldtm_lib.gpu.slots import Occupancy, job_slots
from ldtm_lib.installation import install_command
from ldtm_lib.maintenance.disk import LOW_DISK_GIB
from ldtm_lib.models.visible_gpus import gpus_here
from ldtm_lib.project import CONFIG_VARIABLE, home_of, open_project
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import GpuConfig, Settings, UiConfig, load_settings
from ldtm_lib.training.gpu_alert import slow_training
from ldtm_lib.url import is_loopback
from ldtm_lib.wording import counted

PACKAGES = ("dagster", "dagster-webserver", "dagster-postgres", "torch", "polars", "psycopg", "exchange-calendars")
CALENDAR_PACKAGE = "exchange-calendars"


def examine(config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Run every check; a failing one, even that of the configuration, does not stop the others."""
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
        findings += guarded("source", f"correct [source] in {config}", lambda: [source_finding(known, environ)])
        findings.append(_ui(known.ui))
    answers = settings is not None and server[0].level == "ok"
    gpu_config = settings.gpu if settings else GpuConfig()
    findings += guarded(
        "GPU",
        "see the failure of the database",
        lambda: gpu_findings(
            gpus_here(environ), gpu_config, open_project(config, environ).database if answers else None
        ),
    )
    if settings is not None and settings.engine.kind == "ray":
        from ldtm_cli.cluster_findings import cluster_findings

        project = open_project(config, environ) if answers else None
        findings += cluster_findings(settings.engine, environ, project)
    findings += guarded(
        "alerts",
        f"correct {ALERT_VARIABLE} in the environment",
        lambda: [_alerts(settings, environ, open_project(config, environ).database if answers else None)],
    )
    return [*findings, _disk(settings, config)]


def _alerts(settings: Settings | None, environ: Mapping[str, str], database: Database | None) -> Finding:
    """The channels of notifications, and the backlog of each; an invalid URL is a failure."""
    names = [channel.shown_as for channel in valid_channels(environ)]
    if not names:
        remedy = f"set {ALERT_VARIABLE} to one or more Apprise URLs, and test them with `ldtm alerts test`"
        runs_by_itself = settings is not None and settings.automation.enabled
        found = "not sent to anyone: they stay in the tables"
        return Finding(what="alerts", level="warn" if runs_by_itself else "ok", found=found, remedy=remedy)
    backlogs = _backlogs(database) if database else []
    found = "\n".join([f"sent to {' and '.join(names)}", *backlogs])
    if not backlogs:
        return Finding(what="alerts", level="ok", found=found)
    return Finding(what="alerts", level="warn", found=found, remedy="test the channels with `ldtm alerts test`")


def _backlogs(database: Database) -> list[str]:
    """The undelivered notifications of each channel, a line each; none where the tables do not exist yet."""
    if pending_migrations(database):
        return []
    with database.transaction() as conn:
        return [
            f"{backlog.shown_as}: {counted(backlog.num_waiting, 'notification')} waiting, "
            f"{backlog.num_given_up} given up" + (f" ({backlog.last_error})" if backlog.last_error else "")
            for backlog in channel_backlogs(conn)
        ]


def _configuration(settings: Settings) -> Finding:
    retired = f", {len(settings.retired)} of them retired" if settings.retired else ""
    return Finding(
        what="configuration", level="ok", found=f"{settings.path}: {counted(len(settings.tickers), 'ticker')}{retired}"
    )


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


def gpu_findings(inventory: GpuInventory, config: GpuConfig, database: Database | None) -> list[Finding]:
    """Findings about the GPUs, and about a newest GPU training that fell back to a slower method."""
    findings = [gpu_finding(inventory, config, database)]
    if database is not None and not pending_migrations(database):
        with database.transaction() as conn:
            slow = slow_training(conn)
        if slow is not None:
            findings.append(
                Finding(
                    what="training",
                    level="warn",
                    found=slow,
                    remedy="fix the named cause, then train again; `ldtm doctor --gpu` tests the GPU",
                )
            )
    return findings


def gpu_finding(inventory: GpuInventory, config: GpuConfig, database: Database | None) -> Finding:
    """Every GPU with its memory, the jobs that fit there and the leases held; these are unknown without a database."""
    if not inventory.gpus:
        return Finding(
            what="GPU",
            level="warn",
            found=inventory.note,
            remedy="fine for the demo and for a few tickers; for about 100 tickers, use a CUDA GPU",
        )
    known = occupancies_now(database, inventory) if database else [Occupancy(gpu=gpu) for gpu in inventory.gpus]
    slots = job_slots(known, config)
    found = "\n".join(
        [
            f"{inventory.note}; {slots} of at most {counted(config.max_jobs, 'job')} at once",
            *(_gpu_line(occupancy, config, leases_are_known=database is not None) for occupancy in known),
        ]
    )
    if slots:
        return Finding(what="GPU", level="ok", found=found)
    return Finding(
        what="GPU",
        level="warn",
        found=f"{found}\nno room for a job of {config.mib_per_job} MiB plus a reserve of {config.reserve_mib} MiB",
        remedy="training waits; lower gpu.reserve_mib or gpu.mib_per_job, or free memory",
    )


def _gpu_line(occupancy: Occupancy, config: GpuConfig, *, leases_are_known: bool) -> str:
    gpu, slots = occupancy.gpu, occupancy.num_slots(config)
    leases = f"{len(occupancy.held)} leased" if leases_are_known else "leases unknown without the database"
    return (
        f"GPU {gpu.index} {gpu.name}: {gpu.free_mib:,} of {gpu.total_mib:,} MiB free, "
        f"{counted(slots, 'slot')}, {leases}"
    )


def _ui(ui: UiConfig) -> Finding:
    """The address of the UI, which has no login but a token, and who can use it."""
    if is_loopback(ui.host):
        found = f"served on {ui.host}, reachable only from this machine{' with a token' if ui.token else ''}"
        return Finding(what="UI", level="ok", found=found)
    return Finding(
        what="UI",
        level="warn",
        found=f"served on {ui.host} without TLS: anyone who can read the network traffic learns the token"
        if ui.token
        else f"served on {ui.host} without a login: anyone who can reach that address can do anything there",
        remedy="set ui.host to 127.0.0.1 and put a reverse proxy with a login in front of it (docs/operations.md)",
    )


def _disk(settings: Settings | None, config: Path) -> Finding:
    """Free space where the state of the configuration is stored, or would be."""
    home = home_of(settings) if settings else config.resolve().parent
    folder = next(place for place in (home, *home.parents) if place.exists())
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.1f} GiB free at {folder}"
    if free < LOW_DISK_GIB:
        return Finding(
            what="disk", level="warn", found=found, remedy="free some space: bars, checkpoints and logs grow"
        )
    return Finding(what="disk", level="ok", found=found)
