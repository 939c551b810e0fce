"""Outcomes of tickers gathered by session: the metadata of a partition that holds all tickers of a session."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace

import dagster as dg

from ldtm_assets.materialization import Metadata, Outcome, listed, shown_number, table
from ldtm_assets.partitions import DailyPartition
from ldtm_lib.wording import counted

MOST_ROWS = 200
"""Tickers in the table of one session; the dashboard shows all. A page of Dagster loads the tables of many sessions."""
LEFT_UNIVERSE = "left the universe"
"""Metadata of a ticker that had been retired by the session."""


def gathered_by_session(outcome: Outcome) -> Outcome:
    """An outcome whose done partitions are sessions: those with at least one ticker that is done.

    The failed ones stay tickers, each with its reason.
    """
    done: dict[str, dict[str, Metadata]] = defaultdict(dict)
    num_retired: Counter[str] = Counter()
    for key, metadata in outcome.done.items():
        partition = DailyPartition.parse(key)
        session = partition.session.isoformat()
        if LEFT_UNIVERSE in metadata:
            num_retired[session] += 1
        else:
            done[session][partition.ticker] = metadata
    failed: dict[str, list[str]] = defaultdict(list)
    for key, reason in outcome.failed.items():
        partition = DailyPartition.parse(key)
        failed[partition.session.isoformat()].append(f"{partition.ticker}: {reason}")
    sessions = sorted({*done, *(set(num_retired) - set(failed))})
    return replace(
        outcome, done={day: _metadata(done.get(day, {}), failed.get(day, []), num_retired[day]) for day in sessions}
    )


def _metadata(done: Mapping[str, Metadata], failed: list[str], num_retired: int) -> Metadata:
    """Counts, which Dagster plots by session, and a table of the tickers of a run, those with rare entries first.

    Entries that are the same for all tickers are shown outside of the table.
    """
    shown: Metadata = {
        "tickers": dg.MetadataValue.int(len(done)),
        "failed": dg.MetadataValue.int(len(failed)),
        LEFT_UNIVERSE: str(num_retired),
        "reasons": listed(failed),
    }
    if not done:
        return shown
    uses = Counter(name for metadata in done.values() for name in metadata)
    cells = {ticker: [_cell(metadata.get(name)) for name in uses] for ticker, metadata in done.items()}
    shared = {name: values[0] for name, *values in zip(uses, *cells.values(), strict=True) if len(set(values)) == 1}
    columns = [at for at, name in enumerate(uses) if len(done) == 1 or name not in shared]
    rarest_first = sorted(done, key=lambda ticker: (min((uses[name] for name in done[ticker]), default=0), ticker))
    rows = [(ticker, *(cells[ticker][at] for at in columns)) for ticker in rarest_first[:MOST_ROWS]]
    more = len(done) - len(rows)
    return {
        **shown,
        **(shared if len(done) > 1 else {}),
        "by ticker": table(("ticker", *(list(uses)[at] for at in columns)), rows),
        **({"not in this table": f"{counted(more, 'ticker')}; `ldtm dashboard` shows all"} if more else {}),
    }


def _cell(value: dg.MetadataValue | str | int | float | bool | None) -> str:
    if isinstance(value, dg.MetadataValue):
        return str(value.value)
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value).lower()
    return value if isinstance(value, str) else shown_number(value)
