"""`ldtm doctor`: what this installation stands on, and what is missing."""

import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from ldtm_lib.config import Settings
from ldtm_lib.database import embedded
from ldtm_lib.database.clock import last_closed_session
from ldtm_lib.database.connection import Database, address
from ldtm_lib.database.migrate import pending_migrations
from ldtm_lib.errors import LdtmError
from ldtm_lib.gpu.devices import job_slots, read_gpus
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.project import DATABASE_VARIABLE, home_of
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings_file import load_settings

Level = Literal["ok", "warn", "fail"]
PACKAGES = ("dagster", "dagster-webserver", "dagster-postgres", "torch", "polars", "psycopg", "exchange-calendars")
OLDEST_POSTGRES = 150000
LITTLE_DISK_GIB = 5.0
COLOURS: dict[Level, str] = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at: how it is, and what to do about it."""

    what: str
    level: Level
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """The finding for JSON."""
        return asdict(self)


def examine(config: Path, environ: Mapping[str, str]) -> list[Finding]:
    """Look at everything; one thing that is broken does not hide the others."""
    settings = load_settings(config)
    findings = [_configuration(settings), _packages()]
    database = _guarded("database", lambda: _database(settings, environ))
    findings += database
    findings += _guarded("calendar", _calendar)
    findings += _guarded("source", lambda: _source(settings))
    return [*findings, _gpu(settings), _disk(settings)]


def print_findings(console: Console, findings: list[Finding]) -> None:
    """Show the findings as a table."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        colour = COLOURS[finding.level]
        text = finding.found + (f"\n[{colour}]-> {finding.remedy}[/]" if finding.remedy else "")
        table.add_row(f"[{colour}]{finding.level}[/]", finding.what, text)
    console.print(table)


def _guarded(what: str, look: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return look()
    except LdtmError as error:
        return [Finding(what=what, level="fail", found=str(error))]


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
            what="packages", level="fail", found=f"missing: {', '.join(missing)}", remedy="run `make install`"
        )
    return Finding(what="packages", level="ok", found=", ".join(found))


def _database(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    home = home_of(settings)
    if given := environ.get(DATABASE_VARIABLE):
        url, kind = given, f"given by {DATABASE_VARIABLE}"
    elif embedded.is_running(home):
        url, kind = embedded.start(home), f"embedded in {home / embedded.FOLDER}"
    else:
        return [
            Finding(
                what="database",
                level="warn",
                found=f"no {DATABASE_VARIABLE}, and the embedded PostgreSQL of {home} is not running",
                remedy="start it with `ldtm up`",
            )
        ]
    database = Database(url=url, schema=settings.database.schema)
    with database.transaction() as conn:
        number = conn.info.server_version
    at = f"PostgreSQL {number // 10000}.{number % 100} at {address(url)}, {kind}"
    if number < OLDEST_POSTGRES:
        return [Finding(what="database", level="fail", found=at, remedy="use PostgreSQL 15 or newer")]
    server = Finding(what="database", level="ok", found=at)
    if pending := pending_migrations(database):
        lacks = f"{settings.database.schema} lacks {', '.join(pending)}"
        return [server, Finding(what="schema", level="fail", found=lacks, remedy="run `ldtm db migrate`")]
    with database.transaction() as conn:
        closed = last_closed_session(conn)
    here = exchange_calendar()
    findings = [server, Finding(what="schema", level="ok", found=f"{settings.database.schema} is up to date")]
    if not here.is_session(closed):
        findings.append(
            Finding(
                what="clock", level="warn", found=f"the database knows {closed} as a session, this process does not"
            )
        )
    else:
        findings.append(Finding(what="clock", level="ok", found=f"newest closed session by the database: {closed}"))
    return findings


def _calendar() -> list[Finding]:
    calendar = exchange_calendar()
    found = (
        f"{calendar.name} of exchange-calendars {version('exchange-calendars')}, "
        f"{calendar.days[0]} to {calendar.days[-1]}"
    )
    return [Finding(what="calendar", level="ok", found=found)]


def _source(settings: Settings) -> list[Finding]:
    source = open_source(settings)
    return [Finding(what="source", level="ok", found=source.name)]


def _gpu(settings: Settings) -> Finding:
    reading = read_gpus()
    if not reading.gpus:
        return Finding(
            what="GPU", level="warn", found=reading.note, remedy="fine for the demo; 103 tickers want a CUDA GPU"
        )
    cards = ", ".join(f"{g.name} ({g.free_mib:,} of {g.total_mib:,} MiB free)" for g in reading.gpus)
    slots = job_slots(reading.gpus, settings.gpu)
    if not slots:
        reserve = f"{settings.gpu.reserve_mib} MiB are reserved for others"
        return Finding(
            what="GPU",
            level="warn",
            found=f"{cards}: no room for a job of {settings.gpu.mib_per_job} MiB, {reserve}",
            remedy="training waits; lower gpu.reserve_mib or gpu.mib_per_job, or free memory",
        )
    return Finding(what="GPU", level="ok", found=f"{cards}: {slots} jobs at once")


def _disk(settings: Settings) -> Finding:
    home = home_of(settings)
    folder = home if home.exists() else home.parent
    free = shutil.disk_usage(folder).free / 2**30
    found = f"{free:.1f} GiB free at {folder}"
    if free < LITTLE_DISK_GIB:
        return Finding(what="disk", level="warn", found=found, remedy="bars, checkpoints and logs grow: free some")
    return Finding(what="disk", level="ok", found=found)
