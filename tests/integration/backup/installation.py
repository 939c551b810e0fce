"""An installation with a record, its files, and the archives that tests make and restore."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

from ldtm_lib.audit.publications.configured import publications_of
from ldtm_lib.audit.replay import replay
from ldtm_lib.audit.sealing import SealingReport, seal_and_publish
from ldtm_lib.audit.verify import AuditReport, verify
from ldtm_lib.backup.archive import open_archive
from ldtm_lib.backup.create import BackupReport, create_backup
from ldtm_lib.backup.restore import RestoreReport, restore
from ldtm_lib.backup.target import restore_target
from ldtm_lib.database.connection import Database
from ldtm_lib.ledger.simulations import simulation_of_row
from ldtm_lib.project import DATABASE_VARIABLE, Project, claim_folder, home_of
from ldtm_lib.sessions import Calendar
from ldtm_lib.settings import load_settings
from tests.integration.environment import RUN_DATE, ForecastEnvironment

NOW = datetime(2026, 11, 30, 10, 15, tzinfo=UTC)
LATER = (date(2013, 1, 14), date(2013, 1, 15), date(2013, 1, 16))
"""Sessions after that of the first forecast."""


def major_of(database: Database) -> int:
    """The major version of a database's server."""
    with database.connect() as conn:
        return conn.info.server_version // 10_000


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder with a configuration, and its database."""

    folder: Path
    database: Database
    calendar: Calendar

    @staticmethod
    def in_folder(folder: Path, database: Database, calendar: Calendar) -> "Installation":
        """A new installation of two tickers, whose folder belongs to the record of its database."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "universe.toml").write_text('tickers = ["AAPL", "MSFT"]\n')
        installation = Installation(folder, database, calendar)
        claim_folder(installation.project)
        installation.project.checkpoint_folder.mkdir()
        return installation

    @property
    def config(self) -> Path:
        return self.folder / "universe.toml"

    @property
    def project(self) -> Project:
        settings = load_settings(self.config)
        return Project(settings=settings, home=home_of(settings), database=self.database)

    @property
    def seals(self) -> Path:
        return self.project.home / "seals.jsonl"

    @property
    def environ(self) -> Mapping[str, str]:
        return {DATABASE_VARIABLE: self.database.url}

    def forecast(self) -> None:
        """Bars, a network, and a forecast of AAPL, sealed."""
        with self.database.connect() as conn:
            environment = self._environment(conn)
            environment.ready("AAPL")
            environment.take("AAPL")
            conn.commit()
        self.seal()

    def daily_run(self, run_date: date) -> None:
        """The forecast of one more session, sealed."""
        with self.database.connect() as conn:
            environment = self._environment(conn)
            environment.deliver(environment.bars(["AAPL"], last=run_date, num_bars=290))
            environment.make_windows(["AAPL"], run_date)
            environment.take("AAPL", run_date=run_date)
            conn.commit()
        self.seal()

    def seal(self) -> SealingReport:
        return seal_and_publish(self.database, publications_of(self.project.settings, self.project.home))

    def verify(self) -> AuditReport:
        return verify(self.database, self.calendar, publications_of(self.project.settings, self.project.home))

    def replays(self, run_date: date = RUN_DATE) -> bool:
        """Whether the forecast of AAPL comes out equal to the bit."""
        with self.database.connect() as conn:
            number = simulation_of_row(conn, "AAPL", run_date)
            folder, settings = self.project.checkpoint_folder, self.project.settings
            found = replay(conn, "AAPL", run_date, number, folder=folder, settings=settings, calendar=self.calendar)
            return found.is_equal_to_the_bit

    def backup(self, archive: Path, *, with_dagster: bool = True) -> BackupReport:
        return create_backup(
            self.project, archive, ldtm_version="0.1.0", now=NOW, environ={}, with_dagster=with_dagster
        )

    def restore(self, path: Path, *, accept_loss: bool = False) -> RestoreReport:
        with open_archive(path) as archive:
            project = restore_target(archive, self.config, self.environ)
            return restore(archive, project, accept_loss=accept_loss, now=NOW, environ={})

    def elsewhere(self, folder: Path, database: Database) -> "Installation":
        """An empty folder and another database, for a restore."""
        folder.mkdir()
        return replace(self, folder=folder, database=database)

    def state(self) -> tuple[object, ...]:
        """All that a refused restore must leave as it is: files with their contents, and rows of the record."""
        files = {
            str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        }
        with self.database.connect() as conn:
            rows = conn.execute("select event_id, leaf from ledger_event order by event_id").fetchall()
            schemas = conn.execute(
                "select nspname from pg_namespace where nspname not like 'pg%' order by nspname"
            ).fetchall()
        return files, rows, schemas

    def lose_the_files(self) -> None:
        shutil.rmtree(self.project.home)

    def _environment(self, conn: object) -> ForecastEnvironment:
        return ForecastEnvironment(conn, self.calendar, self.project.settings, self.project.checkpoint_folder)  # type: ignore[arg-type]
