"""Sections about automation, alerts, retention, the UI, the database, GPUs, Ray and published seals."""

import re
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from ldtm_lib.settings.section import MAX_TIMEOUT_SECONDS, Section, Text
from ldtm_lib.url import is_loopback, web_host

MAX_JOBS = 64
"""Slots of a GPU whose leases are counted (`ldtm_lib/gpu/locks.py`)."""
MAX_PAUSE_MS = 1000.0
"""A longer pause is a mistake in the unit: a training step takes a few milliseconds."""
MIN_RUN_DAYS = 35
"""A one-month forecast is filled within these days, and the UI should still show its partition then."""

PartitionsBy = Literal["date_and_ticker", "date"]
MOST_TICKERS_UNASKED = 200
"""Tickers up to which `partitions.by` has a default: 500 sessions, two years, of them are 100,000 partitions."""


def _schema_name(name: str) -> str:
    if not name.isidentifier() or name != name.lower():
        raise ValueError("use lower-case letters, digits and '_'")
    return name


def _web_url(url: str) -> str:
    if web_host(url) is None:
        raise ValueError("it must begin with http:// or https:// and a host")
    return url


SchemaName = Annotated[str, AfterValidator(_schema_name)]
WebUrl = Annotated[str, AfterValidator(_web_url)]


class PartitionConfig(Section, frozen=True):
    """The partitions of daily runs in the Dagster UI. The tables contain the whole history in any case."""

    by: PartitionsBy = "date_and_ticker"
    """Partitions of daily runs: each session of each ticker, or each session with all of its tickers. Dagster advises
    at most 100,000 partitions of an asset, so for more than 200 tickers there is no default: set it then, preferably to
    "date"."""
    first_session: date = date(2025, 1, 2)
    """First session that is a partition."""
    last_session: date | None = None
    """Last session that is a partition; no limit when absent."""

    def key(self, session: date, ticker: str) -> str:
        """The key of the partition that a session of a ticker belongs to, as Dagster writes it."""
        return session.isoformat() if self.by == "date" else f"{session.isoformat()}|{ticker}"

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.last_session is not None and self.last_session < self.first_session:
            raise ValueError(
                f"partitions.last_session is {self.last_session}; it must not be before {self.first_session}, "
                "partitions.first_session"
            )
        return self


class AutomationConfig(Section, frozen=True):
    """Schedules, sensors and their retries."""

    enabled: bool = False
    """True if schedules and sensors start with Dagster. Each can be stopped in the UI in any case."""
    first_retry_minutes: float = Field(default=2.0, gt=0)
    """Wait before a failed partition is retried; it doubles with every attempt."""
    max_retry_minutes: float = 30.0
    """Longest wait between retries until the failure is reported, and again from `deadline_warning_minutes` before the
    next open on. Between these two moments the wait continues to double. After the open a missing bar is retried once a
    day."""
    report_after_attempts: int = Field(default=4, ge=1)
    """Failed attempts of a ticker after which an alert is raised. 4 take about a quarter of an hour."""
    deadline_warning_minutes: float = Field(default=120.0, ge=0)
    """Time before the next open at which an alert names the tickers that will miss it."""
    sessions_per_run: int = Field(default=5, ge=1)
    """Missed sessions that one catch-up run covers, oldest first. One such run executes at a time."""
    max_training_age_days: int = Field(default=8, ge=1)
    """Days after which a ticker with new bars but no new training and verdict is reported. 8 are a week and a day."""

    @model_validator(mode="after")
    def _check_retries(self) -> Self:
        if self.max_retry_minutes < self.first_retry_minutes:
            raise ValueError(
                f"automation.max_retry_minutes is {self.max_retry_minutes}; it must be at least "
                f"{self.first_retry_minutes}, automation.first_retry_minutes"
            )
        return self


class AlertsConfig(Section, frozen=True):
    """Delivery of notifications. The channels are secrets and come from the environment (LDTM_ALERT_URLS)."""

    hold_minutes: float = Field(default=10.0, ge=0)
    """Longest time that a notification waits for the run in progress to end, so that one notification covers all."""
    give_up_after_hours: float = Field(default=72.0, gt=0)
    """Time for which delivery of a notification is retried."""


class RetentionConfig(Section, frozen=True):
    """Time that operational data is kept. Forecasts, actuals, bars, verdicts and seals are never deleted."""

    run_log_days: int = Field(default=30, ge=1)
    """Days that logs of runs are kept, with those events that the UI does not show by partition."""
    run_days: int = Field(default=400, ge=MIN_RUN_DAYS)
    """Days that runs are kept, with their materializations and checks; the newest of each partition always stay."""
    quarantine_days: int = Field(default=90, ge=1)
    """Days that a refused bar is kept after a valid one arrived; ten times as long if none did and the refused one was
    not delivered again."""
    operations_days: int = Field(default=400, ge=60)
    """Days that attempts of daily runs and delivered notifications are kept. Catch-up reads the attempts of the last 30
    sessions, which are 45 days at most."""
    log_mib: int = Field(default=50, ge=1)
    """Size of a log file in MiB above which its oldest lines are deleted."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.run_days < self.run_log_days:
            raise ValueError(
                f"retention.run_days is {self.run_days}; it must be at least {self.run_log_days}, "
                "retention.run_log_days"
            )
        return self


class UiConfig(Section, frozen=True):
    """The Dagster UI. Without `token`, whoever reaches it may do anything."""

    host: str = "127.0.0.1"
    """Address that the UI listens on."""
    allow_other_addresses: bool = False
    """True if `host` may be an address that is not a loopback address."""
    url: WebUrl = "http://127.0.0.1:3000"
    """Beginning of links in notifications: the address at which readers reach the UI, such as that of a reverse proxy.
    The only host names that the UI answers to are the one in this address, `host` and localhost."""
    token: bool = False
    """True if the UI asks for the token of the installation, which `ldtm up` prints as part of a link."""

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if not (is_loopback(self.host) or self.allow_other_addresses):
            raise ValueError(
                f"ui.host is {self.host!r}, which others may reach, and Dagster's UI has no login; put a "
                "reverse proxy with a login in front of 127.0.0.1 (docs/operations.md), or set "
                "ui.allow_other_addresses = true"
            )
        return self


class DashboardConfig(Section, frozen=True):
    """The pages that show the record (`ldtm dashboard`), on 127.0.0.1. They read and never write."""

    on: bool = False
    """True if `ldtm up` starts the dashboard as well. It needs the extra `dashboard`."""
    port: int = Field(default=8501, ge=1, le=65535)
    """Port of the pages on 127.0.0.1."""


class DatabaseConfig(Section, frozen=True):
    """The schemas that hold the tables. LDTM_DATABASE_URL names the server; absent, an embedded one is started."""

    ldtm_schema: SchemaName = "ldtm"
    """Schema of LDTM's tables."""
    dagster_schema: SchemaName = "ldtm_dagster"
    """Schema of Dagster's own storage."""

    @model_validator(mode="after")
    def _check_different(self) -> Self:
        if self.ldtm_schema == self.dagster_schema:
            raise ValueError(
                f"database.ldtm_schema and database.dagster_schema are both {self.ldtm_schema!r}; "
                "the record and Dagster's storage need a schema each, change one of them"
            )
        return self


class GpuConfig(Section, frozen=True):
    """The share of the GPUs that training may take from their other tenants."""

    mib_per_job: int = Field(default=600, ge=1)
    """MiB that must be free for a training job to begin. If it is set, a job takes no more; otherwise it takes what one
    network of each ticker at once needs (1,250 for 103 tickers), or as much of it as is free. Its CUDA context, about
    500 MiB more, counts towards `reserve_mib`."""
    reserve_mib: int = Field(default=2048, ge=0)
    """MiB that stay free on every GPU, for its other tenants and for the CUDA contexts of the jobs."""
    max_jobs: int = Field(default=4, ge=1, le=MAX_JOBS)
    """Training jobs at once on all GPUs of a machine, however much memory is free."""
    pause_ms: float = Field(default=0.0, ge=0, le=MAX_PAUSE_MS)
    """Pause between two training steps in milliseconds, which leaves the GPU to its other tenants."""

    @property
    def takes_what_the_universe_needs(self) -> bool:
        """True if a job may take more than `mib_per_job`."""
        return "mib_per_job" not in self.model_fields_set


class EngineConfig(Section, frozen=True):
    """Place where networks are trained: the training's own process, or the nodes of a Ray cluster (docs/ray.md)."""

    kind: Literal["local", "ray"] = "local"
    """`local`: on this machine. `ray`: on a Ray cluster, which needs the extra `ray`."""
    address: Text = "auto"
    """Address of the head of the cluster, such as "10.0.0.5:6379"; `auto` for the cluster of this machine."""
    tickers_per_shard: int | None = Field(default=None, ge=1)
    """Tickers whose networks a node trains in one task. When absent: one on CPUs; on GPUs an equal share for each slot,
    at most 128."""
    cpus: int = Field(default=1, ge=1)
    """Cores that a task gets on a node, where it trains on the CPU."""

    @model_validator(mode="after")
    def _check_ignored(self) -> Self:
        ignored = sorted(self.model_fields_set - {"kind"})
        if self.kind == "local" and ignored:
            raise ValueError(f'engine.{ignored[0]} is set while engine.kind is "local"; set engine.kind = "ray"')
        if self.address != "auto" and not re.fullmatch(r"[^\s:/@]+:\d{1,5}", self.address):
            raise ValueError(f'engine.address is {self.address!r}; write it as in "10.0.0.5:6379", or "auto"')
        return self


class ExportConfig(Section, frozen=True):
    """Export of active models as ONNX files, which needs the extra `export`, and as engines of TensorRT."""

    enabled: bool = False
    """True if a sensor exports a model after it became active. `ldtm export` works in any case."""
    engine: Literal["none", "tensorrt", "tensorrt-rtx"] = "none"
    """Kind of TensorRT with which Dagster builds an engine of every exported model: `tensorrt`, on the GPU that the
    engine is for, or `tensorrt-rtx`. The extra to install has the same name."""
    engine_precision: Literal["fp32", "fp16"] = "fp32"
    """Precision of the engines."""
    engine_compute_capability: str | None = None
    """Compute capability of the GPUs that TensorRT-RTX builds for, such as "8.9"; that of this machine's GPU when
    absent."""

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        capability = self.engine_compute_capability
        if self.engine == "none" and "engine_precision" in self.model_fields_set:
            raise ValueError("export.engine_precision is set while export.engine is none; set both or neither")
        if capability is not None and self.engine != "tensorrt-rtx":
            raise ValueError(
                f"export.engine_compute_capability is {capability!r}, which applies only to `tensorrt-rtx`, but "
                f"export.engine is {self.engine}; remove it"
            )
        if capability is not None and not re.fullmatch(r"\d{1,2}\.\d", capability):
            raise ValueError(f"export.engine_compute_capability is {capability!r}; write it as in 8.9")
        return self


class PublishConfig(Section, frozen=True):
    """Places outside of the database that get the record's seals. Paths are relative to the configuration file."""

    file: Text | None = None
    """File that every seal is appended to; `seals.jsonl` in the project's folder under `.ldtm` when absent."""
    git: Text | None = None
    """Folder of a git repository that every seal is committed to; none when absent."""
    push: bool = False
    """True if the git repository is pushed after each commit."""
    timestamp_url: WebUrl | None = None
    """URL of an authority that stamps seals by RFC 3161; none when absent."""
    timestamp_certificates: Text | None = None
    """PEM file with the root certificate of that authority and its intermediates."""
    timestamp_timeout_seconds: float = Field(default=10.0, gt=0, le=MAX_TIMEOUT_SECONDS)
    """Time limit of one request to that authority."""

    @model_validator(mode="after")
    def _check_complete(self) -> Self:
        if self.push and self.git is None:
            raise ValueError("publish.push is true; name the repository to push in publish.git")
        if self.timestamp_url is None and self.timestamp_certificates is not None:
            raise ValueError(
                f"publish.timestamp_certificates is {self.timestamp_certificates!r}; "
                "name their authority in publish.timestamp_url"
            )
        if self.timestamp_url is not None and self.timestamp_certificates is None:
            raise ValueError(
                f"publish.timestamp_url is {self.timestamp_url!r}; "
                "name the PEM file with its root certificate in publish.timestamp_certificates"
            )
        return self
