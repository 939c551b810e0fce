"""The newest placebo calibration, kept in a file of the installation and shown with verdicts of the gate."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from ldtm_lib.atomic_io import write_whole
from ldtm_lib.wording import counted

FILE = "placebo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTally:
    """Gate results of some placebo models."""

    num_models: int
    num_passed: int
    """Number of models that passed the plain gate."""
    num_passed_strict: int
    coins_expected: float
    """Expected number of fair coins that meet the bound on direction accuracy, one with as many calls per model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCalibration:
    """The figures of the newest calibration, over all tickers and by ticker."""

    calibrated_at: datetime
    total: KeptTally
    by_ticker: Mapping[str, KeptTally]


def keep(home: Path, found: KeptCalibration) -> None:
    """Write a calibration to the state folder, replacing the previous one. Raises OSError."""
    home.mkdir(parents=True, exist_ok=True)
    content = asdict(found) | {"calibrated_at": found.calibrated_at.isoformat()}
    write_whole(home / FILE, json.dumps(content, indent=1).encode())


def kept_calibration(home: Path) -> KeptCalibration | None:
    """The newest calibration; None before the first one, and where the file cannot be read."""
    try:
        found = json.loads((home / FILE).read_bytes())
        return KeptCalibration(
            calibrated_at=datetime.fromisoformat(found["calibrated_at"]),
            total=_tally(found["total"]),
            by_ticker={ticker: _tally(tally) for ticker, tally in found["by_ticker"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _tally(found: Mapping[str, float]) -> KeptTally:
    return KeptTally(
        num_models=int(found["num_models"]),
        num_passed=int(found["num_passed"]),
        num_passed_strict=int(found["num_passed_strict"]),
        coins_expected=float(found["coins_expected"]),
    )


def placebo_words(found: KeptCalibration | None, ticker: str) -> str:
    """Sentences about the number of placebo models that passed the gates, of all tickers and of one."""
    if found is None:
        return (
            "How often models pass the gate although they cannot know anything has not been measured here: "
            "run `ldtm placebo`, which trains some on shuffled labels and judges them."
        )
    sentences = [f"Placebo calibration of {found.calibrated_at:%Y-%m-%d}: {_gate_results(found.total)}"]
    if (own := found.by_ticker.get(ticker)) is not None:
        sentences.append(f"for {ticker} alone, {_gate_results(own)}")
    else:
        sentences.append(f"{ticker} was not included")
    return (
        "; ".join(sentences)
        + f". Of as many coins, about {found.total.coins_expected:.1f} would have met the bound on direction accuracy."
    )


def _gate_results(tally: KeptTally) -> str:
    return (
        f"of {counted(tally.num_models, 'model')} that cannot know anything, {tally.num_passed} passed the plain gate "
        f"and {tally.num_passed_strict} the strict gate"
    )
