"""Every number that the project can be run with, read once from one TOML file into frozen dataclasses.

The defaults are those of the field or of the project's specification. The file that an owner edits
(`universe.toml`) names only what differs; a key that is not known here is an error.
"""

import dataclasses
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast, get_args

from ldtm_lib.errors import ConfigurationError, UnknownTicker

SourceKind = Literal["sample", "files"]
PriceBasis = Literal["adjusted", "raw"]
WithoutActive = Literal["abstain", "candidate"]

_TYPE_WORDS = {int: "a whole number", float: "a number", str: "a text", date: "a date such as 2026-03-02"}
_INDICATOR_BARS = 19
"""What the longest indicator, MA-20, reads before a bar; with less warm-up no window would ever be complete."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How much of the past one input window holds, in bars of the ticker."""

    window_sessions: int = 30
    warmup_bars: int = 250
    """Bars before the window that its indicators may read. Wilder's RSI never quite forgets: after 250 bars
    (13/14)^250 = 9e-9 of a move is left, less than float32 can tell apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchitectureConfig:
    """The shape of one network. Changing any of it raises the major version of the next promotion."""

    num_inputs: int = 11
    hidden: int = 128
    num_layers: int = 2
    head_hidden: int = 64
    num_horizons: int = 3

    def fingerprint(self) -> str:
        """SHA-256 of the parameters, as hexadecimal digits."""
        return fingerprint(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How one network is fitted."""

    batch_size: int = 64
    max_epochs: int = 100
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    patience: int = 10
    validation_fraction: float = 0.1
    min_training_rows: int = 252
    """A year of rows; a ticker with fewer is not trained."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestConfig:
    """Walk-forward folds with expanding windows, the newest fold ending at the newest labelled session."""

    num_folds: int = 4
    test_sessions: int = 126
    embargo_sessions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GateConfig:
    """The four rules that stand between a candidate and active status."""

    min_direction_accuracy: float = 0.52
    max_price_error: float = 0.05
    max_leakage_rows: int = 0
    min_folds: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastConfig:
    """What an evening's forecast says, and what it does for a ticker without an active model."""

    neutral_band: float = 0.001
    without_active: WithoutActive = "abstain"
    """`abstain` records why there is no forecast. `candidate` lets the newest candidate speak, labelled as
    such and only in simulated rows: the demo's policy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionConfig:
    """The sessions that the Dagster UI offers by date. The tables hold all of history in any case."""

    first_session: date = date(2025, 1, 2)
    last_session: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Where bars come from."""

    kind: SourceKind = "sample"
    folder: str = "data/bars"
    """Folder of the `files` source, relative to the configuration file."""
    basis: PriceBasis | None = None
    """Whether the files of the `files` source are split-adjusted. Raw files need their splits declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """Where in the PostgreSQL database the tables live. The server itself is named by LDTM_DATABASE_URL."""

    schema: str = "ldtm"
    dagster_schema: str = "ldtm_dagster"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuConfig:
    """How much of a shared GPU LDTM may take."""

    mib_per_job: int = 600
    reserve_mib: int = 2048
    max_jobs: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One configuration file, validated."""

    path: Path
    tickers: tuple[str, ...]
    """Every ticker that has ever been in the universe, retired ones included, in the file's order."""
    retired: Mapping[str, date] = field(default_factory=dict[str, date])
    window: WindowConfig = WindowConfig()
    architecture: ArchitectureConfig = ArchitectureConfig()
    training: TrainingConfig = TrainingConfig()
    backtest: BacktestConfig = BacktestConfig()
    gate: GateConfig = GateConfig()
    forecast: ForecastConfig = ForecastConfig()
    partitions: PartitionConfig = PartitionConfig()
    source: SourceConfig = SourceConfig()
    database: DatabaseConfig = DatabaseConfig()
    gpu: GpuConfig = GpuConfig()

    def tickers_on(self, session: date) -> tuple[str, ...]:
        """The tickers that belong to the universe on a session: all but those retired by then."""
        return tuple(t for t in self.tickers if t not in self.retired or session < self.retired[t])

    def require_ticker(self, ticker: str) -> str:
        """The ticker itself; raises UnknownTicker when the file does not name it."""
        if ticker not in self.tickers:
            raise UnknownTicker(f"{ticker} is not in the universe of {self.path}; add it to `tickers` there")
        return ticker


def fingerprint(*configs: Any) -> str:
    """SHA-256 of dataclasses by their field names and values, as hexadecimal digits."""
    named = [{type(config).__name__: dataclasses.asdict(config)} for config in configs]
    return hashlib.sha256(json.dumps(named, sort_keys=True, default=str).encode()).hexdigest()


def load_settings(path: Path) -> Settings:
    """Read and validate a configuration file.

    Raises ConfigurationError when the file is missing, is not TOML, or has a key or value that is not known.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no configuration at {path}; name one with --config or LDTM_CONFIG"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    sections = {f.name: f.type for f in dataclasses.fields(Settings) if dataclasses.is_dataclass(f.type)}
    known = {"tickers", "retired", *sections}
    if unknown := sorted(set(raw) - known):
        raise ConfigurationError(f"{path}: unknown setting `{unknown[0]}`; known are {', '.join(sorted(known))}")
    values: dict[str, Any] = {
        name: _section(path, name, cast(type, section), raw[name]) for name, section in sections.items() if name in raw
    }
    tickers = _tickers(path, raw.get("tickers"))
    retired = _retired(path, raw.get("retired", {}), tickers)
    settings = Settings(path=path.resolve(), tickers=tickers, retired=retired, **values)
    _check_ranges(path, settings)
    return settings


def _tickers(path: Path, raw: Any) -> tuple[str, ...]:
    if not isinstance(raw, list) or not raw:
        raise ConfigurationError(f'{path}: `tickers` must be a list of names such as ["AAPL", "MSFT"]')
    names = cast(list[Any], raw)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ConfigurationError(f"{path}: {name!r} cannot be a ticker; use letters, digits, '.', '-' and '_'")
    if twice := sorted({str(n) for n in names if names.count(n) > 1}):
        raise ConfigurationError(f"{path}: {twice[0]} stands twice in `tickers`; remove one")
    return tuple(names)


def _retired(path: Path, raw: Any, tickers: tuple[str, ...]) -> dict[str, date]:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: [retired] must be a table such as XYZ = 2026-03-02")
    retired = cast(dict[str, Any], raw)
    for ticker, since in retired.items():
        if ticker not in tickers:
            raise ConfigurationError(f"{path}: retired ticker {ticker} must stay in `tickers`, its history is kept")
        if type(since) is not date:
            raise ConfigurationError(f"{path}: retired.{ticker} must be a date such as 2026-03-02, not {since!r}")
    return retired


def _section(path: Path, name: str, section: type, raw: Any) -> Any:
    if not isinstance(raw, dict):
        raise ConfigurationError(f"{path}: `{name}` must be a table, [{name}]")
    values = cast(dict[str, Any], raw)
    fields = {f.name: f for f in dataclasses.fields(section)}
    for key in values:
        if key not in fields:
            raise ConfigurationError(f"{path}: unknown setting `{name}.{key}`; known are {', '.join(sorted(fields))}")
    checked = {k: _checked(path, f"{name}.{k}", fields[k].type, value) for k, value in values.items()}
    return section(**checked)


def _checked(path: Path, key: str, expected: Any, value: Any) -> Any:
    """The value, a whole number for a float as that float, so that 1 and 1.0 have one fingerprint."""
    choices = [c for c in get_args(expected) if isinstance(c, str)]
    for arm in get_args(expected):
        choices += [c for c in get_args(arm) if isinstance(c, str)]
    if choices:
        if value not in choices:
            raise ConfigurationError(f"{path}: {key} is {value!r}; it must be one of {', '.join(choices)}")
        return value
    allowed: tuple[type, ...] = tuple(a for a in (get_args(expected) or (expected,)) if isinstance(a, type))
    if float in allowed and type(value) is int:
        value = float(value)
    if type(value) not in allowed:
        wanted = " or ".join(_TYPE_WORDS[a] for a in allowed if a in _TYPE_WORDS)
        raise ConfigurationError(f"{path}: {key} is {value!r}; it must be {wanted}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigurationError(f"{path}: {key} is {value}; it must be a finite number")
    return value


def _check_ranges(path: Path, settings: Settings) -> None:
    """Refuse values that no run could mean."""
    minima = {
        "window.window_sessions": (settings.window.window_sessions, 2),
        "window.warmup_bars": (settings.window.warmup_bars, _INDICATOR_BARS),
        "architecture.hidden": (settings.architecture.hidden, 1),
        "architecture.num_layers": (settings.architecture.num_layers, 1),
        "architecture.head_hidden": (settings.architecture.head_hidden, 1),
        "training.batch_size": (settings.training.batch_size, 1),
        "training.max_epochs": (settings.training.max_epochs, 1),
        "training.weight_decay": (settings.training.weight_decay, 0),
        "training.patience": (settings.training.patience, 1),
        "training.min_training_rows": (settings.training.min_training_rows, 1),
        "training.seed": (settings.training.seed, 0),
        "backtest.num_folds": (settings.backtest.num_folds, 1),
        "backtest.test_sessions": (settings.backtest.test_sessions, 1),
        "backtest.embargo_sessions": (settings.backtest.embargo_sessions, 0),
        "gate.max_price_error": (settings.gate.max_price_error, 0),
        "gate.max_leakage_rows": (settings.gate.max_leakage_rows, 0),
        "gate.min_folds": (settings.gate.min_folds, 1),
        "forecast.neutral_band": (settings.forecast.neutral_band, 0),
        "gpu.mib_per_job": (settings.gpu.mib_per_job, 1),
        "gpu.reserve_mib": (settings.gpu.reserve_mib, 0),
        "gpu.max_jobs": (settings.gpu.max_jobs, 1),
    }
    for key, (value, least) in minima.items():
        if value < least:
            raise ConfigurationError(f"{path}: {key} is {value}; it must be at least {least}")
    if settings.training.learning_rate <= 0:
        rate = settings.training.learning_rate
        raise ConfigurationError(f"{path}: training.learning_rate is {rate}; it must be above 0")
    for key, value, only in (
        ("architecture.num_inputs", settings.architecture.num_inputs, ArchitectureConfig().num_inputs),
        ("architecture.num_horizons", settings.architecture.num_horizons, ArchitectureConfig().num_horizons),
    ):
        if value != only:
            raise ConfigurationError(f"{path}: {key} is {value}; there are {only}, remove the setting")
    first, last = settings.partitions.first_session, settings.partitions.last_session
    if last is not None and last < first:
        raise ConfigurationError(f"{path}: partitions.last_session is {last}, before the first_session, {first}")
    fractions = {
        "training.validation_fraction": settings.training.validation_fraction,
        "gate.min_direction_accuracy": settings.gate.min_direction_accuracy,
    }
    for key, value in fractions.items():
        if not 0 < value < 1:
            raise ConfigurationError(f"{path}: {key} is {value}; it must lie between 0 and 1")
    for key, name in (
        ("database.schema", settings.database.schema),
        ("database.dagster_schema", settings.database.dagster_schema),
    ):
        if not name.isidentifier() or name != name.lower():
            raise ConfigurationError(f"{path}: {key} is {name!r}; use lower-case letters, digits and '_'")
