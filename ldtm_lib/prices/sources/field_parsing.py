"""Parse the fields of exported files as sessions and numbers, one column at a time.

A field that cannot be parsed becomes null; `unparsed` marks it.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

EXCHANGE_ZONE = "America/New_York"
MISSING = ("", "-", "--", "null", "none", "n/a", "na", "#n/a", "nil")
DATE_FORMATS = (
    "%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%b %d, %Y",
    "%B %d, %Y", "%d-%b-%Y", "%d %b %Y", "%m/%d/%y", "%d-%b-%y",
)  # fmt: skip
TIME = r"([Tt ]+\d{1,2}:\d{2}.*)$"
TIME_OF_DAY = r"^[T ]+(?<hour>\d{1,2}):(?<minute>\d{2})(?::\d{2}(?:[.,]\d+)?)?\s*(?<half>[AP]M)?\s*(?<zone>.*)$"
OFFSET = r"^(?:UTC|GMT)?(?<hours>[+-]\d{1,2}):?(?<minutes>\d{2})?(?:\[.*\])?$"
OFFSETS_BY_NAME = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -300, "EDT": -240}
"""Minutes east of Greenwich."""
NAMES_OF_EXCHANGE_ZONE = ("AMERICA/NEW_YORK", "[AMERICA/NEW_YORK]", "US/EASTERN")
EPOCH = r"^-?\d{1,19}(\.\d*)?$"
LEAST_EPOCH = 10**8
"""A column whose greatest number has fewer digits does not count seconds since 1970: 20130301 is a date."""
EPOCH_UNITS = ((10**11, 1), (10**14, 10**3), (10**17, 10**6), (2**63, 10**9))
"""Units of a column of times since 1970, in parts of a second, each with the bound of its numbers; 1e11 seconds are the
year 5138."""
SERIAL = r"^\d{5}(\.\d*)?$"
"""Days since 1899-12-30, as spreadsheets store dates: 1927 to 2173."""
SERIAL_ORIGIN = -25569
"""1899-12-30 in days since 1970."""
SHORT_YEAR = r"^\d{1,2}[/-]\w{1,3}[/-]\d{2}$"
EARLIEST, LATEST = date(1800, 1, 1), date(2200, 1, 1)
"""Bounds of a date that is read."""
DAY_MINUTES, DAY_SECONDS, MOST_OFFSET = 24 * 60, 24 * 60 * 60, 14 * 60
EVENING, EVENING_IN_UTC = 17 * 60, 22 * 60
"""Minutes after midnight. Later than the close in New York, so that the bar may be of the next session: midnight in UTC
is 19:00 or 20:00 there, and midnight in Europe is 22:00 or 23:00 in UTC."""
MONDAY, FRIDAY, SATURDAY, SUNDAY = 1, 5, 6, 7
WEEK_SESSIONS = 5
MULTIPLES = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedColumn:
    """A column of parsed values, null where a field could not be parsed, and a mask of those fields."""

    values: pl.Series
    unparsed: pl.Series
    problem: str | None = None
    """The reason why the whole column could not be parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedSessions(ParsedColumn):
    """Parsed dates of sessions."""

    is_evening: pl.Series
    """Marks times so late that their bar may be of the next session."""


def parse_sessions(fields: pl.Series, date_format: str | None = None) -> ParsedSessions:
    """The session of every field of a column, as text or as a column of a Parquet file has it.

    - A date, in any of DATE_FORMATS, is the session. One format holds for the whole column: the given one, or the one
      that reads most of it. Day and month are distinguished by a day above 12, or else by the number of weekend days.
    - A time without an offset belongs to its date.
    - A time with an offset, or with the name of the zone of New York, is an instant. The session of an instant is its
      date in UTC: every time from midnight in New York until three hours after the close is then of its own session,
      and so is midnight in UTC, by which many services mark a day.
    - A number since 1970 is an instant, in seconds, milliseconds, microseconds or nanoseconds: the size of the greatest
      number decides for the whole column.
    - A number of five digits is a day as spreadsheets count them, with the time as its fraction.

    Refused, that is null and marked as unparsed: dates before 1800 or after 2199; names of other time zones; a column
    that can be read as day/month and as month/day; times since 1970 in several units; and a column of midnights east of
    Greenwich, whose dates in UTC are those of the days before. `misdated` refuses dates other than those of sessions.
    """
    if fields.dtype == pl.Date:
        return _parsed(fields)
    if isinstance(fields.dtype, pl.Datetime):
        return _of_datetimes(fields, is_instant=fields.dtype.time_zone is not None)
    if fields.dtype.is_float():
        whole = fields.cast(pl.Int64, strict=False)
        fields = fields.cast(pl.String).zip_with((whole != fields).fill_null(value=True), whole.cast(pl.String))
    text = fields.cast(pl.String).str.strip_chars()
    if date_format is not None:
        given = text.str.to_datetime(date_format, strict=False)
        return _of_datetimes(given, is_instant="%z" in date_format)
    if text.str.contains(EPOCH).all() and _greatest(since_1970 := _whole_numbers(text)) >= LEAST_EPOCH:
        return _of_epochs(since_1970)
    if text.count() and text.str.contains(SERIAL).all():
        return _of_serial_numbers(text.cast(pl.Float64))
    return _of_texts(text)


def misdated(sessions: pl.Series, is_evening: pl.Series) -> str | None:
    """The reason why the dates of one ticker do not seem to be those of its sessions, or None.

    A bar that is stored a day early would leak the next day into a forecast. Dates on Sundays without any on a Friday
    are a day early, and those on Saturdays without any on a Monday a day late. Where there is no date on a Friday,
    which would show that the dates are right, times in the evening are refused.
    """
    weekdays = sessions.dt.weekday().drop_nulls().unique().to_list()
    times = "times in the evening, " if is_evening.any() else "dates "
    if SUNDAY in weekdays and FRIDAY not in weekdays:
        return f"{times}on Sundays and on no Friday (each is of the session after it, in another time zone),"
    if SATURDAY in weekdays and MONDAY not in weekdays and sessions.n_unique() >= WEEK_SESSIONS:
        return f"{times}on Saturdays and on no Monday (each is of the session before it, in another time zone),"
    if FRIDAY not in weekdays and is_evening.any():
        return "times in the evening, which may be of the next session,"
    return None


def _parsed(days: pl.Series, is_evening: pl.Series | None = None, problem: str | None = None) -> ParsedSessions:
    """Sessions within the bounds; with a problem, none of the column counts."""
    inside = days.is_between(EARLIEST, LATEST, closed="left").fill_null(value=False)
    values = days.set(~inside, None)
    return ParsedSessions(
        values=values,
        unparsed=pl.repeat(True, len(days), eager=True) if problem else values.is_null(),
        problem=problem,
        is_evening=inside & (False if is_evening is None else is_evening.fill_null(value=False)),
    )


def _of_datetimes(times: pl.Series, *, is_instant: bool) -> ParsedSessions:
    """The dates of a column of times; instants are in UTC here, whatever zone shows them."""
    if isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is not None:
        times = times.dt.convert_time_zone("UTC")
    minutes = times.dt.hour().cast(pl.Int64) * 60 + times.dt.minute()
    return _parsed(times.dt.date(), minutes >= (EVENING_IN_UTC if is_instant else EVENING))


def _whole_numbers(text: pl.Series) -> pl.Series:
    """The digits before the point of each number; null beyond 64 bits."""
    return text.str.extract(r"^(-?\d+)").cast(pl.Int64, strict=False)


def _greatest(numbers: pl.Series) -> int:
    greatest = numbers.abs().max()
    return greatest if isinstance(greatest, int) else 0


def _of_epochs(since_1970: pl.Series) -> ParsedSessions:
    unit = next(parts for bound, parts in EPOCH_UNITS if _greatest(since_1970) < bound)
    seconds = since_1970 // unit
    days = (seconds // DAY_SECONDS).cast(pl.Int32, strict=False).cast(pl.Date)
    # Seconds among milliseconds would all be in the first weeks of 1970, in a column without the years after them.
    first_weeks = days.is_between(date(1970, 1, 1), date(1970, 2, 15), closed="left")
    later = days.is_between(date(1970, 2, 15), date(1980, 1, 1))
    is_mixed = unit > 1 and first_weeks.any() and not later.any()
    problem = "times since 1970 in several units" if is_mixed else None
    return _parsed(days, seconds % DAY_SECONDS >= EVENING_IN_UTC * 60, problem)


def _of_serial_numbers(serials: pl.Series) -> ParsedSessions:
    days = (serials.floor().cast(pl.Int32) + SERIAL_ORIGIN).cast(pl.Date)
    return _parsed(days, (serials % 1) * DAY_MINUTES >= EVENING)


def _of_texts(text: pl.Series) -> ParsedSessions:
    """Dates with or without a time in one of DATE_FORMATS."""
    plain = text.str.to_date(DATE_FORMATS[0], strict=False)
    if plain.null_count() == text.null_count():
        return _parsed(plain)
    written = text.str.extract(TIME)
    dates = pl.select(pl.lit(text).str.strip_suffix(pl.lit(written.fill_null("")))).to_series()
    times = _times_of_day(written)
    short = dates.str.contains(SHORT_YEAR).any()
    formats = [f for f in DATE_FORMATS if f.endswith("y") == short]
    iso = dates.str.to_date(DATE_FORMATS[0], strict=False)
    is_iso = iso.null_count() == text.null_count()
    parsed = [iso] if is_iso else [dates.str.to_date(f, strict=False) for f in formats]
    best = max(values.count() for values in parsed)
    candidates = [_sessions(values, times) for values in parsed if values.count() == best]
    fewest = min(_num_weekend_days(values) for values in candidates)
    likely = [values for values in candidates if _num_weekend_days(values) == fewest]
    problem = None
    if best and any(not values.equals(likely[0]) for values in likely):
        problem = "dates that can be read as day/month and as month/day"
    elif times["is_midnight_in_the_east"].any() and times["is_midnight_in_the_east"].drop_nulls().all():
        problem = "midnights of a time zone east of Greenwich, which may mean their date or the session before,"
    return _parsed(likely[0], times["is_evening"], problem)


def _times_of_day(written: pl.Series) -> pl.DataFrame:
    """The time that follows the date of each field, from the text there (null if there is none).

    Columns: `minutes` after midnight (null without a time), `offset` in minutes (null for none), `is_of_exchange` (the
    zone of New York by its name), `is_readable` (a time that exists, of a known zone), `is_evening`, and
    `is_midnight_in_the_east` (null for a field that is not an instant).
    """
    upper = pl.col("text").str.to_uppercase()
    hour, minute = pl.col("hour").cast(pl.Int64), pl.col("minute").cast(pl.Int64)
    is_half = pl.col("half").is_not_null()
    of_day = pl.when(is_half).then(hour % 12 + 12 * (pl.col("half") == "PM").cast(pl.Int64)).otherwise(hour)
    signed = pl.concat_str(pl.col("hours").str.slice(0, 1), pl.col("minutes").fill_null("0")).cast(pl.Int64)
    named = pl.col("zone").replace_strict(OFFSETS_BY_NAME, default=None, return_dtype=pl.Int64)
    is_local = pl.col("offset").is_null() & ~pl.col("is_of_exchange")
    offset = pl.col("offset").fill_null(-300)  # an hour makes no difference to what is evening in the zone of New York
    in_utc = (pl.col("minutes") - offset) % DAY_MINUTES
    texts = pl.DataFrame({"text": written})
    times = (
        texts.unique()  # many dates have few times
        .select("text", upper.str.extract_groups(TIME_OF_DAY).alias("time"))
        .unnest("time")
        .with_columns(pl.col("zone").str.strip_chars())
        .with_columns(pl.col("zone").str.extract_groups(OFFSET).alias("written"))
        .unnest("written")
        .select(
            "text",
            minutes=of_day * 60 + minute,
            offset=pl.coalesce(pl.col("hours").cast(pl.Int64) * 60 + signed, named),
            is_of_exchange=pl.col("zone").is_in(NAMES_OF_EXCHANGE_ZONE).fill_null(value=False),
            is_time=(hour < 24) & (minute < 60) & (~is_half | hour.is_between(1, 12)),
            has_zone=pl.col("zone") != "",
        )
        .with_columns(
            is_readable=pl.col("minutes").is_null()
            | (pl.col("is_time") & (~pl.col("has_zone") | ~is_local) & (offset.abs() <= MOST_OFFSET)),
            is_evening=pl.when(is_local).then(pl.col("minutes") >= EVENING).otherwise(in_utc >= EVENING_IN_UTC),
            is_midnight_in_the_east=pl.when(~is_local).then((pl.col("minutes") == 0) & (pl.col("offset") > 0)),
        )
    )
    return texts.join(times, on="text", how="left", nulls_equal=True, maintain_order="left")


def _sessions(dates: pl.Series, times: pl.DataFrame) -> pl.Series:
    """The session of each date with its time; null where one of them is not readable."""
    if times["minutes"].null_count() == len(times):
        return dates
    written = pl.col("date").cast(pl.Datetime("us")) + pl.duration(minutes=pl.col("minutes"))
    in_new_york = written.dt.replace_time_zone(EXCHANGE_ZONE, ambiguous="earliest", non_existent="null")
    in_utc = (
        pl.when("is_of_exchange")
        .then(in_new_york.dt.convert_time_zone("UTC").dt.replace_time_zone(None))
        .otherwise(written - pl.duration(minutes=pl.col("offset").fill_null(0)))
    )
    session = pl.when(pl.col("minutes").is_null()).then("date").otherwise(in_utc.dt.date())
    return times.with_columns(date=dates).select(pl.when("is_readable").then(session).alias("session")).to_series()


def parse_numbers(columns: dict[str, pl.Series], separator: str | None) -> dict[str, ParsedColumn]:
    """Numbers of the columns of one file: currency signs, thousands separators and decimal commas are understood.

    Whether a comma is a decimal sign is decided for all columns together, and only where it is unambiguous; where
    commas separate the fields, they are not decimal signs. Missing fields (empty, null, N/A, -) are null and count as
    read.
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
    """Fields without currency signs and blanks, missing ones null; None for a column that holds numbers already."""
    if fields.dtype != pl.String:
        return None
    text = fields.str.replace_all(r"[\s\u00a0'$€£]", "")
    return text.set(text.str.to_lowercase().is_in(MISSING), None)


def _decimal_comma(written: pl.Series, separator: str | None) -> tuple[bool, str | None]:
    """True if commas are decimal signs, and the reason if that is ambiguous."""

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


def _num_weekend_days(days: pl.Series) -> int:
    return int((days.dt.weekday() > 5).sum() or 0)
