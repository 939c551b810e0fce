"""The header of a text of bars: one line, or three if tickers are side by side."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ldtm_lib.errors import MalformedFile
from ldtm_lib.prices.bars import PRICE_COLUMNS
from ldtm_lib.prices.sources.column_names import known_columns
from ldtm_lib.prices.sources.source_file import shown

SEPARATORS = ",;\t|"
HEADER_BYTES = 2**16
HEADER_LINES = 20
"""A broker's export may have a few lines of text before its header."""
CONTROL = re.compile(r"[^\t -\uffff\U00010000-\U0010ffff]|\x7f")
"""Control characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The line of a text that names columns, or the lines if tickers are side by side."""

    line: int
    """Index of the line that names columns."""
    first_line: int
    """The line, counted from 1, of the first row."""
    offset: int
    """The first byte after the header."""
    separator: str
    fields: tuple[str, ...]
    tickers: tuple[str, ...] = ()
    """The ticker of each column, if tickers are side by side; the first column is common to all."""

    @property
    def positions(self) -> dict[str, dict[str, int]]:
        """The position of each name by ticker, or under "" if tickers are not side by side.

        If a name occurs twice, the first one counts.
        """
        found: dict[str, dict[str, int]] = {}
        for at, name in enumerate(self.fields[1:], start=1):
            own = found.setdefault(self.tickers[at] if self.tickers else "", {self.fields[0]: 0})
            own.setdefault(name, at)
        return found


def find_header(file: str, content: bytes, columns: Mapping[str, str]) -> Header:
    """The line that names columns, among the first ones of a text."""
    raw_lines = content[:HEADER_BYTES].splitlines(keepends=True)[:HEADER_LINES]
    try:
        lines = [line.decode("utf-8-sig").rstrip("\r\n") for line in _without_cut_character(raw_lines)]
    except UnicodeDecodeError:
        raise MalformedFile(f"{file} is not UTF-8 text; save it as CSV in UTF-8") from None
    best = 0
    for at, text in enumerate(lines):
        separator = max(SEPARATORS, key=text.count)
        fields = tuple(fields_of(text, separator))
        names = known_columns(fields, columns).values()
        of_tickers = _names_and_tickers([tuple(fields_of(line, separator)) for line in lines[max(0, at - 2) : at + 1]])
        if of_tickers or ("session" in names and {*PRICE_COLUMNS} & {*names}):
            if CONTROL.search("".join(lines[at - 2 : at + 1] if of_tickers else text)):
                raise MalformedFile(f"{file}, line {at + 1} has control characters; save it as CSV in UTF-8")
            return Header(
                line=at - 2 if of_tickers else at,
                first_line=at + 2,
                offset=sum(map(len, raw_lines[: at + 1])),
                separator=separator,
                fields=of_tickers[0] if of_tickers else fields,
                tickers=of_tickers[1] if of_tickers else (),
            )
        best = best if lines[best].strip() else at
    raise MalformedFile(
        f"{file}, line {best + 1} names no columns of bars: {shown(repr(lines[best].strip()))}; "
        "give the file a header such as Date,Open,High,Low,Close,Volume"
    )


def _names_and_tickers(lines: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """The names and tickers of columns by a header of three lines; None for other lines.

    pandas writes two levels of columns in this form: names, tickers (or tickers first), and a line with only the name
    of the dates.
    """
    if len(lines) < 3 or len({len(fields) for fields in lines}) > 1:
        return None
    above, below, of_dates = lines
    if any(field.strip() for field in of_dates[1:]) or "session" not in known_columns(of_dates[:1]).values():
        return None
    for names, tickers in ((above, below), (below, above)):
        if {*PRICE_COLUMNS} <= {*known_columns(names[1:]).values()}:
            return (of_dates[0], *names[1:]), tickers
    return None


def _without_cut_character(lines: Sequence[bytes]) -> list[bytes]:
    """Lines of the beginning of a text, of which the last may end within a character."""
    *whole, last = lines or [b""]
    for size in range(max(0, len(last) - 3), len(last)):
        if len(last) == HEADER_BYTES - sum(map(len, whole)) and last[size] >= 0xC0:
            return [*whole, last[:size]]
    return [*whole, last]


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of a line; a line that is not CSV is split at the separator."""
    try:
        for fields in csv.reader([line], delimiter=separator):
            return fields
    except csv.Error:  # a field of more than 128 KiB
        return line.split(separator)
    return []
