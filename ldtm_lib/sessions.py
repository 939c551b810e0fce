"""The exchange calendar: trading days, their opens and closes, and the target session of each horizon."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ldtm_lib.errors import CalendarError

Sessions = npt.NDArray[np.datetime64]
"""An array of dates, dtype datetime64[D]."""
Moments = npt.NDArray[np.datetime64]
"""An array of moments in UTC, dtype datetime64[s]."""

HORIZONS = ("next_day", "next_monday", "one_month")
HORIZON_NAMES = {"next_day": "next day", "next_monday": "next Monday", "one_month": "one month"}
"""Names of the horizons for a person."""
ONE_MONTH_SESSIONS = 21
LONGEST_SESSIONS = {"next_day": 1, "next_monday": 5, "one_month": ONE_MONTH_SESSIONS}
"""The largest number of sessions to the target of each horizon; as many successive forecasts overlap."""
FIRST_DAY = date(1990, 1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The target sessions of a forecast made after the close of one session."""

    next_day: date
    next_monday: date
    one_month: date

    def as_tuple(self) -> tuple[date, date, date]:
        """The three sessions in the order of HORIZONS."""
        return self.next_day, self.next_monday, self.one_month


class Calendar:
    """The sessions of XNYS from 1990 to the end of the year after next, as arrays: every look-up is a binary search.

    Source of holidays and early closes: the package exchange-calendars.
    """

    def __init__(self, name: str = "XNYS") -> None:
        import exchange_calendars  # pyright: ignore[reportMissingTypeStubs] with pandas, which most commands do without

        last_day = date(datetime.now(UTC).year + 2, 12, 31)
        exchange: Any = exchange_calendars.get_calendar(name, start=FIRST_DAY.isoformat(), end=last_day.isoformat())
        self.name = name
        self.days: Sessions = exchange.sessions.to_numpy().astype("datetime64[D]")
        self._opens: Moments = exchange.opens_nanos.astype("datetime64[ns]").astype("datetime64[s]")
        self._closes: Moments = exchange.closes_nanos.astype("datetime64[ns]").astype("datetime64[s]")

    @classmethod
    def of_sessions(cls, sessions: Iterable[tuple[date, datetime, datetime]], name: str = "XNYS") -> "Calendar":
        """The calendar of known sessions, each with its open and close, in their order."""
        days, opens, closes = zip(*sessions, strict=True)
        calendar = cls.__new__(cls)
        calendar.name = name
        calendar.days = np.array(days, dtype="datetime64[D]")
        calendar._opens, calendar._closes = _moments(opens), _moments(closes)
        return calendar

    def is_session(self, day: date) -> bool:
        """True if the exchange trades on a day."""
        at = self._position(day)
        return at < len(self.days) and self.days[at] == np.datetime64(day)

    def require_session(self, day: date) -> date:
        """The day itself; raises CalendarError, naming the neighbours, when the exchange does not trade on it."""
        at = self._position(day)
        if self.is_session(day):
            return day
        if at == 0 or at == len(self.days):
            raise CalendarError(f"{day} is outside of the {self.name} calendar, {self.days[0]} to {self.days[-1]}")
        raise CalendarError(
            f"{day} is not a session of {self.name}; the sessions around it are {self.days[at - 1]} and {self.days[at]}"
        )

    def offset(self, session: date, num_sessions: int) -> date:
        """The session that is `num_sessions` sessions after a session, or before it if negative."""
        self.require_session(session)
        at = self._position(session) + num_sessions
        if not 0 <= at < len(self.days):
            raise CalendarError(
                f"the session at offset {num_sessions:+} from {session} is outside of the {self.name} calendar"
            )
        return self.days[at].item()

    def on_or_after(self, day: date) -> date:
        """The day itself if it is a session, else the next one; the day itself beyond the end of the calendar."""
        at = self._position(day)
        return self.days[at].item() if at < len(self.days) else day

    def between(self, first: date, last: date) -> list[date]:
        """All sessions from one day to another, both included."""
        since, until = np.searchsorted(self.days, [np.datetime64(first), np.datetime64(last) + 1])
        return self.days[since:until].tolist()

    def opens_at(self, session: date) -> datetime:
        """Time at which a session opens, in UTC."""
        self.require_session(session)
        return self._opens[self._position(session)].item().replace(tzinfo=UTC)

    def closes_at(self, session: date) -> datetime:
        """Time at which a session closes, in UTC; early closes are known."""
        self.require_session(session)
        return self._closes[self._position(session)].item().replace(tzinfo=UTC)

    def last_closed(self, now: datetime) -> date:
        """The newest session that has closed at a moment (aware)."""
        moment = np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "s")
        at = int(np.searchsorted(self._closes, moment, side="right")) - 1
        if at < 0:
            raise CalendarError(f"no session of {self.name} had closed by {now}")
        return self.days[at].item()

    def targets(self, run_date: date) -> Targets:
        """The target sessions of a run date, which must be a session."""
        self.require_session(run_date)
        row = self.targets_of(np.array([run_date], dtype="datetime64[D]"))[0]
        return Targets(next_day=row[0].item(), next_monday=row[1].item(), one_month=row[2].item())

    def targets_of(self, run_dates: Sessions) -> Sessions:
        """Target sessions of many run dates: shape (len(run_dates), 3), columns in the order of HORIZONS.

        Next day is the first session after; next Monday the first session on or after the first Monday
        strictly after; one month the 21st session after. All run dates must be sessions.
        """
        at = np.searchsorted(self.days, run_dates)
        if len(run_dates) and (at.max() + ONE_MONTH_SESSIONS >= len(self.days)):
            raise CalendarError(f"the targets of {run_dates.max()} lie beyond the calendar's end, {self.days[-1]}")
        if not np.array_equal(self.days[at], run_dates):
            self.require_session(run_dates[self.days[at] != run_dates][0].item())
        mondays = np.busday_offset(run_dates + 1, 0, roll="forward", weekmask="Mon")
        return np.stack(
            [self.days[at + 1], self.days[np.searchsorted(self.days, mondays)], self.days[at + ONE_MONTH_SESSIONS]],
            axis=1,
        )

    def num_sessions(self, run_dates: Sessions, target_sessions: Sessions) -> npt.NDArray[np.int64]:
        """Sessions from each run date (n,) to its target sessions (n, 3); both must be sessions."""
        targets_at = np.searchsorted(self.days, target_sessions)
        return (targets_at - np.searchsorted(self.days, run_dates)[:, None]).astype(np.int64)

    def next_mondays(self) -> list[date | None]:
        """The next Monday of every session, as `targets_of` has it; None at the end, if it is after the calendar."""
        mondays = np.searchsorted(self.days, np.busday_offset(self.days + 1, 0, roll="forward", weekmask="Mon"))
        days: list[date] = self.days.tolist()
        return [days[at] if at < len(days) else None for at in mondays.tolist()]

    def schedule(self) -> list[tuple[date, datetime, datetime]]:
        """Every session with its open and close in UTC."""
        return [
            (day.item(), opens.item().replace(tzinfo=UTC), closes.item().replace(tzinfo=UTC))
            for day, opens, closes in zip(self.days, self._opens, self._closes, strict=True)
        ]

    def _position(self, day: date) -> int:
        return int(np.searchsorted(self.days, np.datetime64(day)))


def _moments(moments: Iterable[datetime]) -> Moments:
    return np.array([moment.astimezone(UTC).replace(tzinfo=None) for moment in moments], dtype="datetime64[s]")


@cache
def exchange_calendar() -> Calendar:
    """The one calendar of this process; building it takes about half a second."""
    return Calendar()
