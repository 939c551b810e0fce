"""Bars of a file or of a provider's answer as a table under the project's column names, fields as they were written."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import polars as pl

from ldtm_lib.errors import MalformedFile

TEXT_SUFFIXES = (".csv", ".txt", ".tsv")
SEPARATORS = ",;\t|"
HEADER_BYTES = 4096
HEADER_LINES = 20
"""A broker's export may have a few lines of text before its header."""

SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "ticker": ("ticker", "symbol", "sym", "instrument"),
    "session": ("session", "date", "tradedate", "tradingdate", "day", "timestamp", "datetime", "time", "indexlevel0"),
    "open": ("open", "openprice", "opening", "1open", "o"),
    "high": ("high", "highprice", "dayhigh", "2high", "max", "h"),
    "low": ("low", "lowprice", "daylow", "3low", "min", "l"),
    "close": ("close", "closelast", "closeprice", "closingprice", "4close", "last", "lastprice", "price", "c"),
    "adj_close": ("adjclose", "adjustedclose", "adjcloseprice", "5adjustedclose"),
    "volume": ("volume", "vol", "totalvolume", "sharevolume", "5volume", "6volume", "v"),
    "period": ("per", "period"),
}
"""Column names as Yahoo, Stooq, Nasdaq, Alpha Vantage, Interactive Brokers and others write them, in lower case and
without spaces and signs; where a file has several of a row, the first counts."""
REQUIRED = ("session", "open", "high", "low", "close", "volume")
DAILY_PERIODS = ("D", "1D", "DAILY", "1440", "86400")
NO_COLUMNS: Mapping[str, str] = {}
WRITTEN_WITHIN = timedelta(minutes=1)
"""A text without an end of its last line that changed so recently may be in the middle of being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of a file or answer: columns named as in SPELLINGS, and `row`, which counts from 0."""

    name: str
    """What messages call it, such as AAPL.csv."""
    frame: pl.DataFrame
    separator: str | None
    """None for what is no text of lines: Parquet, JSON."""
    first_line: int = 0
    """The line of row 0 in a text file; elsewhere rows are counted from 1."""
    num_fields_in_last_line: int | None = None
    """How many fields the last line has when that is fewer than columns: the file may be cut."""
    is_unfinished: bool = False
    """Whether the last line may still go on; its last field is not reliable."""

    def where(self, row: int) -> str:
        """A row as an operator finds it in the file."""
        place = f"row {row + 1}" if self.separator is None else f"line {self.first_line + row}"
        return f"{self.name}, {place}"


def read_table(path: Path, moment: datetime | None = None) -> Table:
    """Read one CSV or Parquet file; at a moment (aware) of which it matters whether the file is being written.

    Raises MalformedFile when it is empty, cut, not text, of ragged lines, or lacks a column.
    """
    table = _read_text(path, moment) if path.suffix.lower() in TEXT_SUFFIXES else _read_parquet(path)
    if table.frame.is_empty():
        raise MalformedFile(f"{path.name} has a header but no bars; export it again or remove it")
    return table


def table_of_text(
    name: str, content: bytes, *, columns: Mapping[str, str] = NO_COLUMNS, is_unfinished: bool = False
) -> Table:
    """The table of a CSV text, which may have no rows. `columns` has its names of columns, by ours, where they differ.

    Raises MalformedFile when it is empty, not text, of ragged lines, lacks a column, or holds bars that are not daily.
    """
    if not content.strip():
        raise MalformedFile(f"{name} is empty; export it again or remove it")
    header_line, separator = _find_header(name, content, columns)
    body = b"".join(content.splitlines(keepends=True)[header_line:])
    try:
        frame = pl.read_csv(BytesIO(body), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(name, content, header_line, separator, error) from error
    rows = _named(frame, _columns(frame.columns, columns))
    fields = pl.all_horizontal(pl.exclude("row").is_null())
    last_line = body.rstrip().rsplit(b"\n", 1)[-1].decode("utf-8", "replace")
    num_fields = len(_fields(last_line, separator))
    table = Table(
        name=name,
        frame=rows.filter(~fields),
        separator=separator,
        first_line=header_line + 2,
        num_fields_in_last_line=num_fields if num_fields < frame.width else None,
        is_unfinished=is_unfinished,
    )
    return _checked(table)


def table_of_frame(name: str, frame: pl.DataFrame, *, columns: Mapping[str, str] = NO_COLUMNS) -> Table:
    """The table of a frame with at least one row; `columns` as in `table_of_text`.

    Raises MalformedFile when it lacks a column, or holds bars that are not daily.
    """
    return _checked(Table(name=name, frame=_named(frame, _columns(frame.columns, columns)), separator=None))


def header_columns(path: Path) -> set[str]:
    """The project's names of a file's columns, from its header alone.

    Raises MalformedFile for a file that cannot be opened or whose header names no columns of bars.
    """
    try:
        if path.suffix.lower() not in TEXT_SUFFIXES:
            return {*_columns(list(pl.read_parquet_schema(path))).values()}
        with path.open("rb") as file:
            start = file.read(HEADER_BYTES)
        at, separator = _find_header(path.name, start, NO_COLUMNS)
        return {*_columns(_fields(start.splitlines()[at].decode("utf-8-sig"), separator)).values()}
    except OSError as error:
        raise MalformedFile(f"{path.name} cannot be read: {error.strerror or error}; make it readable") from None
    except pl.exceptions.PolarsError as error:
        raise MalformedFile(f"{path.name} is no Parquet file ({_first_line(error)}); write it again") from None


def names_tickers(path: Path) -> bool:
    """Whether a file has a column of tickers; false if the file cannot be read."""
    try:
        return "ticker" in header_columns(path)
    except MalformedFile:
        return False


def is_being_written(path: Path, content: bytes, moment: datetime) -> bool:
    """Whether a text that was just read ends in the middle of a line, and its file changed around a moment (aware)."""
    if content.endswith((b"\n", b"\r")):
        return False
    try:
        changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:  # it went away since
        return True
    return abs(moment - changed_at) < WRITTEN_WITHIN


def _read_parquet(path: Path) -> Table:
    try:
        frame = pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise MalformedFile(f"{path.name} is no whole Parquet file ({_first_line(error)}); write it again") from error
    names = _columns(frame.columns)
    if frame.is_empty():
        raise MalformedFile(f"{path.name} has no rows; write it again or remove it")
    for name in names:
        if frame[name].dtype.is_nested() or frame[name].dtype == pl.Binary:
            raise MalformedFile(f"{path.name} has a column {name} of type {frame[name].dtype}; write numbers and dates")
    return table_of_frame(path.name, frame)


def _read_text(path: Path, moment: datetime | None) -> Table:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MalformedFile(f"{path.name} cannot be read ({error.strerror}); check its owner and rights") from error
    is_unfinished = moment is not None and is_being_written(path, content, moment)
    return table_of_text(path.name, content, is_unfinished=is_unfinished)


def _checked(table: Table) -> Table:
    """The table, with every required column and daily bars alone."""
    if missing := [name for name in REQUIRED if name not in table.frame.columns]:
        raise MalformedFile(
            f"{table.where(-1) if table.separator else table.name} has no column for {', '.join(missing)}; "
            f"name it as one of {', '.join(SPELLINGS[missing[0]][:4])}"
        )
    _require_daily(table)
    return table


def _find_header(file: str, content: bytes, columns: Mapping[str, str]) -> tuple[int, str]:
    """The index of the line that names columns, and the character between them."""
    try:
        lines = [line.decode("utf-8-sig") for line in content.splitlines()[:HEADER_LINES]]
    except UnicodeDecodeError:
        raise MalformedFile(f"{file} is not UTF-8 text; save it as CSV in UTF-8") from None
    best = 0
    for at, line in enumerate(lines):
        separator = max(SEPARATORS, key=line.count)
        names = _columns(_fields(line, separator), columns).values()
        if "session" in names and {"open", "high", "low", "close"} & set(names):
            return at, separator
        best = best if lines[best].strip() else at
    raise MalformedFile(
        f"{file}, line {best + 1} names no columns of bars: {lines[best][:60]!r}; "
        "give the file a header such as Date,Open,High,Low,Close,Volume"
    )


def _unreadable(file: str, content: bytes, header_line: int, separator: str, error: Exception) -> MalformedFile:
    """Find the line that polars could not read."""
    lines = content.splitlines()[header_line:]
    num_expected = 0
    for at, raw in enumerate(lines):
        try:
            num_fields = len(_fields(raw.decode("utf-8-sig"), separator))
        except UnicodeDecodeError:
            return MalformedFile(f"{file}, line {header_line + at + 1} is not UTF-8 text; save the file in UTF-8")
        num_expected = num_expected or num_fields
        if num_fields > num_expected:
            return MalformedFile(
                f"{file}, line {header_line + at + 1} has {num_fields} fields under {num_expected} columns; "
                f"quote fields that contain {separator!r}, or export the file again"
            )
        if raw.count(b'"') % 2:
            return MalformedFile(f"{file}, line {header_line + at + 1} has an open quote; close or remove it")
    return MalformedFile(f"{file} is no readable CSV ({_first_line(error)}); export it again")


def _fields(line: str, separator: str) -> list[str]:
    for fields in csv.reader([line], delimiter=separator):
        return fields
    return []


def _columns(names: Sequence[str], given: Mapping[str, str] = NO_COLUMNS) -> dict[str, str]:
    """The project's name of each column that it knows, by the name in the file; `given` names count alone."""
    plain = {name: re.sub(r"\([^)]*\)|[^a-z0-9]", "", name.lower()) for name in names}
    found = {spelled: column for column, spelled in given.items() if spelled in names}
    for column, spellings in SPELLINGS.items():
        if column in given:
            continue
        spelled = [name for spelling in spellings for name in names if plain[name] == spelling]
        if spelled and spelled[0] not in found:
            found[spelled[0]] = column
    return found


def _named(frame: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    return frame.select(pl.col(name).alias(column) for name, column in names.items()).with_row_index("row")


def _require_daily(table: Table) -> None:
    if "period" not in table.frame.columns:
        return
    period = pl.col("period").cast(pl.String).str.strip_chars().str.to_uppercase()
    other = table.frame.filter(~period.is_in(DAILY_PERIODS))
    if not other.is_empty():
        raise MalformedFile(
            f"{table.where(other['row'][0])} holds a bar of period {other['period'][0]}; export daily bars"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
