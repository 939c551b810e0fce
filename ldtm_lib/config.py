"""Every number that the project can be run with, as frozen dataclasses with their defaults."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

from ldtm_lib.errors import UnknownTicker

SourceKind = Literal["sample", "files", "ib"]
PriceBasis = Literal["adjusted", "raw"]
WithoutActive = Literal["abstain", "candidate"]
Shadows = Literal["none", "candidate", "retired", "both"]
DegradationPolicy = Literal["keep", "retire"]


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
    """The four rules that stand between a candidate and active status, and the stricter ones that may join them."""

    min_direction_accuracy: float = 0.52
    max_price_error: float = 0.05
    max_leakage_rows: int = 0
    min_folds: int = 2
    strict: bool = False
    """Whether the evidence beside the four rules must hold as well. It is worked out and shown in any case."""
    significance: float = 0.05
    """Of the tests of the strict gate, each by itself."""
    max_false_discovery_rate: float = 0.10
    """Of those that the strict gate lets through on one evening, the share that may be luck."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakageConfig:
    """How closely stored bars are searched for windows that saw what they must not."""

    sampled_windows: int = 3
    """Per ticker and backtest."""
    sampled_tickers: int = 5
    """Of an evening, whose windows are made again; another choice every evening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryConfig:
    """What becomes of models that are active no more, or do not deserve it any more."""

    kept_retired_files: int = 5
    """Files of the newest retired versions of a ticker that stay, besides those that a forecast refers to."""
    kept_candidate_files: int = 2
    """The same of candidates."""
    degraded: DegradationPolicy = "keep"
    """What happens to an active model whose live record fell significantly below the gate: `keep` warns every
    evening, `retire` takes it out and its ticker abstains until another one passes."""
    degradation_significance: float = 0.05
    """The chance that a model which meets the gate is ever found degraded, however long it is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastConfig:
    """What an evening's forecast says, and what it does for a ticker without an active model."""

    neutral_band: float = 0.001
    without_active: WithoutActive = "abstain"
    """`abstain` records why there is no forecast. `candidate` lets the newest candidate speak, labelled as
    such and only in simulated rows: the demo's policy."""
    shadows: Shadows = "none"
    """Whose forecasts are kept beside the record, where they never count: of the newest candidate, of the model that
    retired last, or of both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerConfig:
    """How the record of forecasts is kept."""

    void_after_sessions: int = 10
    """Sessions that an actual without a bar is waited for, from when that was noticed, before it is voided. Only
    sessions count of which the store has bars of anybody: an outage of the source voids nothing."""


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
class IbConfig:
    """How Interactive Brokers is asked. Host, port, client id and account come from the environment (LDTM_IB_*)."""

    requests_in_flight: int = 12
    """Historical requests of one run that are open at once. IB cuts off a TWS with more than 50, whoever asks it, and
    `dagster.yaml` lets four runs be on."""
    request_timeout_seconds: float = 60.0
    """How long TWS may answer nothing at all, while something is asked of it, before the connection counts as lost."""
    connect_timeout_seconds: float = 15.0
    num_attempts: int = 3
    """How often one request is tried, within one fetch, when what came may be another thing the next time."""
    fetch_timeout_seconds: float = 900.0
    """How long one fetch may take as a whole, waiting for a lost connection included; what is open then has failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractConfig:
    """What tells the contract of one ticker apart at Interactive Brokers, where its name alone is ambiguous."""

    symbol: str | None = None
    """IB's own spelling, such as `BRK B`; the ticker itself when absent."""
    exchange: str = "SMART"
    primary_exchange: str | None = None
    currency: str = "USD"
    con_id: int | None = None
    """IB's number of the contract; decides alone where it is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutomationConfig:
    """What happens by itself, and how patiently."""

    on: bool = False
    """Whether schedules and sensors run without being started in the pages, where each can be stopped in any case."""
    first_retry_minutes: float = 2.0
    """Wait before a ticker that failed is tried again; doubles with every attempt."""
    longest_retry_minutes: float = 30.0
    """The longest such wait until a ticker is reported, and again from `deadline_warning_minutes` before the next open
    on; in between it goes on doubling. After the open a bar that is still missing is asked for once a day."""
    report_after_attempts: int = 4
    """Attempts after which a ticker that still fails is reported: about a quarter of an hour."""
    deadline_warning_minutes: float = 120.0
    """How long before the next open an alert names the tickers that will miss it."""
    catch_up_sessions: int = 30
    """How far back gaps are looked for. An outage that lasted longer is made up for from its beginning on."""
    sessions_per_run: int = 5
    """Missed sessions that one run makes up for, oldest first. One such run at a time."""
    retrained_within_days: int = 8
    """Days after which a ticker that has new bars and was not trained and judged again is reported: a week and one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertsConfig:
    """How people are told. The addresses are secrets: LDTM_ALERT_URLS holds them."""

    hold_minutes: float = 10.0
    """How long an alert waits, at most, for the run that it is about to end, so that one message says all."""
    give_up_after_hours: float = 72.0
    """How long a message that cannot be delivered is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionConfig:
    """How long what is no record is kept. Forecasts, actuals, bars, verdicts and seals are, for good."""

    run_log_days: int = 30
    """What runs said: their logs, and events of theirs that no page shows by partition."""
    run_days: int = 400
    """Runs, with the materializations and checks that the pages show by date; the newest of each partition stay."""
    quarantine_days: int = 90
    """Refused bars, from when a valid one came; ten times as long where none ever did and it was not seen again."""
    operations_days: int = 400
    """Attempts of evenings, and alerts that have been delivered."""
    log_mib: int = 50
    """The size that a log file is held to: above it the oldest lines go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PagesConfig:
    """Where Dagster's pages are served. They have no login: whoever reaches them may do anything."""

    host: str = "127.0.0.1"
    allow_other_addresses: bool = False
    """Must be true for a host that is not a loopback address."""
    url: str = "http://127.0.0.1:3000"
    """What links in alerts begin with: the pages as their readers reach them, such as a reverse proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """Where in the PostgreSQL database the tables live. The server itself is named by LDTM_DATABASE_URL."""

    schema: str = "ldtm"
    dagster_schema: str = "ldtm_dagster"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuConfig:
    """How much of the GPUs that it shares LDTM may take, and how gently."""

    mib_per_job: int = 600
    """What the allocator of one training job may hold. Its CUDA context, about 500 MiB more, goes to the reserve."""
    reserve_mib: int = 2048
    """What stays free on every GPU: for its other tenants, and for the CUDA contexts of the jobs."""
    max_jobs: int = 4
    """Jobs at once on all GPUs of a machine, whatever room there is; at most 64."""
    pause_ms: float = 0.0
    """Pause between two training steps, which leaves the GPU to its other tenants meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishConfig:
    """Where the seals of the record are published outside of the database. Paths are relative to the file."""

    file: str | None = None
    """The file that every seal is appended to; None is `seals.jsonl` in the project's folder under `.ldtm`."""
    git: str | None = None
    """Folder of a git repository that every seal is committed to."""
    push: bool = False
    """Whether the repository is pushed after each commit."""
    timestamp_url: str | None = None
    """An authority that stamps seals by RFC 3161."""
    timestamp_certificates: str | None = None
    """PEM file with the root certificate of that authority, and its intermediates."""
    timestamp_timeout_seconds: float = 10.0


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
    leakage: LeakageConfig = LeakageConfig()
    registry: RegistryConfig = RegistryConfig()
    forecast: ForecastConfig = ForecastConfig()
    ledger: LedgerConfig = LedgerConfig()
    partitions: PartitionConfig = PartitionConfig()
    source: SourceConfig = SourceConfig()
    ib: IbConfig = IbConfig()
    contracts: Mapping[str, ContractConfig] = field(default_factory=dict[str, ContractConfig])
    """By ticker, what differs from a US stock of its name that is routed by SMART."""
    automation: AutomationConfig = AutomationConfig()
    alerts: AlertsConfig = AlertsConfig()
    retention: RetentionConfig = RetentionConfig()
    pages: PagesConfig = PagesConfig()
    database: DatabaseConfig = DatabaseConfig()
    gpu: GpuConfig = GpuConfig()
    publish: PublishConfig = PublishConfig()

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
