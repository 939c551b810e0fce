"""Bars of a file or of a provider's answer as a table under the project's column names, fields as they were written."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from gzip import GzipFile
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO

import polars as pl

from ldtm_lib.errors import MalformedFile
from ldtm_lib.prices.sources.column_names import NO_COLUMNS, SPELLINGS, known_columns, unit_of_volume
from ldtm_lib.prices.sources.parquet_footer import MOST_CELLS, Footer, footer_size, read_footer, require_bounded
from ldtm_lib.prices.sources.source_file import (
    decompressed,
    failing_by_name,
    open_source_file,
    read_source_file,
    shown,
    shown_name,
)
from ldtm_lib.prices.sources.text_header import HEADER_BYTES, Header, fields_of, find_header
from ldtm_lib.wording import counted

TEXT_SUFFIXES, PARQUET_SUFFIXES = (".csv", ".txt", ".tsv"), (".parquet", ".pq")
COMPRESSED = ".gz"
MOST_COLUMNS, MOST_COLUMNS_OF_TICKERS = 256, 4096
"""Columns of a text with one ticker per row, and of one with tickers side by side."""
SHOWN_ERROR = 100
MOST_FIELD_BYTES = 40
"""Longest date, number or ticker: a dictionary of a Parquet file may repeat a long one millions of times."""
ARROW_SCHEMA = b"ARROW:schema"
"""The key of a second schema in the footer of a Parquet file, which is not needed."""

REQUIRED = ("session", "open", "high", "low", "close", "volume")
DAILY_PERIODS = ("D", "1D", "DAILY", "1440", "86400")
WRITTEN_WITHIN = timedelta(minutes=1)
"""A text without an end of its last line that changed so recently may be in the middle of being written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The rows of a file or answer: columns named as in SPELLINGS, and `row`, which counts from 0."""

    name: str
    """Name of the file in messages, such as AAPL.csv."""
    frame: pl.DataFrame
    separator: str | None
    """Separator of fields; None for a format without lines of text: Parquet, JSON."""
    first_line: int = 0
    """The line of row 0 in a text file; elsewhere rows are counted from 1."""
    num_fields_in_last_line: int | None = None
    """Number of fields in the last line if that is fewer than columns: the file may be truncated."""
    is_unfinished: bool = False
    """True if the last line may be incomplete; its last field is not reliable."""
    unit_of_volume: float = 1
    """Shares per unit of volume."""

    def where(self, row: int) -> str:
        """A row as an operator finds it in the file."""
        place = f"row {row + 1}" if self.separator is None else f"line {self.first_line + row}"
        return f"{self.name}, {place}"


def read_table(path: Path, folder: Path, moment: datetime | None = None) -> Table:
    """Read one CSV or Parquet file of a folder; with a moment (aware), a file that is being written is recognised.

    Raises MalformedFile if it leads out of the folder, is empty, truncated, too large or not text, has ragged lines, or
    lacks a column.
    """
    table = _read_text(path, folder, moment) if is_text(path) else _read_parquet(path, folder)
    if table.frame.is_empty():
        raise MalformedFile(f"{table.name} has a header but no bars; export it again or remove it")
    return table


def is_text(path: Path) -> bool:
    """True if a file is a text of bars by its name, compressed or not."""
    return path.name.lower().removesuffix(COMPRESSED).endswith(TEXT_SUFFIXES)


def may_hold_bars(path: Path) -> bool:
    """True if a file is of a kind that is read, by its name."""
    return is_text(path) or path.suffix.lower() in PARQUET_SUFFIXES


def table_of_text(
    name: str, content: bytes, *, columns: Mapping[str, str] = NO_COLUMNS, is_unfinished: bool = False
) -> Table:
    """The table of a CSV text, which may have no rows. `columns` maps our names to those of the text that differ.

    Raises MalformedFile when it is empty, not text, has ragged lines, lacks a column, or has bars that are not daily.
    """
    if not content.strip():
        raise MalformedFile(f"{name} is empty; export it again or remove it")
    content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in content else content
    header = find_header(name, content, columns)
    place = f"{name}, line {header.line + 1}"
    _require_columns(place, known_columns(header.fields, columns).values())
    if content[header.offset - 1] != ord("\n"):
        if header.offset < len(content):
            raise MalformedFile(f"{place} is longer than {HEADER_BYTES:,} bytes; export fewer columns")
        content += b"\n"
    body = content[header.offset - 1 :]
    _require_bounded_text(name, body, header)
    lines = _read_lines(name, body, header)
    *lines_before, last_line = body.rstrip().rsplit(b"\n", 1)
    num_fields = len(fields_of(last_line.decode("utf-8", "replace"), header.separator))
    is_cut = num_fields < len(header.fields)
    if header.tickers:
        rows = _rows_by_ticker(
            lines, header, columns, lines_before[0].count(b"\n") if lines_before and is_cut else None
        )
    else:
        rows = _known(lines, header.positions[""], columns)
    table = Table(
        name=name,
        frame=rows.filter(~pl.all_horizontal(pl.exclude("row").is_null())),
        separator=header.separator,
        first_line=header.first_line,
        num_fields_in_last_line=num_fields if is_cut else None,
        is_unfinished=is_unfinished,
        unit_of_volume=unit_of_volume(place, known_columns(header.fields, columns)),
    )
    return _checked(table)


def table_of_frame(name: str, frame: pl.DataFrame, *, columns: Mapping[str, str] = NO_COLUMNS) -> Table:
    """The table of a frame with at least one row; `columns` as in `table_of_text`.

    Raises MalformedFile when it lacks a column, or holds bars that are not daily.
    """
    names = known_columns(frame.columns, columns)
    rows = frame.select(pl.col(name).alias(column) for name, column in names.items()).with_row_index("row")
    return _checked(Table(name=name, frame=rows, separator=None, unit_of_volume=unit_of_volume(name, names)))


def header_columns(path: Path, folder: Path) -> set[str]:
    """The project's names of a file's columns, from its header alone.

    Raises MalformedFile for a file that cannot be opened or whose header names no columns of bars.
    """
    name = shown_name(path)
    with failing_by_name(name), open_source_file(path, folder) as file:
        if not is_text(path):
            return {*known_columns([column.name for column in _footer_of(name, file).columns]).values()}
        is_compressed = path.suffix.lower() == COMPRESSED
        start = (GzipFile(fileobj=file) if is_compressed else file).read(HEADER_BYTES)
        header = find_header(name, start, NO_COLUMNS)
    return {*known_columns(header.fields).values()} | ({"ticker"} if header.tickers else set())


def names_tickers(path: Path, folder: Path) -> bool:
    """True if a file has a column of tickers; false if the file cannot be read."""
    try:
        return "ticker" in header_columns(path, folder)
    except MalformedFile:
        return False


def is_being_written(path: Path, content: bytes, moment: datetime) -> bool:
    """True if a text that was just read ends in the middle of a line, and its file changed around a moment (aware)."""
    if content.endswith((b"\n", b"\r")):
        return False
    try:
        changed_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:  # it was removed since
        return True
    return abs(moment - changed_at) < WRITTEN_WITHIN


def _read_parquet(path: Path, folder: Path) -> Table:
    """Read the columns of bars of a Parquet file that stays within the bounds, by its Parquet schema alone."""
    name, content = shown_name(path), read_source_file(path, folder)
    footer = _footer_of(name, BytesIO(content))
    names = known_columns([column.name for column in footer.columns])
    _require_columns(name, names.values())
    for column in footer.columns:
        if column.name in names and not column.is_flat:
            raise MalformedFile(
                f"{name} has a column {names[column.name]} with several values per row; write numbers and dates"
            )
    require_bounded(name, content, footer, names)
    plain = content[: footer.start] + content[footer.start :].replace(ARROW_SCHEMA, ARROW_SCHEMA.swapcase())
    try:
        frame = pl.read_parquet(BytesIO(plain), columns=list(names))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise MalformedFile(
            f"{name} is not a complete Parquet file ({_beginning(str(error))}); write it again"
        ) from error
    if frame.is_empty():
        raise MalformedFile(f"{name} has no rows; write it again or remove it")
    for written, ours in names.items():
        dtype = frame[written].dtype
        is_moment = ours == "session" and isinstance(dtype, (pl.Date, pl.Datetime))
        if not (dtype.is_numeric() or dtype == pl.String or is_moment):
            raise MalformedFile(f"{name} has a column {ours} of type {dtype}; write numbers and dates")
        if (longest := _longest(frame[written])) > MOST_FIELD_BYTES:
            raise MalformedFile(
                f"{name} has a {ours} of {longest:,} bytes, above the bound of {MOST_FIELD_BYTES}; "
                "write numbers and dates"
            )
    return table_of_frame(name, frame)


def _longest(fields: pl.Series) -> int:
    """Bytes of the longest text of a column; 0 for a column of another type."""
    longest = fields.str.len_bytes().max() if fields.dtype == pl.String else 0
    return longest if isinstance(longest, int) else 0


def _footer_of(name: str, file: BinaryIO) -> Footer:
    """The footer of an open Parquet file."""
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - 8))
    num_bytes = footer_size(name, file.read(8))
    file.seek(max(0, size - num_bytes))
    return read_footer(name, file.read(num_bytes), size)


def _read_text(path: Path, folder: Path, moment: datetime | None) -> Table:
    content = read_source_file(path, folder)
    if path.suffix.lower() == COMPRESSED:
        content = decompressed(shown_name(path), content)
    is_unfinished = moment is not None and is_being_written(path, content, moment)
    return table_of_text(shown_name(path), content, is_unfinished=is_unfinished)


def _require_bounded_text(name: str, body: bytes, header: Header) -> None:
    """Raise MalformedFile for more fields than are read."""
    num_columns, most = len(header.fields), MOST_COLUMNS_OF_TICKERS if header.tickers else MOST_COLUMNS
    if num_columns > most:
        raise MalformedFile(f"{name} has {num_columns:,} columns, above the bound of {most:,}; export fewer")
    num_lines = body.count(b"\n") - 1
    if num_lines * num_columns > MOST_CELLS:
        raise MalformedFile(
            f"{name} has {num_lines * num_columns:,} fields, above the bound of {MOST_CELLS:,}; "
            "split it into one file per ticker"
        )


def _read_lines(name: str, body: bytes, header: Header) -> pl.DataFrame:
    """The lines after the header, one row each, as columns of text that are named 0, 1, 2 and so on.

    `body` begins with the break before them: polars would decompress a text that begins like a compressed one, however
    large it becomes. A field with a line break is refused: it is mostly an open quote, which hides the bars up to the
    next quote.
    """
    try:
        frame = pl.read_csv(
            BytesIO(body),
            separator=header.separator,
            has_header=False,
            schema={str(position): pl.String for position in range(len(header.fields))},
            raise_if_empty=False,
        )
    except pl.exceptions.PolarsError as error:
        raise _unreadable(name, body, header, str(error)) from error
    num_lines = body.count(b"\n") + (not body.endswith(b"\n"))
    if frame.height != num_lines:
        raise _unreadable(name, body, header, f"{counted(num_lines, 'line')} read as {counted(frame.height, 'row')}")
    return frame.slice(1)


def _known(lines: pl.DataFrame, positions: Mapping[str, int], columns: Mapping[str, str]) -> pl.DataFrame:
    """The known ones of some columns, by the project's names, and `row`."""
    names = known_columns(list(positions), columns)
    return lines.select(pl.col(str(positions[name])).alias(ours) for name, ours in names.items()).with_row_index("row")


def _rows_by_ticker(
    lines: pl.DataFrame, header: Header, columns: Mapping[str, str], cut_row: int | None
) -> pl.DataFrame:
    """One row for each ticker and line; a ticker without any value in a line has none, unless that line is cut."""
    parts = list[pl.DataFrame]()
    for ticker, positions in header.positions.items():
        own = _known(lines, positions, columns)
        is_empty = pl.all_horizontal(pl.exclude("row", "session").is_null())
        own = own.filter(~is_empty if cut_row is None else ~is_empty | (pl.col("row") == cut_row))
        parts.append(own.with_columns(ticker=pl.lit(ticker)))
    return pl.concat(parts, how="diagonal").sort("row", maintain_order=True)


def _require_columns(where: str, found: Collection[str]) -> None:
    if missing := [name for name in REQUIRED if name not in found]:
        raise MalformedFile(
            f"{where} has no column for {', '.join(missing)}; name it as one of {', '.join(SPELLINGS[missing[0]][:4])}"
        )


def _checked(table: Table) -> Table:
    """The table, with every required column and daily bars alone."""
    _require_columns(table.where(-1) if table.separator else table.name, table.frame.columns)
    _require_daily(table)
    return table


def _unreadable(file: str, body: bytes, header: Header, reason: str) -> MalformedFile:
    """Find the line that could not be read."""
    num_expected = len(header.fields)
    for line, raw in enumerate(BytesIO(body), start=header.first_line - 1):
        try:
            num_fields = len(fields_of(raw.decode("utf-8-sig").rstrip("\n"), header.separator))
        except UnicodeDecodeError:
            return MalformedFile(f"{file}, line {line} is not UTF-8 text; save the file in UTF-8")
        if num_fields > num_expected:
            return MalformedFile(
                f"{file}, line {line} has {counted(num_fields, 'field')} under {counted(num_expected, 'column')}; "
                f"quote fields that contain {header.separator!r}, or export the file again"
            )
        if raw.count(b'"') % 2:
            return MalformedFile(f"{file}, line {line} has an open quote; close or remove it")
    return MalformedFile(f"{file} is not readable as CSV ({_beginning(reason)}); export it again")


def _require_daily(table: Table) -> None:
    if "period" not in table.frame.columns:
        return
    period = pl.col("period").cast(pl.String).str.strip_chars().str.to_uppercase()
    other = table.frame.filter(~period.is_in(DAILY_PERIODS))
    if not other.is_empty():
        raise MalformedFile(
            f"{table.where(other['row'][0])} holds a bar of period {shown(str(other['period'][0]))}; export daily bars"
        )


def _beginning(reason: str) -> str:
    """The beginning of a message of polars, which may repeat a field."""
    return shown(reason.strip().split("\n", 1)[0], SHOWN_ERROR)
