"""Settings under which a daily run takes milliseconds, and untrained networks that fit them: real files, real rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import torch

from ldtm_lib.database.connection import Connection
from ldtm_lib.features.indicators import WARMUP_BARS
from ldtm_lib.models.checkpoint import write
from ldtm_lib.models.lstm import LdtmNetwork
from ldtm_lib.settings import ArchitectureConfig, Settings, WindowConfig
from tests.integration.gate_fixtures import pass_the_gate

WINDOW = WindowConfig(window_sessions=2, warmup_bars=WARMUP_BARS)
ARCHITECTURE = ArchitectureConfig(hidden=4, head_hidden=4)
TRAINED_ON = date(2012, 1, 3)
CANDIDATE = """insert into checkpoint (ticker, trained_on, architecture_sha256, recipe_sha256, data_sha256, file_name,
    file_sha256, seed, num_training_rows, num_validation_rows, num_epochs, best_epoch, validation_loss,
    duration_seconds, device)
    values (%s, %s, 'a', 'r', 'd', %s, %s, 0, 1, 1, 1, 1, 1, 1, 'cpu') returning checkpoint_id"""
RETIRE = (
    "update checkpoint set status = 'retired', retired_at = clock_timestamp() where ticker = %s and status = 'active'"
)
ACTIVATE = """update checkpoint set status = 'active', activated_at = clock_timestamp(), major = 1, version = %s
    where checkpoint_id = %s"""


def small_settings(folder: Path, tickers: Sequence[str]) -> Settings:
    return Settings(path=folder / "universe.toml", tickers=tuple(tickers), window=WINDOW, architecture=ARCHITECTURE)


@dataclass(frozen=True, slots=True)
class SmallNetworks:
    """A few files that any ticker's versions may name."""

    folder: Path
    sha256s: tuple[str, ...]

    @staticmethod
    def written(folder: Path, tickers: Sequence[str], num_versions: int) -> "SmallNetworks":
        """One network per version, its file under the name that each ticker's version has."""
        sha256s: list[str] = []
        for version in range(num_versions):
            torch.manual_seed(version)
            state = LdtmNetwork(ARCHITECTURE).state_dict()
            sha256s.append(write(state, folder / _file_name(tickers[0], version), architecture=ARCHITECTURE))
            content = (folder / _file_name(tickers[0], version)).read_bytes()
            for ticker in tickers[1:]:
                (folder / _file_name(ticker, version)).write_bytes(content)
        return SmallNetworks(folder, tuple(sha256s))

    def promote(self, conn: Connection, ticker: str, version: int) -> None:
        """The version becomes the ticker's active one; the one before it retires."""
        trained_on = TRAINED_ON + timedelta(days=version)
        row = (ticker, trained_on, _file_name(ticker, version), self.sha256s[version])
        (checkpoint_id,) = conn.execute(CANDIDATE, row).fetchone() or (None,)
        conn.execute(RETIRE, (ticker,))
        conn.execute(ACTIVATE, (f"v1.{trained_on}", checkpoint_id))
        pass_the_gate(conn)


def _file_name(ticker: str, version: int) -> str:
    return f"{ticker}_{version}.pt"
