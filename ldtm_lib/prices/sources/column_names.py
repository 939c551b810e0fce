"""Names of columns as providers write them, and the unit after the name of the volume."""

import re
from collections.abc import Mapping, Sequence

from ldtm_lib.errors import MalformedFile
from ldtm_lib.prices.sources.source_file import shown

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "ticker": ("ticker", "symbol", "sym", "instrument"),
    "session": ("session", "date", "tradedate", "tradingdate", "day", "timestamp", "datetime", "time", "indexlevel0"),
    "open": ("open", "openprice", "opening", "1open", "o"),
    "high": ("high", "highprice", "dayhigh", "2high", "max", "h"),
    "low": ("low", "lowprice", "daylow", "3low", "min", "l"),
    "close": ("close", "closelast", "closeprice", "closingprice", "4close", "last", "lastprice", "price", "c"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice", "5adjustedclose"),
    "volume": ("volume", "vol", "totalvolume", "sharevolume", "5volume", "6volume", "v"),
    "split_ratio": ("stocksplits", "splitfactor", "8splitcoefficient", "splitcoefficient", "splitratio", "split"),
    "period": ("per", "period"),
}
"""Column names as Yahoo, Stooq, Nasdaq, Alpha Vantage, Interactive Brokers and others write them, in lower case and
without spaces and punctuation. If a file has several names of one column, the first of them in this table counts."""
UNITS_OF_VOLUME: Mapping[str, float] = {
    "": 1, "shares": 1, "share": 1, "units": 1, "000": 1e3, "000s": 1e3, "x1000": 1e3, "1000s": 1e3, "k": 1e3,
    "thousand": 1e3, "thousands": 1e3, "inthousands": 1e3, "in000s": 1e3, "000000": 1e6, "000000s": 1e6, "m": 1e6,
    "mm": 1e6, "mn": 1e6, "million": 1e6, "millions": 1e6, "inmillions": 1e6,
}  # fmt: skip
"""Shares by the text in brackets after the name of the volume, in lower case and without spaces and punctuation."""
NO_COLUMNS: Mapping[str, str] = {}


def known_columns(names: Sequence[str], given: Mapping[str, str] = NO_COLUMNS) -> dict[str, str]:
    """The project's name of each known column, by its name in the file; `given` replaces known names of a column."""
    plain = {name: re.sub(r"\([^)]*\)|[^a-z0-9]", "", name.lower()) for name in names}
    found = {spelled: column for column, spelled in given.items() if spelled in names}
    for column, spellings in SPELLINGS.items():
        if column in given:
            continue
        spelled = [name for spelling in spellings for name in names if plain[name] == spelling]
        if spelled and spelled[0] not in found:
            found[spelled[0]] = column
    return found


def unit_of_volume(where: str, names: Mapping[str, str]) -> float:
    """Shares that a volume of 1 stands for, from the unit in brackets after the column's name.

    Raises MalformedFile for an unknown unit.
    """
    spelled = next((name for name, column in names.items() if column == "volume"), "")
    unit = "".join(re.findall(r"\(([^)]*)\)", spelled))
    shares = UNITS_OF_VOLUME.get(re.sub(r"[^a-z0-9]", "", unit.lower()))
    if shares is None:
        raise MalformedFile(
            f"{where} has a volume in the unknown unit {shown(repr(unit))}; name the column Volume, Volume (000s) or "
            "Volume (millions)"
        )
    return shares
