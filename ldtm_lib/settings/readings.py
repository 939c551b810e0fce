"""Tickers that a source reads as one: their forecasts would count as evidence of two."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from ldtm_lib.file_names import plain_name, ticker_file_name, without_us_suffix
from ldtm_lib.settings.sources import ContractConfig, SourceKind


def shared_reading(
    kind: SourceKind, tickers: Sequence[str], symbols: Mapping[str, str], contracts: Mapping[str, ContractConfig]
) -> str | None:
    """The first two tickers that read the same file, symbol or contract, with the reason and the remedy, or None."""
    if kind == "sample":
        return None
    if kind == "ib":
        return _shared_contract(tickers, contracts)
    if kind == "files":
        readings = {ticker: plain_name(ticker) for ticker in tickers}
        remedy = "remove one"
    else:
        readings = {ticker: without_us_suffix(symbols.get(ticker, ticker)) for ticker in tickers}
        remedy = "remove one, or write its own symbol under [symbols]"
    read_by: dict[str, str] = {}
    for ticker, reading in readings.items():
        if (other := read_by.setdefault(reading, ticker)) != ticker:
            what = f"file {ticker_file_name(reading)}.csv" if kind == "files" else f"symbol {reading}"
            return _refusal(other, ticker, kind, what, remedy)
    return None


def _shared_contract(tickers: Sequence[str], contracts: Mapping[str, ContractConfig]) -> str | None:
    """Two tickers with one con_id, or with one symbol, exchange and currency and no two primary exchanges."""
    plain = ContractConfig()
    alike: dict[tuple[object, ...], list[str]] = {}
    for ticker in tickers:
        own = contracts.get(ticker, plain)
        symbol = (own.symbol or ticker).strip().upper()
        key = (own.con_id,) if own.con_id is not None else (symbol, own.exchange.upper(), own.currency.upper())
        alike.setdefault(key, []).append(ticker)
    for key, group in alike.items():
        for one, other in combinations(group, 2):
            primary = {(contracts.get(ticker, plain).primary_exchange or "").upper() for ticker in (one, other)}
            if len(key) == 1 or len(primary) == 1 or "" in primary:
                what = f"contract {'con_id ' if len(key) == 1 else ''}{', '.join(map(str, key))}"
                remedy = f"remove one, or write its con_id or primary_exchange under [contracts.{other}]"
                return _refusal(one, other, "ib", what, remedy)
    return None


def _refusal(one: str, other: str, kind: str, what: str, remedy: str) -> str:
    return (
        f'{one} and {other} in `tickers` are the same for source.kind = "{kind}": both read the {what}, and their '
        f"forecasts would count twice; {remedy}; a ticker that already has forecasts belongs under [retired]"
    )
