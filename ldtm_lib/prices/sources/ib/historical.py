"""Historical requests: the requested contract and span, and IB's answer as a frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import polars as pl

from ldtm_lib.prices.bars import BAR_SCHEMA
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import ContractConfig

MOST_DAYS = 365
"""IB requires longer spans in years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One historical request; equal ones are identical to IB."""

    ticker: str
    contract: ContractConfig
    end: str
    """The moment at which the span ends, in IB's words; empty for now."""
    duration: str


def request_of(
    ticker: str, contract: ContractConfig, *, first: date, last: date, moment: datetime, calendar: Calendar
) -> Request:
    """The request whose answer holds the bars from one session to another, as briefly as IB's units allow."""
    is_newest = last >= calendar.last_closed(moment)
    until = max(last, moment.date()) if is_newest else last
    num_days = (until - first).days + 2
    duration = f"{num_days} D" if num_days <= MOST_DAYS else f"{num_days // MOST_DAYS + 1} Y"
    end = "" if is_newest else f"{last:%Y%m%d} 23:59:59 UTC"
    return Request(ticker=ticker, contract=contract, end=end, duration=duration)


def contract_of(client: Any, request: Request) -> Any:
    """The contract as IB's client describes it."""
    own = request.contract
    if own.con_id is not None:
        return client.Contract(conId=own.con_id, exchange=own.exchange)
    return client.Stock(
        own.symbol or request.ticker, own.exchange, own.currency, primaryExchange=own.primary_exchange or ""
    )


def described(found: list[Any], request: Request) -> str:
    """A sentence with the contracts that IB has for the name of a request, and how to choose one."""
    name = request.contract.symbol or request.ticker
    table = f"[contracts.{request.ticker}]"
    if not found:
        return f'IB has no stock {name!r}; write symbol = "..." with IB\'s own spelling, such as "BRK B", under {table}'
    contracts = [details.contract for details in found]
    listed = ", ".join(f"con_id {c.conId} ({c.symbol}, {c.primaryExchange}, {c.currency})" for c in contracts)
    return f"for the name {name!r} IB has {listed}; write con_id = {contracts[0].conId}, or another one, under {table}"


def frame_of(ticker: str, bars: Sequence[Any]) -> pl.DataFrame:
    """The bars of one ticker as a frame of BAR_SCHEMA, made as each answer arrives: the client's objects are large."""
    columns = {
        "ticker": [ticker] * len(bars),
        "session": [_day(bar.date) for bar in bars],
        **{name: [getattr(bar, name) for bar in bars] for name in ("open", "high", "low", "close", "volume")},
    }
    return pl.DataFrame(columns, schema=BAR_SCHEMA)


def _day(day: date | datetime) -> date:
    return day.date() if isinstance(day, datetime) else day
