"""Bars from a folder of CSV and Parquet files, one file a ticker or many tickers in a file."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import polars as pl

from ldtm_lib.errors import ConfigurationError, LdtmError, MalformedFile, MissingBar, SourceError
from ldtm_lib.file_names import plain_name, ticker_file_name
from ldtm_lib.prices.bars import BAR_COLUMNS, KEY, empty_bars
from ldtm_lib.prices.sources.bar_files import name_of_file, read_bar_file
from ldtm_lib.prices.sources.declared_splits import SPLITS_FILE, DeclaredSplits, read_declared_splits
from ldtm_lib.prices.sources.price_basis import bars_on_basis
from ldtm_lib.prices.sources.protocol import Delivery, SourceCoverage
from ldtm_lib.prices.sources.source_file import SHOWN_NAME, shown, shown_name
from ldtm_lib.prices.sources.tables import header_columns, may_hold_bars, names_tickers
from ldtm_lib.prices.splits import Split
from ldtm_lib.sessions import FIRST_DAY
from ldtm_lib.settings import PriceBasis


@dataclass(slots=True, kw_only=True)
class _Collected:
    """A delivery in the making."""

    bars: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    places: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    splits: list[Split] = field(default_factory=list[Split])
    failures: dict[str, LdtmError] = field(default_factory=dict[str, LdtmError])
    notes: list[str] = field(default_factory=list[str])
    basis: dict[str, date] = field(default_factory=dict[str, date])
    splits_from: dict[str, date] = field(default_factory=dict[str, date])


@dataclass(slots=True, kw_only=True)
class _Read:
    """Content of the files, by plain name."""

    bars: dict[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    failures: dict[str, MalformedFile] = field(default_factory=dict[str, MalformedFile])
    unread: list[str] = field(default_factory=list[str])
    """Reasons why files that may hold any ticker could not be read."""
    ignored: list[str] = field(default_factory=list[str])
    """Files without a bar of any asked ticker, by their path in the folder."""
    other_kinds: dict[str, str] = field(default_factory=dict[str, str])
    """The file that is named after a ticker but is of a kind that is not read."""

    def fail(self, name: str, error: MalformedFile) -> None:
        """Keep the first failure of a name."""
        self.failures.setdefault(name, error)


class FilesSource:
    """A folder of daily bars, its subfolders included.

    A file belongs to the ticker it is named after (AAPL.csv, aapl.us.csv, BRK-B.parquet), or to those in its column
    `ticker` or `symbol`. Files that are `adjusted` hold split-adjusted prices as of their newest bar. `raw` ones
    are adjusted here, by the folder's splits.csv (ticker,session,ratio) or else by the jumps of their adjusted close.
    """

    def __init__(self, folder: Path, basis: PriceBasis, moment: datetime | None = None) -> None:
        """Raise ConfigurationError if the path is not a folder.

        `moment` (aware) is the time of reading if others may write to the folder; None for complete files.
        """
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder; create it or name another one")
        self.folder = folder
        self.basis: PriceBasis = basis
        self._moment = moment

    @property
    def name(self) -> str:
        """The name that the bars are recorded under."""
        return "files"

    @property
    def tickers_per_fetch(self) -> None:
        """None: a file may hold many tickers, and is read once."""
        return None

    def fetch(self, tickers: Sequence[str], first: date, last: date) -> Delivery:
        """The files' bars from one session to another; a ticker whose file cannot be read is a failure."""
        asked = {ticker: plain_name(ticker) for ticker in tickers}
        declared, problem = self._declared_splits()
        read = self._read(set(asked.values()))
        collected = _Collected()
        for ticker, name in asked.items():
            own_failure = problem or declared.failures.get(name) or read.failures.get(name)
            if own_failure is not None:
                collected.failures[ticker] = own_failure
            elif name not in read.bars:
                collected.failures[ticker] = self._absent(ticker, read)
            else:
                self._collect(collected, ticker, read.bars[name], declared.splits.get(name, ()), first, last)
        if first <= FIRST_DAY:
            collected.notes.extend(_note_on_early_bars({t: read.bars[n] for t, n in asked.items() if n in read.bars}))
        return Delivery(
            bars=pl.concat([empty_bars(), *collected.bars]).sort(KEY),
            places=pl.concat(collected.places) if collected.places else None,
            splits=tuple(collected.splits),
            failures=collected.failures,
            notes=tuple(collected.notes),
            basis=collected.basis,
            splits_from=collected.splits_from,
            ignored=(*read.ignored, *read.unread),
        )

    def coverage(self, tickers: Sequence[str]) -> SourceCoverage:
        """Tickers with a readable file of their name, and number of files that may hold others; reads headers alone."""
        bar_files = (path for path in self._paths() if may_hold_bars(path) and path.name.lower() != SPLITS_FILE)
        paths = {path: name_of_file(path) for path in bar_files}
        asked = {plain_name(ticker) for ticker in tickers}
        own, unreadable = set[str](), list[str]()
        for path, name in paths.items():
            if name in asked:
                try:
                    header_columns(path, self.folder)
                    own.add(name)
                except MalformedFile as error:
                    unreadable.append(str(error))
        lacking = tuple(ticker for ticker in tickers if plain_name(ticker) not in own)
        if not lacking:
            return SourceCoverage(unreadable=tuple(unreadable))
        others = [path for path, name in paths.items() if name not in asked]
        num_shared = sum(names_tickers(path, self.folder) for path in others)
        return SourceCoverage(lacking=lacking, num_shared_files=num_shared, unreadable=tuple(unreadable))

    def _declared_splits(self) -> tuple[DeclaredSplits, MalformedFile | None]:
        try:
            return read_declared_splits(self.folder, self._moment), None
        except MalformedFile as error:
            return DeclaredSplits(splits={}, failures={}), error

    def _read(self, asked: Set[str]) -> _Read:
        """Read every file that is named after an asked ticker, or that names tickers in a column."""
        parts: dict[str, list[pl.DataFrame]] = {}
        path_of: dict[tuple[int, int], Path] = {}
        read = _Read()
        for path in self._paths():
            own_name, shown_path = name_of_file(path), shown(str(path.relative_to(self.folder)), SHOWN_NAME)
            if path.name.lower() == SPLITS_FILE:
                read.ignored.append(f"{shown_path} (splits are read from {SPLITS_FILE} in the folder itself)")
                continue
            if not may_hold_bars(path):
                read.other_kinds[own_name] = shown_path
                read.ignored.append(f"{shown_path} (not a CSV or Parquet file)")
                continue
            if own_name not in asked and not names_tickers(path, self.folder):
                read.ignored.append(shown_path)
                continue
            try:
                content = read_bar_file(path, self.folder, self._moment)
            except MalformedFile as error:
                read.fail(own_name, error)
                read.unread += [] if own_name in asked else [str(error)]
                continue
            for name, error in content.failures.items():
                read.fail(name, error)
            if not asked & (content.bars.keys() | content.failures.keys()):
                read.ignored.append(shown_path)
            if own_name in content.bars and (other := self._same_file(path, path_of)):
                problem = MalformedFile(
                    f"{shown_name(path)} is a link to {shown_name(other)}, and the bars of one file cannot be of "
                    f"{own_name} and of {name_of_file(other)}; remove the link"
                )
                read.fail(own_name, problem)
                read.fail(name_of_file(other), problem)
                continue
            for name in content.bars.keys() & asked:
                parts.setdefault(name, []).append(content.bars[name])
        for name, frames in parts.items():
            try:
                read.bars[name] = _joined(name, frames)
            except MalformedFile as error:
                read.fail(name, error)
        return read

    def _same_file(self, path: Path, path_of: dict[tuple[int, int], Path]) -> Path | None:
        """The path of another name that leads to the same file, unless the file names its tickers inside."""
        try:
            status = path.stat()
        except OSError:  # it was removed since
            return None
        other = path_of.setdefault((status.st_dev, status.st_ino), path)
        is_shared = name_of_file(other) != name_of_file(path) and not names_tickers(path, self.folder)
        return other if is_shared else None

    def _paths(self) -> list[Path]:
        """The files of the folder, hidden ones and its splits.csv left out."""
        inside = (path.relative_to(self.folder) for path in sorted(self.folder.rglob("*")))
        return [
            self.folder / path
            for path in inside
            if str(path) != SPLITS_FILE
            and (self.folder / path).is_file()
            and not any(part.startswith(".") for part in path.parts)
        ]

    def _absent(self, ticker: str, read: _Read) -> SourceError:
        if other := read.other_kinds.get(plain_name(ticker)):
            return MalformedFile(
                f"{other} is not a CSV or Parquet file; save it as {ticker_file_name(ticker)}.csv in UTF-8"
            )
        name = ticker_file_name(ticker)
        message = f"no file in {self.folder} holds {ticker}; add {name}.csv, or a file with a column `ticker`"
        return SourceError(f"{message} (not read: {'; '.join(read.unread)})" if read.unread else message)

    def _collect(
        self, collected: _Collected, ticker: str, read: pl.DataFrame, declared: Iterable[Split], first: date, last: date
    ) -> None:
        """Add one ticker's bars: raw ones on the basis of the last requested session, adjusted ones unchanged."""
        basis = last if self.basis == "raw" else read["session"][-1]
        try:
            own = bars_on_basis(read.with_columns(ticker=pl.lit(ticker)), self.basis, declared, basis, first, last)
        except MissingBar as error:
            collected.failures[ticker] = MissingBar(f"{error}; update the file")
            return
        except MalformedFile as error:
            collected.failures[ticker] = error
            return
        collected.bars.append(own.bars)
        collected.places.append(own.places)
        collected.splits.extend(own.splits)
        collected.basis[ticker] = own.basis
        if own.splits_from is not None:
            collected.splits_from[ticker] = own.splits_from
        collected.notes.extend(own.notes)


def _joined(name: str, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The bars of one ticker from all of its files, sorted; equal bars of two files are one bar."""
    bars = pl.concat(frames, how="diagonal").unique(BAR_COLUMNS, keep="first", maintain_order=True).sort("session")
    doubles = bars.filter(pl.col("session").is_duplicated())
    if not doubles.is_empty():
        one, other = doubles["place"][0], doubles["place"][1]
        raise MalformedFile(
            f"{one} and {other} have different bars of {name} on {doubles['session'][0]}; remove one of the files"
        )
    return bars


def _note_on_early_bars(read: Mapping[str, pl.DataFrame]) -> list[str]:
    """A note that counts bars before the calendar begins, by ticker."""
    counts = {ticker: int((bars["session"] < FIRST_DAY).sum()) for ticker, bars in read.items()}
    early = [f"{num_bars:,} of {ticker}" for ticker, num_bars in counts.items() if num_bars]
    return [f"bars before {FIRST_DAY}, where the calendar begins, are left out: {', '.join(early)}"] if early else []
