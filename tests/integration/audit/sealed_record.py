"""A sealed and published record, and the changes that the owner of its tables can make."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from psycopg import sql

from ldtm_lib.audit.publications.protocol import publish_missing
from ldtm_lib.audit.publications.seal_file import SealFile
from ldtm_lib.audit.sealing import create_seal, read_seals
from ldtm_lib.audit.verify import AuditReport, verify
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.ledger.fillbacks import fill
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import LedgerConfig
from tests.integration.ledger_rows import LedgerRows

TICKERS = ("AAPL", "IBM", "MSFT")
DAYS = (date(2013, 1, 2), date(2013, 1, 3), date(2013, 1, 4), date(2013, 1, 7))
CHAINED_TABLES = (
    "snapshot",
    "checkpoint",
    "voided_fill",
    "restated_actual",
    "overdue_fill",
    "ledger_event",
    "ledger_seal",
    "trading_session",
    "service_entry",
    "simulation",
    "bar",
)


@dataclass(frozen=True, slots=True)
class Record:
    """A ledger of four sessions, each sealed and published in a file."""

    database: Database
    conn: Connection
    calendar: Calendar
    rows: LedgerRows
    file: SealFile

    def daily_run(self, run_date: date, *, tickers: tuple[str, ...] = TICKERS) -> None:
        """Bars, forecasts, one abstention, fills, and the seal over them."""
        for n, ticker in enumerate(tickers):
            close = 100 + n + run_date.day / 10
            self.rows.bar(ticker, run_date, close)
            self.rows.forecast(ticker, run_date, close=close, preds=(close + 1, close + 2, close + 3), kind="late")
        self.rows.abstention("FB", run_date, kind="late")
        fill(self.conn, as_of=run_date, config=LedgerConfig())
        self.seal()

    def seal(self) -> None:
        """Seal the daily run and publish the seal."""
        create_seal(self.conn)
        self.conn.commit()
        publish_missing(self.file, read_seals(self.conn))
        self.conn.commit()

    def verify(self, *, published: bool = True) -> AuditReport:
        return verify(self.database, self.calendar, [self.file] if published else [])

    def messages(self, *, published: bool = True) -> list[str]:
        return [found.message for found in self.verify(published=published).discrepancies]

    def altered_rows(self) -> list[str]:
        """The messages about events, without those about the schema, whose constraints a test has dropped."""
        return [found.message for found in self.verify().discrepancies if found.event_id is not None]

    @contextmanager
    def as_owner(self) -> Iterator[Connection]:
        """What the owner of the tables can do: switch the triggers off, change what he likes, and on again."""
        for table in CHAINED_TABLES:
            self.conn.execute(sql.SQL("alter table {} disable trigger all").format(sql.Identifier(table)))
        yield self.conn
        for table in CHAINED_TABLES:
            self.conn.execute(sql.SQL("alter table {} enable trigger all").format(sql.Identifier(table)))
        self.conn.commit()
