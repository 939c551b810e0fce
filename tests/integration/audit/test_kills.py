"""Daily runs killed with -9 hundreds of times, anywhere: nothing is lost or doubled, the chain verifies after each."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import dict_row

from ldtm_lib.audit.sealing import read_seals
from ldtm_lib.audit.verify import verify
from ldtm_lib.database import embedded
from ldtm_lib.database.connection import Connection, Database
from ldtm_lib.database.migrate import migrate
from ldtm_lib.prices.ingest import ingest
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import HORIZONS, ONE_MONTH_SESSIONS, Calendar, exchange_calendar
from tests.databases import fresh_database, server_home
from tests.integration.audit.few_sessions import few_sessions
from tests.integration.audit.killed_daily_runs import (
    CLOSING,
    FILLBACKS,
    PRICES,
    SNAPSHOTS,
    STAGES,
    Progress,
    SyntheticInstallation,
)
from tests.integration.audit.small_networks import SmallNetworks, small_settings
from tests.integration.ledger_rows import LedgerRows, enter_service
from tests.repository import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

TICKERS = ("AAPL", "AMZN", "IBM", "MSFT", "QQQ", "SPY")
NEVER_TRAINED = "SPY"
FIRST = date(2012, 2, 1)
NUM_HISTORY, NUM_SESSIONS = 30, 250
SPLIT = Split(ticker="IBM", session=date(2012, 2, 13), ratio=2.0)
"""In the middle of the first month: forecasts of before it are filled after it."""
KILLS, MANY_KILLS, SERVER_KILLS, KILLS_AT_THE_OPEN = 30, 200, 6, 10
MORE_THAN_A_MONTH = 36
A_STAGE_SECONDS, TWO_DAILY_RUNS_SECONDS = 0.03, 0.3
"""About; the machine's load decides. The longest wait before a kill."""
OF_A_FILL = ("_actual", "_pct_error", "_correct", "_filled_at")
Rows = dict[tuple[str, date], dict[str, object]]


@dataclass(slots=True)
class Killer:
    """Daily runs of an installation, each in a process of its own, and the record after the last kill."""

    installation: SyntheticInstallation
    parent: "subprocess.Popen[str]"
    progress: Progress
    calendar: Calendar
    last: int = NUM_SESSIONS
    """Number of the last daily run of a process."""
    recorded: Rows = field(default_factory=dict)
    num_published: int = 0

    def start(self) -> int:
        """Fork a process that goes on with the daily run that is being done; returns its number."""
        self.progress.stage = 0
        self._say(f"{self.last} {self.installation.folder}")
        return int(self._hear())

    def exit_code(self) -> int:
        return int(self._hear())

    def run(self) -> int:
        """A run that nobody kills."""
        self.start()
        return self.exit_code()

    def kill(self, seconds: float, *, stage: int | None = None, runs_ahead: int = 0) -> int:
        """Start a run and kill it so long after its start, or after it reached a stage; returns where it died.

        `runs_ahead` is how many daily runs it may complete before that stage.
        """
        run_number = self.progress.run_number + runs_ahead
        pid = self.start()
        if stage is not None:
            self.wait_for(run_number, stage)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        assert self.exit_code() == -signal.SIGKILL
        return self.progress.stage

    def wait_for(self, run_number: int, stage: int) -> None:
        until = time.monotonic() + 60
        while (self.progress.run_number, self.progress.stage) < (run_number, stage):
            assert time.monotonic() < until, f"a daily run got stuck in {STAGES[self.progress.stage]}"
            time.sleep(0.0003)

    def check(self) -> None:
        """Whole daily runs only, all that was on record is as it was, and the chain is that of the published file."""
        self.wait_for_the_backend_of_the_dead()
        with self.installation.database.connect() as conn:
            rows = rows_of(conn)
            for key, before in self.recorded.items():
                same = {n for n, value in before.items() if value is not None or not n.endswith(OF_A_FILL)}
                assert {n: rows[key][n] for n in same} == {n: before[n] for n in same}, f"{key} was changed or lost"
            self.recorded = rows
            per_session = Counter(run_date for _, run_date in rows)
            assert set(per_session.values()) <= {len(TICKERS)}, "a daily run is one transaction"
            chain = read_seals(conn)
        for (_, run_date), row in rows.items():
            recorded_at = row["recorded_at"]
            assert isinstance(recorded_at, datetime)
            is_in_time = recorded_at < self.calendar.opens_at(self.calendar.offset(run_date, 1))
            assert row["kind"] == ("live" if is_in_time else "late")
        report = verify(self.installation.database, self.calendar, [self.installation.file])
        assert [found.message for found in report.discrepancies] == []
        published = self.installation.file.read().seals
        assert list(published) == list(range(len(published)))
        assert [seal.sha256 for seal in published.values()] == [seal.sha256 for seal in chain[: len(published)]]
        assert len(published) >= self.num_published
        self.num_published = len(published)

    def wait_for_the_backend_of_the_dead(self) -> None:
        """PostgreSQL ends what it was told to do before it notices that nobody is there any more."""
        alive = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        with self.installation.database.connect() as conn:
            conn.autocommit = True
            while conn.execute(alive.encode()).fetchone() != (0,):
                time.sleep(0.001)

    def _say(self, line: str) -> None:
        assert self.parent.stdin is not None
        self.parent.stdin.write(f"{line}\n")
        self.parent.stdin.flush()

    def _hear(self) -> str:
        assert self.parent.stdout is not None
        return self.parent.stdout.readline()


def rows_of(conn: Connection) -> Rows:
    cursor = conn.cursor(row_factory=dict_row)
    return {(row["ticker"], row["run_date"]): row for row in cursor.execute("select * from snapshot")}


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL that may be killed."""

    home: Path
    url: str
    template: str
    """A migrated database with the history and a model of each ticker but one."""


@pytest.fixture(scope="module")
def calendar() -> Calendar:
    return few_sessions(exchange_calendar())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("installation")


@pytest.fixture(scope="module")
def server(calendar: Calendar, folder: Path) -> Iterator[Server]:
    with server_home() as home:
        url = embedded.start(home)
        with fresh_database(url, "template1") as database:
            migrate(database, calendar)
            installation = _installation(database, folder, calendar)
            networks = SmallNetworks.written(folder, TICKERS, 1)
            with database.transaction() as conn:
                history = installation.delivery(installation.sessions[0], installation.sessions[NUM_HISTORY - 1])
                ingest(conn, history, source="installation", calendar=calendar)
                for ticker in TICKERS:
                    enter_service(conn, ticker, FIRST)
                    if ticker != NEVER_TRAINED:
                        networks.promote(conn, ticker, 0)
            yield Server(home, url, psycopg.conninfo.conninfo_to_dict(database.url)["dbname"])


def _installation(database: Database, folder: Path, calendar: Calendar) -> SyntheticInstallation:
    sessions = calendar.between(calendar.offset(FIRST, -NUM_HISTORY), calendar.offset(FIRST, NUM_SESSIONS))
    return SyntheticInstallation(
        database=database,
        folder=folder,
        settings=small_settings(folder, TICKERS),
        sessions=tuple(sessions),
        num_history=NUM_HISTORY,
        split=SPLIT,
    )


@contextmanager
def _killer(
    server: Server, parent: "subprocess.Popen[str]", networks: Path, folder: Path, calendar: Calendar
) -> Iterator[Killer]:
    """An installation with its own database and published file."""
    for file in networks.glob("*.pt"):
        (folder / file.name).write_bytes(file.read_bytes())
    with fresh_database(server.url, server.template) as database:
        installation = _installation(database, folder, calendar)
        (folder / "installation").write_bytes(pickle.dumps(installation))
        progress = Progress(folder / "progress")
        yield Killer(installation, parent, progress, calendar)


@pytest.fixture(scope="module")
def parent() -> Iterator["subprocess.Popen[str]"]:
    """The parent of all daily runs. One thread each: the pools of several do not live through a fork."""
    started = subprocess.Popen(
        [sys.executable, "-c", "from tests.integration.audit.killed_daily_runs import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    yield started
    started.kill()
    started.wait()


@pytest.fixture
def killer(
    server: Server, parent: "subprocess.Popen[str]", folder: Path, tmp_path: Path, calendar: Calendar
) -> Iterator[Killer]:
    with _killer(server, parent, folder, tmp_path, calendar) as made:
        yield made


def _finish(killer: Killer, num_more: int = 0) -> int:
    """Complete the daily run that was being done, and more; returns how many daily runs there are then."""
    killer.last = killer.progress.run_number + num_more
    assert killer.run() == 0
    killer.check()
    return killer.last + 1


@pytest.mark.parametrize(
    "num_kills", [KILLS, pytest.param(MANY_KILLS, marks=[pytest.mark.nightly, pytest.mark.timeout(800)])]
)
def test_killed_runs_lose_nothing_double_nothing_and_leave_a_chain_that_verifies(
    killer: Killer, num_kills: int
) -> None:
    chance = random.Random(8)
    deaths: Counter[str] = Counter()
    run_numbers: set[int] = set()
    for number in range(num_kills):
        if number % 3:
            stage, seconds = chance.randrange(PRICES, CLOSING + 1), chance.uniform(0, A_STAGE_SECONDS)
            died_in = killer.kill(seconds, stage=stage, runs_ahead=number % 3 - 1)
        else:
            died_in = killer.kill(chance.uniform(0, TWO_DAILY_RUNS_SECONDS))
        deaths[STAGES[died_in]] += 1
        run_numbers.add(killer.progress.run_number)
        killer.check()
    num_sessions = _finish(killer, num_more=0 if num_kills == MANY_KILLS else MORE_THAN_A_MONTH)
    assert deaths.total() == num_kills
    assert num_sessions > 35, "forecasts of before the split were filled after it, at the furthest horizon too"
    assert len(run_numbers) > min(30, num_kills // 5)
    if num_kills == MANY_KILLS:
        assert set(deaths) >= set(STAGES[PRICES : CLOSING + 1]), f"not every stage was hit: {deaths}"
    else:
        assert len(set(deaths) & set(STAGES[PRICES : CLOSING + 1])) >= 3, f"too few stages were hit: {deaths}"
    _check_the_whole_record(killer, num_sessions)


def _check_the_whole_record(killer: Killer, num_sessions: int) -> None:
    """Every daily run has all its rows, every due actual is there and is the one that the source means, all once."""
    installation, calendar = killer.installation, killer.calendar
    sessions = [installation.session(number) for number in range(num_sessions)]
    assert killer.recorded.keys() == {(ticker, session) for ticker in TICKERS for session in sessions}
    num_fills = 0
    for (ticker, run_date), row in killer.recorded.items():
        if ticker == NEVER_TRAINED:
            assert row["abstained_reason"] == "has no active model"
            continue
        assert row["abstained_reason"] is None
        units = installation.divisor(ticker, run_date)
        assert row["run_date_close"] == installation.worth(ticker, run_date) / units
        for horizon, target in zip(HORIZONS, calendar.targets(run_date).as_tuple(), strict=True):
            is_due = target <= sessions[-1]
            expected = pytest.approx(installation.worth(ticker, target) / units, rel=1e-9) if is_due else None
            assert row[f"{horizon}_actual"] == expected, f"{ticker} {run_date} {horizon}"
            num_fills += is_due
    with installation.database.connect() as conn:
        events = dict(conn.execute("select event, count(*) from ledger_event group by event").fetchall())
        doubled = "select ticker, session from bar where source = 'installation' group by 1, 2 having count(*) > 1"
        repeated = {ticker for ticker, _ in conn.execute(doubled.encode())}
        assert repeated <= {SPLIT.ticker}, "a bar that is delivered again is no new vintage"
        chain = read_seals(conn)
    assert events == {
        "forecast": len(killer.recorded),
        "fill": num_fills,
        "promotion": len(TICKERS) - 1,
        "verdict": len(TICKERS) - 1,
        "service": len(TICKERS),
        "configuration": 1,
    }
    published = killer.installation.file.read()
    assert published.problems == ()
    assert [seal.sha256 for seal in published.seals.values()] == [seal.sha256 for seal in chain]
    assert sum(seal.num_events for seal in chain) == sum(events.values()), "nothing is left without a seal"


@pytest.mark.parametrize("who", ["a backend", "the postmaster"])
def test_a_server_that_is_killed_takes_nothing_with_it(server: Server, killer: Killer, who: str) -> None:
    chance = random.Random(9)
    num_failed = 0
    for number in range(SERVER_KILLS // 2):
        run_number = killer.progress.run_number + 1
        pid = killer.start()
        killer.wait_for(run_number, (PRICES, SNAPSHOTS, FILLBACKS)[number % 3])
        time.sleep(chance.uniform(0, 0.01))
        victim = embedded.postmaster_pid(server.home / embedded.FOLDER) if who == "the postmaster" else _backend(killer)
        assert victim is not None
        os.kill(victim, signal.SIGKILL)
        if not _ends(pid, seconds=5):
            os.kill(pid, signal.SIGKILL)
        num_failed += killer.exit_code() != 0
        _bring_back(server, postmaster_is_dead=who == "the postmaster")
        killer.check()
    assert num_failed >= SERVER_KILLS // 2 - 1, "the server's death was felt"
    num_sessions = _finish(killer, num_more=ONE_MONTH_SESSIONS)
    _check_the_whole_record(killer, num_sessions)


def _backend(killer: Killer) -> int:
    """The backend of the process of the daily run; the checker's own connection is closed by then."""
    with psycopg.connect(killer.installation.database.url, autocommit=True) as conn:
        while True:
            row = conn.execute(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            ).fetchone()
            if row is not None:
                return row[0]


def _ends(pid: int, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def _bring_back(server: Server, *, postmaster_is_dead: bool) -> None:
    """A dead postmaster's number is in use until it is reaped; one that lives starts its backends anew by itself."""
    until = time.monotonic() + 30
    while postmaster_is_dead and embedded.is_running(server.home):
        assert time.monotonic() < until
        time.sleep(0.02)
    embedded.start(server.home)
    while True:
        try:
            psycopg.connect(server.url).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_daily_runs_killed_around_the_open_leave_nothing_late_marked_live(
    server: Server, parent: "subprocess.Popen[str]", folder: Path, tmp_path: Path, calendar: Calendar
) -> None:
    chance = random.Random(10)
    kinds: Counter[object] = Counter()
    num_killed = 0
    for number in range(KILLS_AT_THE_OPEN):
        ahead = timedelta(seconds=60 if number == 0 else chance.uniform(0, TWO_DAILY_RUNS_SECONDS))
        place = tmp_path / str(number)
        place.mkdir()
        with _killer(server, parent, folder, place, calendar) as killer:
            killer.last = 0
            run_date = killer.installation.session(0)
            with killer.installation.database.connect() as conn:
                by = LedgerRows(conn, calendar).open_the_session_after(run_date, ahead)
                conn.commit()
            opens_at = calendar.opens_at(calendar.offset(run_date, 1)) + by
            pid = killer.start()
            killer.wait_for(0, chance.randrange(PRICES, CLOSING + 1))
            time.sleep(chance.uniform(0, A_STAGE_SECONDS / 3))
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            num_killed += killer.exit_code() == -signal.SIGKILL
            if number:
                time.sleep(max(0.0, (opens_at - datetime.now(UTC)).total_seconds()))
            killer.wait_for_the_backend_of_the_dead()
            with killer.installation.database.connect() as conn:
                before = rows_of(conn)
            assert killer.run() == 0
            with killer.installation.database.connect() as conn:
                rows = rows_of(conn)
        assert {ticker for ticker, _ in rows} == set(TICKERS)
        for key, row in rows.items():
            assert row == before.get(key, row)
            assert isinstance(row["recorded_at"], datetime)
            assert (row["kind"] == "live") == (row["recorded_at"] < opens_at)
            assert row["kind"] == "late" or key in before or number == 0, "nobody could read it before the open"
        kinds.update(row["kind"] for row in rows.values())
    assert num_killed >= KILLS_AT_THE_OPEN // 2
    assert kinds.keys() == {"live", "late"}
