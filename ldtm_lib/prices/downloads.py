"""Download of bars of any source to CSV files, one per ticker, which the source `files` reads back unchanged."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.errors import SourceError
from ldtm_lib.file_names import ticker_file_name
from ldtm_lib.prices.sources.protocol import PriceSource, listing_notes

LIST_FILE = ".downloads.json"
"""The list of downloaded files in a folder; hidden, so that it is not read as a file of bars."""
TICKERS_PER_FETCH = 10
"""The most tickers that an interrupted download loses, unless the source reads the same files for each fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadedFile:
    """One file of a download."""

    origin: str
    """The source with its address or folder, as the caller names it."""
    first: str
    """The first requested session, YYYY-MM-DD; the bars may begin later."""
    last: str
    sha256: str

    def covers(self, origin: str, first: date, last: date) -> bool:
        """Return whether it covers a request for these sessions from the same source."""
        return self.origin == origin and self.first <= first.isoformat() and last.isoformat() <= self.last


@dataclass(slots=True, kw_only=True)
class DownloadReport:
    """Result of a download."""

    num_bars: dict[str, int] = field(default_factory=dict[str, int])
    """Bars in each file that was written, by ticker."""
    complete: list[str] = field(default_factory=list[str])
    """Tickers whose file was complete already."""
    failures: dict[str, str] = field(default_factory=dict[str, str])
    """Reasons why there is no new file, by ticker; an older file is kept."""
    notes: list[str] = field(default_factory=list[str])


def download(
    source: PriceSource,
    tickers: Sequence[str],
    folder: Path,
    *,
    origin: str,
    first: date,
    last: date,
    again: bool = False,
    on_progress: Callable[[DownloadReport], None] = lambda report: None,
) -> DownloadReport:
    """Write one file per ticker to a folder; complete files are fetched again only if `again` is true.

    Each file is written atomically. A failing ticker does not stop the others. Raises SourceError if a file cannot be
    written to the folder.
    """
    listed = _read_list(folder)
    report = DownloadReport()
    for ticker in dict.fromkeys(tickers):
        path = _path(folder, ticker)
        known = listed.get(path.name)
        if not again and known is not None and known.covers(origin, first, last) and known.sha256 == _sha256(path):
            report.complete.append(ticker)
    lacking = [ticker for ticker in dict.fromkeys(tickers) if ticker not in report.complete]
    size = len(lacking) if source.tickers_per_fetch is None else TICKERS_PER_FETCH
    listings: dict[str, tuple[str, ...]] = {}
    while lacking:
        group, lacking = lacking[:size], lacking[size:]
        try:
            delivery = source.fetch(group, first, last)
        except SourceError as error:
            report.failures |= dict.fromkeys(group, str(error))
            continue
        report.failures |= {ticker: str(error) for ticker, error in delivery.failures.items()}
        report.notes += [note for note in delivery.notes if note not in report.notes]
        for sentence, items in delivery.listings.items():
            listings[sentence] = (*listings.get(sentence, ()), *items)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for (ticker,), bars in delivery.bars.partition_by("ticker", as_dict=True).items():
                content = bars.drop("ticker").write_csv().encode()
                path = _path(folder, str(ticker))
                write_whole(path, content)
                listed[path.name] = DownloadedFile(
                    origin=origin, first=first.isoformat(), last=last.isoformat(), sha256=_hash(content)
                )
                report.num_bars[str(ticker)] = len(bars)
            _write_list(folder, listed)
        except OSError as error:
            raise SourceError(f"bars cannot be written to {folder} ({error.strerror}); choose another folder") from None
        on_progress(report)
    report.notes += listing_notes(listings)
    return report


def _path(folder: Path, ticker: str) -> Path:
    return folder / f"{ticker_file_name(ticker)}.csv"


def _read_list(folder: Path) -> dict[str, DownloadedFile]:
    """The entries of the folder's list; empty if it cannot be read, so that all files are fetched again."""
    try:
        content: dict[str, dict[str, Any]] = json.loads((folder / LIST_FILE).read_bytes())
        return {name: DownloadedFile(**about) for name, about in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write_list(folder: Path, listed: dict[str, DownloadedFile]) -> None:
    content = {name: asdict(about) for name, about in sorted(listed.items())}
    write_whole(folder / LIST_FILE, json.dumps(content, indent=1).encode())


def _sha256(path: Path) -> str | None:
    try:
        return _hash(path.read_bytes())
    except OSError:
        return None


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
