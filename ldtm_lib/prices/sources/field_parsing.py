"""Parse the fields of exported files as dates and numbers, one column at a time.

A field that cannot be parsed becomes null; `unparsed` marks it.
"""

from dataclasses import dataclass

import polars as pl

EXCHANGE_ZONE = "America/New_York"
MISSING = ("", "-", "--", "null", "none", "n/a", "na", "#n/a", "nil")
DATE_FORMATS = (
    "%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%b %d, %Y",
    "%B %d, %Y", "%d-%b-%Y", "%d %b %Y", "%m/%d/%y", "%d-%b-%y",
)  # fmt: skip
TIME_OF_DAY = r"[T ]+\d{1,2}:\d{2}.*$"
EPOCH = r"^\d{9,10}(\d{3})?(\.0*)?$"
"""Seconds or milliseconds since 1970 of days from 1973 on; fewer digits are a date such as 20130301."""
EPOCH_SECONDS = r"^\d{9,10}(\.|$)"
SHORT_YEAR = r"^\d{1,2}[/-]\w{1,3}[/-]\d{2}$"
MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedColumn:
    """A column of parsed values, null where a field could not be parsed, and a mask of those fields."""

    values: pl.Series
    unparsed: pl.Series
    problem: str | None = None
    """The reason why the whole column could not be parsed."""


def parse_sessions(fields: pl.Series, date_format: str | None = None) -> ParsedColumn:
    """Dates of a column: text in any of DATE_FORMATS, with or without a time, dates, or (milli)seconds since 1970.

    One format holds for the whole column: the given one, or that which reads most of it. Day and month are
    distinguished by a day above 12, or else by the number of weekend dates under each format; a column that stays
    ambiguous is refused.
    """
    if fields.dtype == pl.Date:
        return ParsedColumn(values=fields, unparsed=fields.is_null())
    if isinstance(fields.dtype, pl.Datetime):
        return _from_moments(fields)
    text = fields.cast(pl.String).str.strip_chars()
    if date_format is not None:
        given = text.str.to_datetime(date_format, strict=False).dt.date()
        return ParsedColumn(values=given, unparsed=given.is_null())
    if text.str.contains(EPOCH).all():
        since_1970 = text.str.extract(r"^(\d+)").cast(pl.Int64)
        seconds = since_1970.zip_with(text.str.contains(EPOCH_SECONDS), since_1970 // 1000)
        return _from_moments(pl.from_epoch(seconds, time_unit="s").dt.replace_time_zone("UTC"))
    days = text.str.replace(TIME_OF_DAY, "")
    plain = days.str.to_date(DATE_FORMATS[0], strict=False)
    if plain.null_count() == 0:
        return ParsedColumn(values=plain, unparsed=plain.is_null())
    short = days.str.contains(SHORT_YEAR).any()
    parsed = {f: days.str.to_date(f, strict=False) for f in DATE_FORMATS if f.endswith("y") == short}
    best = max((values.count() for values in parsed.values()), default=0)
    candidates = [values for values in parsed.values() if values.count() == best]
    fewest = min(_num_weekend_days(values) for values in candidates)
    likely = [values for values in candidates if _num_weekend_days(values) == fewest]
    if best and any(not values.equals(likely[0]) for values in likely):
        return ParsedColumn(
            values=likely[0],
            unparsed=pl.repeat(True, len(fields), eager=True),
            problem="dates that can be read as day/month and as month/day",
        )
    return ParsedColumn(values=likely[0], unparsed=likely[0].is_null())


def parse_numbers(columns: dict[str, pl.Series], separator: str | None) -> dict[str, ParsedColumn]:
    """Numbers of the columns of one file: currency signs, thousands separators and decimal commas are understood.

    Whether a comma is a decimal sign is decided for all columns together, and only where it is unambiguous; where
    commas separate the fields they are none. Missing fields (empty, null, N/A, -) are null and count as read.
    """
    direct = {name: fields.cast(pl.Float64, strict=False) for name, fields in columns.items()}
    if all(values.null_count() == columns[name].null_count() for name, values in direct.items()):
        return {
            name: ParsedColumn(values=values, unparsed=pl.repeat(False, len(values), eager=True))
            for name, values in direct.items()
        }
    texts = {name: _plain(fields) for name, fields in columns.items()}
    written = pl.concat([text for text in texts.values() if text is not None] or [pl.Series([], dtype=pl.String)])
    decimal_comma, problem = _decimal_comma(written, separator)
    return {name: _numbers(columns[name], text, decimal_comma, problem) for name, text in texts.items()}


def _numbers(fields: pl.Series, text: pl.Series | None, decimal_comma: bool, problem: str | None) -> ParsedColumn:
    if text is None:
        return ParsedColumn(values=fields.cast(pl.Float64), unparsed=pl.repeat(False, len(fields), eager=True))
    if decimal_comma:
        number = text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True)
    else:
        grouped = text.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d*)?[KMB]?$").fill_null(value=False)
        number = text.zip_with(~grouped, text.str.replace_all(",", "", literal=True))
    values = number.str.replace(r"[KMB]$", "").cast(pl.Float64, strict=False)
    for suffix, multiple in MULTIPLES.items():
        values = values.zip_with(~number.str.ends_with(suffix).fill_null(value=False), values * multiple)
    unparsed = values.is_null() & text.is_not_null()
    if problem is not None:
        ambiguous = text.str.contains(",", literal=True).fill_null(value=False)
        return ParsedColumn(values=values, unparsed=unparsed | ambiguous, problem=problem)
    return ParsedColumn(values=values, unparsed=unparsed)


def _plain(fields: pl.Series) -> pl.Series | None:
    """Cells without currency signs and blanks, missing ones null; None for a column that holds numbers already."""
    if fields.dtype != pl.String:
        return None
    text = fields.str.replace_all(r"[\s\u00a0'$€£]", "")
    return text.set(text.str.to_lowercase().is_in(MISSING), None)


def _decimal_comma(written: pl.Series, separator: str | None) -> tuple[bool, str | None]:
    """Whether commas are decimal signs, or the reason why that is ambiguous."""

    def some(pattern: str) -> bool:
        return bool(written.str.contains(pattern).any())

    if not some(","):
        return False, None
    if some(r"\.(\d{1,2}|\d{4,})[KMB]?$|,\d{3}\.|(,\d{3}){2,}[KMB]?$"):
        return False, None
    if some(r",(\d{1,2}|\d{4,})[KMB]?$|\.\d{3},|(\.\d{3}){2,}$|^0,"):
        return True, None
    if separator == ",":
        return False, None
    return False, "commas that may be thousands separators or decimal signs"


def _from_moments(moments: pl.Series) -> ParsedColumn:
    """The date in New York of each moment; midnights in UTC are dates already."""
    if getattr(moments.dtype, "time_zone", None) is not None:
        in_utc = moments.dt.convert_time_zone("UTC")
        is_midnight = bool((in_utc.dt.hour() + in_utc.dt.minute() == 0).all())
        moments = in_utc if is_midnight else moments.dt.convert_time_zone(EXCHANGE_ZONE)
    return ParsedColumn(values=moments.dt.date(), unparsed=moments.is_null())


def _num_weekend_days(days: pl.Series) -> int:
    return int((days.dt.weekday() > 5).sum() or 0)
