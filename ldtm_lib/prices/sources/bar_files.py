"""The bars in one file or answer by ticker, and the reason for each ticker that cannot be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

import polars as pl

from ldtm_lib.errors import MalformedFile
from ldtm_lib.file_names import plain_name
from ldtm_lib.prices.bars import BAR_COLUMNS
from ldtm_lib.prices.sources.field_parsing import (
    ParsedColumn,
    ParsedSessions,
    misdated,
    parse_numbers,
    parse_sessions,
)
from ldtm_lib.prices.sources.source_file import failing_by_name, shown, shown_name
from ldtm_lib.prices.sources.tables import COMPRESSED, Table, read_table
from ldtm_lib.wording import counted

NUMBER_COLUMNS = ("open", "high", "low", "close", "volume", "adj_close", "split_ratio")


@dataclass(frozen=True, slots=True, kw_only=True)
class BarFile:
    """Content of one file, by the plain name of each ticker (see `plain_name`)."""

    bars: Mapping[str, pl.DataFrame]
    """Columns of BAR_SCHEMA, adj_close and split_ratio where the file has them, and two of text: `place`, such as
    "AAPL.csv", and `line`, such as "line 7"."""
    failures: Mapping[str, MalformedFile]


def name_of_file(path: Path) -> str:
    """The plain name of the ticker that a file is named after; %5EGSPC.csv is of ^GSPC."""
    return plain_name(unquote(Path(path.stem).stem if path.suffix.lower() == COMPRESSED else path.stem))


def read_bar_file(path: Path, folder: Path, moment: datetime | None = None) -> BarFile:
    """Read the bars of one file of a folder; raises MalformedFile when that fails for all of its tickers alike.

    A field that is not a number or date, a session that occurs twice, or a truncated line fails only its ticker. If a
    moment (aware) is given, so does a last line that may still be being written at that moment.
    """
    with failing_by_name(shown_name(path)):
        return bars_of_table(read_table(path, folder, moment), name_of_file(path))


def bars_of_table(table: Table, own_name: str, *, date_format: str | None = None) -> BarFile:
    """The bars of a table; those without a ticker of their own belong to `own_name`."""
    frame = _without_closing_words(table)
    names = _tickers(frame, own_name)
    sessions = parse_sessions(frame["session"], date_format)
    numbers = parse_numbers({n: frame[n] for n in NUMBER_COLUMNS if n in frame.columns}, table.separator)
    parsed_columns = {"session": sessions} | numbers
    bars = frame.select("row").with_columns(
        names, *(parsed.values.alias(name) for name, parsed in parsed_columns.items())
    )
    bars = bars.with_columns(pl.col("volume") * table.unit_of_volume)

    failures: dict[str, MalformedFile] = {}
    for name, parsed in parsed_columns.items():
        _collect_unparsed(failures, table, frame[name], names, name, parsed, frame["row"])
    _collect_misdated(failures, table, frame, names, sessions)
    _collect_cut_line(failures, table, frame, names)
    _collect_doubles(failures, table, bars)
    whole = bars.filter(~pl.col("ticker").is_in(list(failures)))
    parts = whole.partition_by("ticker", as_dict=True)
    return BarFile(
        bars={str(key[0]): _placed(part, table) for key, part in parts.items()},
        failures=failures,
    )


def _tickers(frame: pl.DataFrame, own_name: str) -> pl.Series:
    """The plain name of each row's ticker: that of its column, or the file's."""
    if "ticker" not in frame.columns:
        return pl.repeat(own_name, len(frame), dtype=pl.String, eager=True).alias("ticker")
    written = frame["ticker"].cast(pl.String).fill_null("")
    spelled = written.unique().to_list()
    return written.replace_strict(spelled, [plain_name(name) for name in spelled], return_dtype=pl.String)


def _without_closing_words(table: Table) -> pl.DataFrame:
    """The rows without lines of text after the last bar, as some brokers' exports have."""
    others = [name for name in table.frame.columns if name not in ("row", "session", "ticker")]
    empty = table.frame.select(pl.all_horizontal(pl.col(name).is_null() for name in others)).to_series()
    last = empty.len() - int(empty.reverse().arg_min() or 0) if not empty.all() else empty.len()
    if table.separator is None or last == empty.len():
        return table.frame
    first_fields = pl.col(table.frame.columns[1]).cast(pl.String)
    closing = (pl.int_range(pl.len()) >= last) & first_fields.str.contains(r"^[^0-9]").fill_null(value=True)
    return table.frame.filter(~closing)


def _collect_unparsed(
    failures: dict[str, MalformedFile],
    table: Table,
    fields: pl.Series,
    names: pl.Series,
    column: str,
    parsed: ParsedColumn,
    rows: pl.Series,
) -> None:
    """Name the first field of each ticker that could not be parsed."""
    if not parsed.unparsed.any():
        return
    unparsed = pl.DataFrame([names, rows, fields.cast(pl.String).alias("field")]).filter(parsed.unparsed)
    remedy = "write dates as YYYY-MM-DD" if column == "session" else "write numbers such as 1234.56"
    for found in unparsed.unique("ticker", keep="first", maintain_order=True).iter_rows(named=True):
        problem = f"has {parsed.problem}, such as" if parsed.problem else f"has no readable {_noun(column)}:"
        failures.setdefault(
            found["ticker"],
            MalformedFile(f"{table.where(found['row'])} {problem} {shown(repr(found['field']))}; {remedy}"),
        )


def _collect_misdated(
    failures: dict[str, MalformedFile],
    table: Table,
    frame: pl.DataFrame,
    names: pl.Series,
    sessions: ParsedSessions,
) -> None:
    """Name the tickers whose dates are not those of their sessions (see `misdated`)."""
    if not sessions.is_evening.any() and not (sessions.values.dt.weekday() > 5).any():
        return
    dated = pl.DataFrame(
        [names, frame["row"], frame["session"].cast(pl.String).alias("field"), sessions.values.alias("session")]
    ).with_columns(sessions.is_evening.alias("is_evening"))
    suspicious = (pl.col("session").dt.weekday() > 5) | pl.col("is_evening")
    for (name,), own in dated.partition_by("ticker", as_dict=True).items():
        if reason := misdated(own["session"], own["is_evening"]):
            found = own.filter(suspicious).row(0, named=True)
            problem = f"{table.where(found['row'])} has {reason} such as {shown(repr(found['field']))}"
            remedy = "write the dates of the sessions as YYYY-MM-DD, or times with their offset"
            failures.setdefault(str(name), MalformedFile(f"{problem}; {remedy}"))


def _collect_cut_line(failures: dict[str, MalformedFile], table: Table, frame: pl.DataFrame, names: pl.Series) -> None:
    """Distinguish a cut line from one with empty fields: the last line, without a newline and with fewer fields."""
    if frame.is_empty() or frame["row"][-1] != table.frame["row"][-1]:
        return
    where = table.where(frame["row"][-1])
    for name in names.filter(frame["row"] == frame["row"][-1]).unique(maintain_order=True):
        if table.is_unfinished:
            unfinished = f"{where} has no end yet: the file is being written; try again in a minute"
            failures[name] = MalformedFile(unfinished)
        if table.num_fields_in_last_line is not None:
            num_fields = counted(table.num_fields_in_last_line, "field")
            cut = f"{where} ends after {num_fields}: the file seems truncated; export it again"
            failures.setdefault(name, MalformedFile(cut))


def _collect_doubles(failures: dict[str, MalformedFile], table: Table, bars: pl.DataFrame) -> None:
    """Name the first session of each ticker that occurs twice."""
    key = pl.struct("ticker", "session")
    doubles = bars.filter(key.is_duplicated() & pl.col("session").is_not_null())
    if doubles.is_empty():
        return
    first = doubles.group_by("ticker", "session", maintain_order=True).agg(pl.col("row").head(2))
    for found in first.unique("ticker", keep="first", maintain_order=True).iter_rows(named=True):
        one, other = (table.where(row) for row in found["row"])
        failures.setdefault(
            found["ticker"],
            MalformedFile(
                f"{one} and {other.split(', ')[-1]} are both of {found['session']}; keep one row per session, "
                "and export daily bars if these are of shorter periods"
            ),
        )


def _placed(bars: pl.DataFrame, table: Table) -> pl.DataFrame:
    optional = [name for name in ("adj_close", "split_ratio") if name in bars.columns]
    unit, first = ("row", 1) if table.separator is None else ("line", table.first_line)
    line = pl.format(f"{unit} {{}}", pl.col("row") + first)
    return bars.select(*BAR_COLUMNS, *optional, place=pl.lit(table.name), line=line)


def _noun(column: str) -> str:
    return "date" if column == "session" else column
