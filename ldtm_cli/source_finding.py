"""Diagnosis of the source of bars: coverage of files, logon to TWS or Gateway, answer of a web service."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import urlsplit

from ldtm_cli.finding import Finding
from ldtm_lib.errors import SourceError
from ldtm_lib.prices.sources.ib.client import client_module
from ldtm_lib.prices.sources.ib.connection import address_of
from ldtm_lib.prices.sources.ib.reconnect import log_on_once
from ldtm_lib.prices.sources.open import open_source
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import IbConfig, Settings
from ldtm_lib.url import is_loopback
from ldtm_lib.wording import counted, named

LOGON_SECONDS = 5.0
ANSWER_SECONDS = 10.0
NUM_TRIED_SESSIONS = 5
"""Sessions before the newest one that the test request to a web service covers."""
NUM_SHOWN = 5
"""Tickers that a finding names."""


def source_finding(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Check the source: the logon for `ib`, one request for a web service, otherwise the coverage of the tickers.

    Coverage is checked without reading bars.
    """
    if settings.source.kind == "ib":
        return _interactive_brokers(settings.ib, environ)
    tickers = [ticker for ticker in settings.tickers if ticker not in settings.retired]
    if settings.source.kind in ("url", "yfinance"):
        return _web_service(settings, environ, tickers[0])
    source = open_source(settings, environ, datetime.now(UTC))
    coverage = source.coverage(tickers)
    where = (
        f"{settings.source.basis} prices in folder {settings.source.folder}" if source.name == "files" else source.name
    )
    found = f"{where}: {len(tickers) - len(coverage.lacking)} of {len(tickers)} tickers have bars there"
    if coverage.unreadable:
        more = f" and {counted(len(coverage.unreadable) - 1, 'more file')}" if len(coverage.unreadable) > 1 else ""
        found += f"; {next(iter(coverage.unreadable))}{more}"
    if not coverage.lacking:
        unread = f"correct or remove these files in {settings.source.folder}" if coverage.unreadable else ""
        return Finding(what="source", level="warn" if coverage.unreadable else "ok", found=found, remedy=unread)
    lacking = named(coverage.lacking, NUM_SHOWN)
    if coverage.num_shared_files:
        shared = counted(coverage.num_shared_files, "file with a ticker column", "files with a ticker column")
        found += f"; no readable file is named after {lacking}, but {shared} may hold their bars"
        return Finding(what="source", level="ok", found=found)
    remedy = "add a file named after each, such as AAPL.csv; " if source.name == "files" else ""
    return Finding(
        what="source",
        level="fail" if len(coverage.lacking) == len(tickers) else "warn",
        found=f"{found}; none for {lacking}",
        remedy=f"{remedy}or remove tickers without bars from {settings.path.name}".removeprefix("or "),
    )


def _interactive_brokers(config: IbConfig, environ: Mapping[str, str]) -> Finding:
    """Report the installed client, and try a logon to TWS or Gateway; requests no data and shows no account."""
    client, address = client_module(), address_of(environ)
    found = f"ib: {client} {version(client)}"
    try:
        log_on_once(address, config.replace(connect_timeout_seconds=min(LOGON_SECONDS, config.connect_timeout_seconds)))
    except SourceError as error:
        problem, _, remedy = str(error).rpartition("; ")
        return Finding(what="source", level="fail", found=f"{found}, {problem}", remedy=remedy)
    return Finding(what="source", level="ok", found=f"{found}, TWS or Gateway at {address} accepts the logon of LDTM")


def _web_service(settings: Settings, environ: Mapping[str, str], ticker: str) -> Finding:
    """Send one request for a few bars of one ticker; it counts towards the service's limit of requests."""
    limited = settings.url.replace(num_attempts=1, timeout_seconds=min(ANSWER_SECONDS, settings.url.timeout_seconds))
    now = datetime.now(UTC)
    source = open_source(settings.replace(url=limited), environ, now)
    last = exchange_calendar().last_closed(now)
    delivery = source.fetch([ticker], exchange_calendar().offset(last, -NUM_TRIED_SESSIONS), last)
    host = settings.url.template.host if source.name == "url" and settings.url.template else ""
    where = f"url: {host}" if host else source.name
    if ticker in delivery.failures:
        problem, _, remedy = str(delivery.failures[ticker]).rpartition("; ")
        return Finding(what="source", level="fail", found=f"{where}, {problem}", remedy=remedy)
    newest = delivery.bars["session"].max()
    found = f"{where} delivers {ticker}, the newest bar is of {newest}"
    if host.startswith("http:") and settings.url.variables and not is_loopback(urlsplit(host).hostname or ""):
        remedy = "write the https address that the service documents into url.url"
        return Finding(what="source", level="warn", found=f"{found}; keys are sent unencrypted", remedy=remedy)
    return Finding(what="source", level="ok", found=found)
