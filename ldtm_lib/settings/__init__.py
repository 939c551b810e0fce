"""Every setting of the configuration file: sections with bounds, defaults and descriptions, and reading the file."""

from ldtm_lib.settings.file import Settings, load_settings
from ldtm_lib.settings.modelling import (
    ArchitectureConfig,
    BacktestConfig,
    DegradationPolicy,
    ForecastConfig,
    GateConfig,
    LedgerConfig,
    RegistryConfig,
    Shadows,
    TrainingConfig,
    WindowConfig,
)
from ldtm_lib.settings.operation import (
    AlertsConfig,
    AutomationConfig,
    ContractConfig,
    DatabaseConfig,
    GpuConfig,
    IbConfig,
    PartitionConfig,
    PriceBasis,
    PublishConfig,
    RetentionConfig,
    SourceConfig,
    UiConfig,
)
from ldtm_lib.settings.section import Section, fingerprint

__all__ = [
    "AlertsConfig",
    "ArchitectureConfig",
    "AutomationConfig",
    "BacktestConfig",
    "ContractConfig",
    "DatabaseConfig",
    "DegradationPolicy",
    "ForecastConfig",
    "GateConfig",
    "GpuConfig",
    "IbConfig",
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
    "WindowConfig",
    "fingerprint",
    "load_settings",
]
