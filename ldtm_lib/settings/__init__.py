"""Every setting of the configuration file: sections with bounds, defaults and descriptions, and reading the file."""

from ldtm_lib.settings.file import Settings, load_settings
from ldtm_lib.settings.modelling import (
    NUM_HORIZONS,
    ArchitectureConfig,
    BacktestConfig,
    BaselineConfig,
    DegradationPolicy,
    ForecastConfig,
    GateConfig,
    IntervalsConfig,
    LedgerConfig,
    RegistryConfig,
    Shadows,
    TrainingConfig,
    WindowConfig,
)
from ldtm_lib.settings.operation import (
    AlertsConfig,
    AutomationConfig,
    DatabaseConfig,
    GpuConfig,
    PartitionConfig,
    PublishConfig,
    RetentionConfig,
    UiConfig,
)
from ldtm_lib.settings.section import Section, fingerprint
from ldtm_lib.settings.sources import ContractConfig, IbConfig, PriceBasis, SourceConfig, UrlConfig

__all__ = [
    "NUM_HORIZONS",
    "AlertsConfig",
    "ArchitectureConfig",
    "AutomationConfig",
    "BacktestConfig",
    "BaselineConfig",
    "ContractConfig",
    "DatabaseConfig",
    "DegradationPolicy",
    "ForecastConfig",
    "GateConfig",
    "GpuConfig",
    "IbConfig",
    "IntervalsConfig",
    "LedgerConfig",
    "PartitionConfig",
    "PriceBasis",
    "PublishConfig",
    "RegistryConfig",
    "RetentionConfig",
    "Section",
    "Settings",
    "Shadows",
    "SourceConfig",
    "TrainingConfig",
    "UiConfig",
    "UrlConfig",
    "WindowConfig",
    "fingerprint",
    "load_settings",
]
