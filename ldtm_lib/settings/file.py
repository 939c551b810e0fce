"""The configuration file: its sections, the rules between them, and reading it."""

import tomllib
from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.json_schema import SkipJsonSchema

from ldtm_lib.errors import ConfigurationError, UnknownTicker
from ldtm_lib.settings.modelling import (
    ArchitectureConfig,
    BacktestConfig,
    BaselineConfig,
    ForecastConfig,
    GateConfig,
    IntervalsConfig,
    LedgerConfig,
    RegistryConfig,
    TrainingConfig,
    WindowConfig,
)
from ldtm_lib.settings.operation import (
    MOST_TICKERS_UNASKED,
    AlertsConfig,
    AutomationConfig,
    DashboardConfig,
    DatabaseConfig,
    EngineConfig,
    ExportConfig,
    GpuConfig,
    PartitionConfig,
    PublishConfig,
    RetentionConfig,
    UiConfig,
)
from ldtm_lib.settings.readings import shared_reading
from ldtm_lib.settings.refusal import explain, unknown_setting
from ldtm_lib.settings.section import Section, Text
from ldtm_lib.settings.sources import ContractConfig, IbConfig, SourceConfig, UrlConfig


def _ticker(name: str) -> str:
    """Refuse a name that a partition or a file cannot have."""
    if ".." in name or not any(character.isalnum() for character in name):
        raise ValueError("write letters or digits, and no two dots in a row")
    return name


Ticker = Annotated[str, Field(pattern=r"^[A-Za-z0-9.^/=_-]+$"), AfterValidator(_ticker)]


class Settings(Section, frozen=True, title="LDTM configuration"):
    """One configuration file, validated."""

    path: SkipJsonSchema[Path] = Field(exclude=True)
    """The file itself, which does not name its path."""
    tickers: tuple[Ticker, ...] = Field(min_length=1, strict=False)
    """Every ticker that was ever in the universe, removed ones included, in the order of the partitions."""
    retired: Mapping[str, date] = Field(default_factory=dict[str, date])
    """First session, by ticker, on which it no longer belongs to the universe. Its history stays."""
    window: WindowConfig = Field(default_factory=WindowConfig)
    architecture: ArchitectureConfig = Field(default_factory=ArchitectureConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    backtest: BacktestConfig = Field(default_factory=BacktestConfig)
    baselines: BaselineConfig = Field(default_factory=BaselineConfig)
    gate: GateConfig = Field(default_factory=GateConfig)
    registry: RegistryConfig = Field(default_factory=RegistryConfig)
    forecast: ForecastConfig = Field(default_factory=ForecastConfig)
    intervals: IntervalsConfig = Field(default_factory=IntervalsConfig)
    ledger: LedgerConfig = Field(default_factory=LedgerConfig)
    partitions: PartitionConfig = Field(default_factory=PartitionConfig)
    source: SourceConfig = Field(default_factory=SourceConfig)
    ib: IbConfig = Field(default_factory=IbConfig)
    url: UrlConfig = Field(default_factory=UrlConfig)
    contracts: Mapping[str, ContractConfig] = Field(default_factory=dict[str, ContractConfig])
    """Contracts by ticker, where one differs from a US stock of that name routed by SMART."""
    symbols: Mapping[str, Text] = Field(default_factory=dict[str, str])
    """By ticker, its spelling in the `url` or `yfinance` source, such as `brk-b.us`, where that differs."""
    automation: AutomationConfig = Field(default_factory=AutomationConfig)
    alerts: AlertsConfig = Field(default_factory=AlertsConfig)
    retention: RetentionConfig = Field(default_factory=RetentionConfig)
    ui: UiConfig = Field(default_factory=UiConfig)
    dashboard: DashboardConfig = Field(default_factory=DashboardConfig)
    database: DatabaseConfig = Field(default_factory=DatabaseConfig)
    gpu: GpuConfig = Field(default_factory=GpuConfig)
    engine: EngineConfig = Field(default_factory=EngineConfig)
    export: ExportConfig = Field(default_factory=ExportConfig)
    publish: PublishConfig = Field(default_factory=PublishConfig)

    @model_validator(mode="after")
    def _check_tickers(self) -> Self:
        if repeated := sorted(ticker for ticker, number in Counter(self.tickers).items() if number > 1):
            raise ValueError(f"{repeated[0]} is in `tickers` twice; remove one")
        spelled: dict[str, str] = {}
        for ticker in self.tickers:
            if (other := spelled.setdefault(ticker.upper(), ticker)) != ticker:
                raise ValueError(
                    f"{other} and {ticker} in `tickers` differ only in capital letters: on some file systems they "
                    "would share one file; remove one of them"
                )
        for ticker in self.retired:
            if ticker not in self.tickers:
                raise ValueError(f"retired ticker {ticker} must stay in `tickers`, since its history is kept")
        return self

    @model_validator(mode="after")
    def _check_partitions(self) -> Self:
        if len(self.tickers) > MOST_TICKERS_UNASKED and "by" not in self.partitions.model_fields_set:
            raise ValueError(
                f"`tickers` holds {len(self.tickers):,} tickers; for more than {MOST_TICKERS_UNASKED}, set "
                'partitions.by: "date" makes one partition per session, "date_and_ticker" one per session and ticker, '
                "which makes Dagster slow. The tables are the same with both"
            )
        return self

    @model_validator(mode="after")
    def _check_contracts(self) -> Self:
        for ticker, contract in self.contracts.items():
            if ticker not in self.tickers:
                raise ValueError(f"contracts.{ticker} is set, but `tickers` lacks {ticker}; add it there")
            ignored = sorted(contract.model_fields_set - {"con_id", "exchange"})
            if contract.con_id is not None and ignored:
                raise ValueError(
                    f"contracts.{ticker}.{ignored[0]} is ignored, since con_id identifies the contract; remove either"
                )
        return self

    @model_validator(mode="after")
    def _check_symbols(self) -> Self:
        for ticker in self.symbols:
            if ticker not in self.tickers:
                raise ValueError(f"symbols.{ticker} is set, but `tickers` lacks {ticker}; add it there")
        return self

    @model_validator(mode="after")
    def _check_readings(self) -> Self:
        present = [ticker for ticker in self.tickers if ticker not in self.retired]
        if refusal := shared_reading(self.source.kind, present, self.symbols, self.contracts):
            raise ValueError(refusal)
        return self

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        if self.forecast.backend == "tensorrt" and self.export.engine == "none":
            raise ValueError(
                'forecast.backend is "tensorrt" and export.engine "none": no engine would be built; set export.engine '
                'to "tensorrt" or "tensorrt-rtx"'
            )
        return self

    def tickers_on(self, session: date) -> tuple[str, ...]:
        """The tickers that belong to the universe on a session: all but those retired by then."""
        return tuple(t for t in self.tickers if t not in self.retired or session < self.retired[t])

    def require_ticker(self, ticker: str) -> str:
        """The ticker itself; raises UnknownTicker when the file does not name it."""
        if ticker not in self.tickers:
            raise UnknownTicker(f"{ticker} is not in the universe of {self.path}; add it to `tickers` there")
        return ticker


def load_settings(path: Path) -> Settings:
    """Read and validate a configuration file.

    Raises ConfigurationError when the file is missing, is not TOML, or has an unknown key or a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigurationError(
            f"there is no configuration at {path}; `ldtm init` creates one, and --config or LDTM_CONFIG names another"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read as text: {error}") from None
    return read_settings(text, path)


def read_settings(text: str, path: Path) -> Settings:
    """Validate the text of a configuration that is or will be at a path; raises ConfigurationError."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    if "path" in raw:
        raise ConfigurationError(f"{path}: {unknown_setting(Settings, ('path',))}")
    try:
        return Settings.model_validate(raw | {"path": path.resolve()})
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {explain(Settings, error)}") from None
