"""Parsing of the bars in an answer, CSV or JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import polars as pl

from ldtm_lib.errors import MalformedFile, MissingBar, SourceError
from ldtm_lib.prices.sources.bar_files import bars_of_table
from ldtm_lib.prices.sources.source_file import failing_by_name
from ldtm_lib.prices.sources.tables import Table, table_of_frame, table_of_text
from ldtm_lib.prices.sources.url.download import Answer, excerpt, is_web_page
from ldtm_lib.prices.sources.url.secrets import Secrets
from ldtm_lib.settings import UrlConfig

COMPARE = "compare [url] with the service's documentation"
Record = Mapping[str, object]


def bars_of_answer(name: str, answer: Answer, config: UrlConfig, secrets: Secrets) -> pl.DataFrame:
    """The bars of one ticker, sorted: columns of BAR_SCHEMA, `place`, and adj_close if the answer has it.

    The column ticker holds `name`, by which messages refer to the answer. Raises MissingBar for an answer without
    bars and SourceError for one that cannot be read; both show the beginning of the answer.
    """
    if not answer.body.strip():
        raise MissingBar(f"{name} is empty; {COMPARE}, or try again later")
    if is_web_page(answer):
        raise SourceError(f"{name} is a web page instead of {config.format.upper()}; {COMPARE}, the key included")
    shown = excerpt(answer.body, secrets)
    columns = {"session" if ours == "date" else ours: theirs for ours, theirs in config.columns.items()}
    try:
        with failing_by_name(name):
            table = (
                _table_of_json(name, answer.body, config.records, columns, shown) if config.format == "json" else None
            )
            if table is None:
                if answer.body.lstrip()[:1] in (b"{", b"["):
                    raise SourceError(f"{name} is JSON instead of CSV: {shown}; {COMPARE}")
                table = table_of_text(name, answer.body, columns=columns)
            if table.frame.is_empty():
                raise MissingBar(f"{name} has no bars; try again later, or list it under [retired] if it was delisted")
            table = replace(table, frame=table.frame.drop("ticker", strict=False))
            read = bars_of_table(table, name, date_format=config.date_format)
    except MalformedFile as error:
        raise _unreadable(error, secrets) from None
    if name in read.failures:
        raise _unreadable(read.failures[name], secrets)
    return read.bars[name].sort("session")


def _unreadable(error: MalformedFile, secrets: Secrets) -> SourceError:
    """The problem with a remedy for a web service instead of the remedy for a file."""
    return SourceError(f"{secrets.removed_from(str(error).rpartition('; ')[0])}; {COMPARE}")


def _table_of_json(name: str, body: bytes, place: str | None, columns: Mapping[str, str], shown: str) -> Table:
    try:
        content: object = json.loads(body, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        raise SourceError(f"{name} is not JSON: {shown}; {COMPARE}") from None
    for key in place.split(".") if place else ():
        inner = _member(content, key)
        if inner is None:
            raise SourceError(f"{name} has no {place!r}: {shown}; {COMPARE}")
        content = inner
    records = _records(content)
    if records is None:
        where = f"under {place!r}" if place else "at its top"
        raise SourceError(f"{name} has no list of bars {where}: {shown}; name its place in url.records")
    if not records:
        raise MissingBar(f"{name} has no bars: {shown}; try again later, or list it under [retired] if it was delisted")
    fields = dict.fromkeys(key for record in records for key in record)
    frame = pl.DataFrame(
        {key: [_field(record.get(key)) for record in records] for key in fields},
        schema=dict.fromkeys(fields, pl.String),
    )
    return table_of_frame(name, frame, columns=columns)


def _member(content: object, key: str) -> object | None:
    """The value under a key of an object, or at a position of a list; None if absent."""
    if isinstance(content, dict):
        return cast(dict[str, object], content).get(key)
    if isinstance(content, list) and key.isdigit():
        items = cast(list[object], content)
        return items[int(key)] if int(key) < len(items) else None
    return None


def _records(content: object) -> Sequence[Record] | None:
    """The bars of a list of objects, or of an object with one per date; None for anything else."""
    if isinstance(content, list):
        items = cast(list[object], content)
        return cast(list[Record], items) if all(isinstance(item, dict) for item in items) else None
    if isinstance(content, dict):
        by_date = cast(dict[str, object], content)
        if all(isinstance(item, dict) for item in by_date.values()):
            return [{"date": day, **cast(Record, item)} for day, item in by_date.items()]
    return None


def _field(value: object) -> str | None:
    """A number or text as written; None for any other value."""
    return value if isinstance(value, str) else None
