"""Fetches of a `url` source from a service of the tests, with waits of milliseconds."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from ldtm_lib.prices.sources.protocol import Delivery
from ldtm_lib.prices.sources.url.answer_cache import AnswerCache
from ldtm_lib.prices.sources.url.fetch import Service
from ldtm_lib.prices.sources.url.pacing import RequestPacer, RequestPatience
from ldtm_lib.prices.sources.url.secrets import read_secrets
from ldtm_lib.prices.sources.url.source import UrlSource
from ldtm_lib.sessions import exchange_calendar
from ldtm_lib.settings import PriceBasis, UrlConfig
from tests.integration.prices.url.web_service import KEY, WebService

FIRST, LAST = date(2026, 11, 16), date(2026, 11, 20)
EVENING = datetime(2026, 11, 20, 23, 15, tzinfo=UTC)
SESSIONS = [date(2026, 11, day) for day in (16, 17, 18, 19, 20)]
CLOSES = (100.0, 101.5, 99.25, 102.0, 103.125)
VARIABLE = "LDTM_PRICES_KEY"
SHORT = RequestPatience(first_pause=0.02, longest_pause=5.0, minute=0.5, unreachable=30.0)
CSV = "Date,Open,High,Low,Close,Volume\n" + "".join(
    f"{day},{close},{close + 1},{close - 1},{close},{1000 + n}\n"
    for n, (day, close) in enumerate(zip(SESSIONS, CLOSES, strict=True))
)


def source_of(
    service: WebService | str,
    folder: Path,
    *,
    query: str = "",
    basis: PriceBasis = "adjusted",
    symbols: Mapping[str, str] | None = None,
    pacer: RequestPacer | None = None,
    **settings: object,
) -> UrlSource:
    """A source of /TICKER with the query of an address, whose answers are kept in a folder."""
    address = service if isinstance(service, str) else service.url
    values = {"timeout_seconds": 5.0, "url": f"{address}/{{ticker}}{query}"} | settings
    config = UrlConfig.model_validate(values)
    assert config.template is not None
    return UrlSource(
        service=Service(
            config=config,
            template=config.template,
            secrets=read_secrets(config, {VARIABLE: KEY}),
            cache=AnswerCache(folder / "answers"),
            pacer=pacer or RequestPacer(SHORT),
        ),
        basis=basis,
        symbols=symbols or {},
        splits_folder=folder / "bars",
        calendar=exchange_calendar(),
        moment=EVENING,
    )


def fetch(service: WebService | str, folder: Path, tickers: Sequence[str] = ("AAPL",), **arguments: object) -> Delivery:
    """The five sessions of a week."""
    return source_of(service, folder, **arguments).fetch(tickers, FIRST, LAST)  # pyright: ignore[reportArgumentType]


def closes(delivery: Delivery, ticker: str = "AAPL") -> tuple[float, ...]:
    return tuple(delivery.bars.filter(ticker=ticker)["close"])
