"""The source that a configuration names."""

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path

from ldtm_lib.errors import ConfigurationError
from ldtm_lib.prices.sources.files import FilesSource
from ldtm_lib.prices.sources.ib.connection import Address, address_of
from ldtm_lib.prices.sources.ib.pacing import Pacer
from ldtm_lib.prices.sources.ib.source import IbSource
from ldtm_lib.prices.sources.protocol import PriceSource
from ldtm_lib.prices.sources.sample import SampleSource
from ldtm_lib.prices.sources.url.answer_cache import AnswerCache
from ldtm_lib.prices.sources.url.fetch import Service
from ldtm_lib.prices.sources.url.pacing import RequestPacer
from ldtm_lib.prices.sources.url.secrets import read_secrets
from ldtm_lib.prices.sources.url.source import UrlSource
from ldtm_lib.prices.sources.yahoo import YahooSource
from ldtm_lib.project import home_of
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import Settings


def open_source(settings: Settings, environ: Mapping[str, str], moment: datetime) -> PriceSource:
    """The source of a configuration; raises ConfigurationError if it is not described in full.

    The environment holds the address of TWS (`ib`) and the keys of a web service (`url`); `moment` (aware) is the time
    of the fetch, by the database's clock.
    """
    if settings.source.kind == "sample":
        return SampleSource()
    if settings.source.kind == "ib":
        address = address_of(environ)
        return IbSource(
            address=address,
            config=settings.ib,
            contracts=settings.contracts,
            calendar=exchange_calendar(),
            moment=moment,
            pacer=_pacer(address),
        )
    if settings.source.kind == "yfinance":
        return YahooSource(
            symbols=settings.symbols,
            calendar=exchange_calendar(),
            moment=moment,
            cache_folder=home_of(settings) / "yfinance",
        )
    folder = settings.path.parent / settings.source.folder
    if settings.source.kind == "url":
        return _url_source(settings, environ, moment, folder)
    if settings.source.basis is None:
        raise ConfigurationError(
            f"source.basis is not set: state whether the files in {folder} are split-adjusted; "
            'write basis = "adjusted" or basis = "raw" under [source]'
        )
    if not folder.is_dir():
        raise ConfigurationError(f"source.folder is {folder}, which is not a folder; create it or name another one")
    return FilesSource(folder, settings.source.basis, moment)


def _url_source(settings: Settings, environ: Mapping[str, str], moment: datetime, folder: Path) -> UrlSource:
    template = settings.url.template
    if template is None:
        raise ConfigurationError(
            'source.kind is "url", but url.url is not set; write the address of a service, with {ticker} in it, under '
            "[url]"
        )
    if settings.source.basis is None:
        raise ConfigurationError(
            f"source.basis is not set: state whether the bars of {template.host} are split-adjusted; "
            'write basis = "adjusted" or basis = "raw" under [source]'
        )
    service = Service(
        config=settings.url,
        template=template,
        secrets=read_secrets(settings.url, environ),
        cache=AnswerCache(home_of(settings) / "answers"),
        pacer=_url_pacer(template.host),
    )
    return UrlSource(
        service=service,
        basis=settings.source.basis,
        symbols=settings.symbols,
        splits_folder=folder,
        calendar=exchange_calendar(),
        moment=moment,
    )


@cache
def _url_pacer(host: str) -> RequestPacer:
    """Pacer of all requests of this process to one host."""
    return RequestPacer()


@cache
def _pacer(address: Address) -> Pacer:
    """Pacer of all requests of this process to one TWS, so that a second fetch keeps the rules too."""
    return Pacer()
