"""The file splits.csv next to raw bars: ticker, session, ratio."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from pathlib import Path

import polars as pl

from ldtm_lib.errors import MalformedFile
from ldtm_lib.file_names import plain_name
from ldtm_lib.prices.sources.field_parsing import parse_sessions
from ldtm_lib.prices.sources.source_file import read_source_file, shown
from ldtm_lib.prices.sources.tables import is_being_written
from ldtm_lib.prices.split_ratios import is_same_ratio
from ldtm_lib.prices.splits import Split

SPLITS_FILE = "splits.csv"
MOST_SPLITS_BYTES = 2**20
SEPARATORS = ",;\t|"
MOST_SPLIT_RATIO = 1e6
FLOAT_ERROR = 1e-9
"""Largest relative difference between two ratios that are one, such as 3:2 and 1.5."""
BINARY = re.compile(rb"[^\t\r\n\x20-\xff]")
"""Control characters, as compressed files have, which polars would decompress, however large they become."""
REMEDY = "write lines such as AAPL,2000-06-21,2 (new shares for one old), with the header ticker,session,ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredSplits:
    """Splits by the plain name of their ticker, and the tickers whose lines cannot be read."""

    splits: Mapping[str, tuple[Split, ...]]
    failures: Mapping[str, MalformedFile]


def read_declared_splits(folder: Path, moment: datetime | None = None) -> DeclaredSplits:
    """Read splits.csv of a folder; nothing is declared if there is none.

    A ratio is a number, or new for old such as 3:2. Raises MalformedFile if the file as a whole cannot be read, or
    seems to be still being written at a moment (aware): a ratio of 20 may so far read 2.
    """
    path = folder / SPLITS_FILE
    if not path.exists():
        return DeclaredSplits(splits={}, failures={})
    content = read_source_file(path, folder, MOST_SPLITS_BYTES)
    if BINARY.search(content):
        raise MalformedFile(f"{SPLITS_FILE} has control characters; {REMEDY}")
    if moment is not None and is_being_written(path, content, moment):
        raise MalformedFile(
            f"{SPLITS_FILE} has no end of its last line yet: it is being written; try again in a minute"
        )
    lines_of_text = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    header = lines_of_text.partition(b"\n")[0].decode("utf-8", "replace")
    try:
        frame = pl.read_csv(
            BytesIO(lines_of_text),
            separator=max(SEPARATORS, key=header.count),
            infer_schema=False,
            truncate_ragged_lines=True,
        ).rename(lambda name: name.strip().lower())
    except pl.exceptions.PolarsError as error:
        raise MalformedFile(f"{SPLITS_FILE} cannot be read ({shown(str(error))}); {REMEDY}") from error
    frame = frame.rename({"date": "session"}, strict=False)
    if missing := {"ticker", "session", "ratio"} - set(frame.columns):
        raise MalformedFile(f"{SPLITS_FILE}, line 1 has no column {sorted(missing)[0]}; {REMEDY}")
    rows = frame.with_row_index("line", offset=2).filter(~pl.all_horizontal(pl.exclude("line").is_null()))
    if rows.is_empty():
        return DeclaredSplits(splits={}, failures={})
    sessions = parse_sessions(rows["session"])
    lines: dict[str, dict[date, tuple[int, float]]] = {}
    failures: dict[str, MalformedFile] = {}
    days = sessions.values.zip_with(~sessions.unparsed, pl.Series([None], dtype=pl.Date))
    for row in rows.with_columns(day=days).iter_rows(named=True):
        ticker, ratio, day, line = (
            plain_name(row["ticker"] or ""),
            split_ratio(row["ratio"] or ""),
            row["day"],
            row["line"],
        )
        if not ticker or day is None or ratio is None or ratio == 1:
            written = shown(f"{row['ticker']},{row['session']},{row['ratio']}")
            problem = f"has {sessions.problem}" if day is None and sessions.problem else "is not a split"
            failures[ticker] = MalformedFile(f"{SPLITS_FILE}, line {line} {problem}: {written}; {REMEDY}")
            continue
        other_line, other = lines.setdefault(ticker, {}).setdefault(day, (line, ratio))
        if not is_same_ratio(ratio, other, FLOAT_ERROR):
            failures[ticker] = MalformedFile(
                f"{SPLITS_FILE}, lines {other_line} and {line} contradict each other: {ticker} has {other:g} for 1 and "
                f"{ratio:g} for 1 on {day}; keep the right one"
            )
    splits = {
        ticker: tuple(Split(ticker=ticker, session=day, ratio=ratio) for day, (_, ratio) in sorted(own.items()))
        for ticker, own in lines.items()
    }
    return DeclaredSplits(splits=splits, failures=failures)


def split_ratio(text: str) -> float | None:
    """New shares for one old, as a number or such as 3:2 and 3/2, 1 included; None for any other text."""
    new, _, old = text.strip().replace("/", ":").partition(":")
    try:
        ratio = float(new) / float(old or 1)
    except (ValueError, ZeroDivisionError):
        return None
    return ratio if 1 / MOST_SPLIT_RATIO <= ratio <= MOST_SPLIT_RATIO else None
