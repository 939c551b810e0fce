"""Sections about the origin of bars: the source, Interactive Brokers, and a web service."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ldtm_lib.settings.section import MAX_TIMEOUT_SECONDS, Section, Text
from ldtm_lib.url import VARIABLE, UrlTemplate

SourceKind = Literal["sample", "files", "ib", "url", "yfinance"]
PriceBasis = Literal["adjusted", "raw"]
AnswerFormat = Literal["csv", "json"]
AnswerColumn = Literal["date", "open", "high", "low", "close", "adj_close", "volume"]

MAX_REQUESTS = 50
"""Historical requests that Interactive Brokers keeps open for one client (TWS API, historical data limitations)."""


def _url_template(text: str) -> str:
    UrlTemplate.parse(text)
    return text


def _variable(name: str) -> str:
    if not VARIABLE.fullmatch(name):
        raise ValueError("name the environment variable that holds the header's value, in capital letters")
    return name


TemplateText = Annotated[str, AfterValidator(_url_template)]
VariableName = Annotated[str, AfterValidator(_variable)]


class SourceConfig(Section, frozen=True):
    """The origin of daily bars."""

    kind: SourceKind = "sample"
    """`sample`: the demo's bundled bars. `files`: a folder of CSV or Parquet files. `ib`: TWS or IB Gateway.
    `url`: a web service that [url] describes. `yfinance`: Yahoo Finance through the package yfinance."""
    folder: str = "data/bars"
    """Folder of the `files` source, relative to the configuration file. Its `splits.csv` also applies to raw
    bars of the `url` source."""
    basis: PriceBasis | None = None
    """Price basis of the `files` or `url` source: split-adjusted or raw. Raw bars need an adjusted close in
    addition to the close, or declared splits."""


class IbConfig(Section, frozen=True):
    """Requests to Interactive Brokers. Host, port, client id and account come from the environment (LDTM_IB_*)."""

    requests_in_flight: int = Field(default=12, ge=1, le=MAX_REQUESTS)
    """Historical requests that one run keeps open at once. IB disconnects a TWS with more than 50 in total, and
    `dagster.yaml` allows four runs at once."""
    request_timeout_seconds: float = Field(default=60.0, gt=0)
    """Time without any message from TWS, while a request is open, after which the connection counts as lost."""
    connect_timeout_seconds: float = Field(default=15.0, gt=0)
    """Time limit for connecting to TWS."""
    num_attempts: int = Field(default=3, ge=1)
    """Attempts of one request within one fetch, for failures that may not occur again."""
    fetch_timeout_seconds: float = Field(default=900.0, gt=0)
    """Time limit of one fetch, including waits for a lost connection; requests that are still open then fail. Many
    tickers are fetched in groups. Each group is small enough to arrive in half of this time even if every answer takes
    `request_timeout_seconds`."""


class UrlConfig(Section, frozen=True):
    """The web service of the `url` source: one GET request per ticker, whose answer holds daily bars."""

    url: TemplateText | None = None
    """Address with {ticker} and, if the service supports them, {first} and {last}: dates as YYYY-MM-DD, or in another
    format, such as {first:%Y%m%d}. {env:NAME} stands for the value of an environment variable, such as a key."""
    headers: Mapping[str, VariableName] = Field(default_factory=dict[str, str])
    """Request headers by name, each with the environment variable that holds its value."""
    format: AnswerFormat = "csv"
    """Format of the answers."""
    records: Text | None = None
    """Path of the bars in a JSON answer, such as `results` or `data.prices`: a list with an object per bar, or an
    object with one per date. Default: the whole answer."""
    columns: Mapping[AnswerColumn, Text] = Field(default_factory=dict[AnswerColumn, str])
    """The service's names of columns that LDTM does not recognise by itself."""
    date_format: Text | None = None
    """Format of dates, such as `%d.%m.%Y`. Default: detected, including (milli)seconds since 1970."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Requests that the service allows per minute. Default: no limit."""
    requests_in_flight: int = Field(default=4, ge=1, le=MAX_REQUESTS)
    """Requests that one run keeps open at once."""
    num_attempts: int = Field(default=3, ge=1)
    """Attempts of one request within one fetch, for failures that may not occur again."""
    timeout_seconds: float = Field(default=30.0, gt=0, le=MAX_TIMEOUT_SECONDS)
    """Time limit of one request."""

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        if self.records is not None and self.format != "json":
            raise ValueError(f'url.records is {self.records!r}, which applies to JSON only; set url.format = "json"')
        return self

    @property
    def template(self) -> UrlTemplate | None:
        """The address, parsed."""
        return UrlTemplate.parse(self.url) if self.url is not None else None

    @property
    def variables(self) -> tuple[str, ...]:
        """The environment variables that the section names, each once."""
        return tuple(dict.fromkeys((*(self.template.variables if self.template else ()), *self.headers.values())))


class ContractConfig(Section, frozen=True):
    """The contract of one ticker at Interactive Brokers, where the ticker alone is ambiguous."""

    symbol: Text | None = None
    """IB's spelling of the symbol, such as `BRK B`. Default: the ticker."""
    exchange: Text = "SMART"
    """Exchange that the request is routed to."""
    primary_exchange: Text | None = None
    """Primary listing exchange, such as NASDAQ."""
    currency: Text = "USD"
    """Currency of the contract."""
    con_id: int | None = Field(default=None, ge=1)
    """IB's contract number, which identifies the contract; only `exchange` may be set as well."""
